"""What differs from one patient to the next, drawn once per seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import Array


@dataclass(frozen=True)
class Build:
    """A patient's individual measures; 1 or 0 is the average adult.

    Attributes:
        width: Chest width relative to the average.
        depth: Front-to-back depth relative to the average.
        fat_mm: Subcutaneous fat at the sides of the chest.
        heart: Size of the heart relative to the average.
        dome_mm: Height of the (right, left) diaphragm above the average.
        oblique_mm: Height of the (right, left) oblique fissure above the average.
        oblique_slope: Steepness of the (right, left) oblique fissure.
        horizontal_mm: Height of the horizontal fissure above the average.
        phases: Phases of everything that undulates, radians, (6, 3).
    """

    width: float
    depth: float
    fat_mm: float
    heart: float
    dome_mm: tuple[float, float]
    oblique_mm: tuple[float, float]
    oblique_slope: tuple[float, float]
    horizontal_mm: float
    phases: tuple[tuple[float, float, float], ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Build:
        """A random adult."""

        def about(middle: float, spread: float) -> float:
            return float(rng.uniform(middle - spread, middle + spread))

        return cls(
            width=about(1.0, 0.05),
            depth=about(1.0, 0.05),
            fat_mm=about(13.0, 7.0),
            heart=about(1.0, 0.07),
            dome_mm=(about(0, 10), about(0, 10)),
            oblique_mm=(about(0, 7), about(0, 7)),
            oblique_slope=(about(1.1, 0.12), about(1.18, 0.12)),
            horizontal_mm=about(0, 8),
            phases=tuple(
                (about(np.pi, np.pi), about(np.pi, np.pi), about(np.pi, np.pi)) for _ in range(6)
            ),
        )

    def canonical(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Map patient positions (mm, unscaled, unmirrored) to the average anatomy.

        A sum of long waves (90 to 190 mm, at most 2.5 mm each) bends everything
        together, so that no patient is symmetric and nothing cuts into its neighbour.
        """
        x, y = x * np.float32(1 / self.width), y * np.float32(1 / self.depth)
        (a, b, c), (d, e, f) = self.phases[:2]
        wave = np.float32(2 * np.pi)
        dx = np.sin(z * (wave / 170) + a) * 2.2 + np.sin((y + z) * (wave / 110) + d) * 1.4
        dy = np.sin(z * (wave / 140) + b) * 2.2 + np.sin((x - z) * (wave / 120) + e) * 1.4
        dz = np.sin(x * (wave / 190) + c) * 2.2 + np.sin((x + y) * (wave / 130) + f) * 1.4
        return (
            (x + dx).astype(np.float32),
            (y + dy).astype(np.float32),
            (z + dz).astype(np.float32),
        )
