"""Contents of the cavity besides the lungs: heart, great vessels, airways' trunk, upper abdomen."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from .build import Build
from .layers import Layer, Rods, Solid
from .lungs import Lungs
from .shapes import Array, Field, LatticeNoise, Samples, clamp, ellipsoid, smooth_max
from .tubes import Tubes

BLOOD_HU, LIVER_HU, SPLEEN_HU, AIRWAY_HU = 42.0, 58.0, 50.0, -1000.0
AIRWAY_WALL_HU = 20.0
WALL_MM = 1.4

Point: TypeAlias = tuple[float, float, float]

CARINA: Point = (3.0, 9.0, 44.0)
RIGHT_HILUM: Point = (-36.0, 2.0, 20.0)
LEFT_HILUM: Point = (42.0, 6.0, 20.0)


def great_vessels() -> Tubes:
    """Aorta with branches, pulmonary trunk and arteries, veins of the mediastinum."""
    lines: list[tuple[list[Point], list[float]]] = [
        (
            [(0, -28, -8), (-10, -32, 18), (-11, -29, 42), (-4, -18, 60), (8, 2, 66)],
            [16, 16, 16, 15, 14],
        ),
        (
            [(8, 2, 66), (20, 20, 60), (26, 32, 44), (26, 33, 10), (22, 29, -50), (12, 16, -110)],
            [14, 13, 12.5, 12, 11.5, 11],
        ),
        ([(12, 16, -110), (4, 8, -170)], [11, 10]),
        ([(16, -46, -4), (16, -38, 16), (14, -24, 28)], [14, 14, 13]),
        ([(14, -22, 28), (-8, -14, 22), (-36, -8, 20)], [11, 11, 9]),
        ([(14, -24, 28), (28, -8, 32), (42, 2, 28)], [11, 11, 9]),
        ([(-26, -18, 90), (-25, -22, 50), (-22, -24, 5)], [8, 9.5, 10]),
        ([(-20, -10, -40), (-20, -10, -120), (-16, 0, -170)], [11, 11.5, 12]),
        ([(-24, -16, 86), (0, -26, 76), (26, -16, 88), (44, 0, 110)], [7, 6, 6, 6.5]),
        ([(-26, -14, 88), (-38, 2, 112)], [8, 6.5]),
        ([(-6, -12, 64), (-14, -4, 92), (-20, 8, 120), (-24, 10, 170)], [6.5, 6.5, 5, 4]),
        ([(4, -2, 67), (12, 2, 95), (22, 8, 125), (26, 10, 170)], [4, 4, 4, 4]),
        ([(14, 10, 66), (22, 16, 92), (34, 18, 118)], [5, 5, 5]),
        ([(-34, -8, 4), (-14, 2, -10)], [7, 8]),
        ([(38, -6, 6), (20, 4, -8)], [7, 8]),
    ]
    return Tubes.joined([Tubes.polyline(points, radii) for points, radii in lines])


def central_airways() -> Tubes:
    """Lumen of the trachea and the main bronchi."""
    trachea = Tubes.polyline(
        [(0, -12, 175), (0, -2, 130), (1, 5, 80), CARINA], [8.5, 8.5, 8.8, 9.2]
    )
    right = Tubes.polyline([CARINA, (-16, 6, 31), RIGHT_HILUM], [7.6, 7.2, 6.0])
    left = Tubes.polyline([CARINA, (20, 8, 30), LEFT_HILUM], [6.8, 6.2, 5.2])
    return Tubes.joined([trachea, right, left])


def oesophagus() -> Tubes:
    """Wall and content of the gullet."""
    return Tubes.polyline(
        [(4, 8, 170), (4, 20, 100), (6, 22, 40), (6, 20, -20), (14, 8, -90), (24, -6, -110)],
        [6.5, 6.5, 6.5, 7, 7.5, 8],
    )


def wrapped_by_pleura() -> Tubes:
    """Every tube round which the mediastinal pleura bulges."""
    return Tubes.joined([great_vessels(), central_airways().grown(WALL_MM), oesophagus()])


class Viscera:
    """Soft organs between the lungs and under the diaphragm.

    Args:
        build: The patient's measures.
        lungs: Supplies heart, diaphragm and cavity.
        texture: Random texture in mm.
    """

    def __init__(self, build: Build, lungs: Lungs, texture: LatticeNoise) -> None:
        self._build, self._lungs, self._texture = build, lungs, texture

    def layers(self) -> list[Layer]:
        """In painting order, before the lungs."""
        return [
            Solid("cavity fat", lambda s: self._lungs.wall(s)[0] + 1, self._fat_hu),
            Solid("neck", self._neck, 48.0),
            Solid("diaphragm", self._abdomen, 48.0),
            Solid("abdominal fat", lambda s: self._abdomen(s) + 3.2, self._fat_hu),
            Solid("spleen", self._spleen, self._organ(SPLEEN_HU)),
            Solid("stomach wall", self._stomach, 42.0),
            Solid("stomach content", lambda s: self._stomach(s) + 3.5, self._stomach_hu),
            Solid("liver", self._liver, self._organ(LIVER_HU)),
            Solid("colon wall", self._colon, 35.0),
            Solid("colon gas", lambda s: self._colon(s) + 2.2, self._colon_hu),
            Solid("heart", self._lungs.heart, self._heart_hu),
            Rods("oesophagus", oesophagus(), 38.0),
            Rods("great vessels", great_vessels(), BLOOD_HU),
        ]

    def _fat_hu(self, s: Samples) -> Array:
        """Fat with small nodes and vessels in it."""
        noise = self._texture(s)
        return -92 + 8 * noise + 80 * clamp((noise - 1.5) * 2, 0, 1)

    def _organ(self, mean_hu: float) -> Field:
        def hu(s: Samples) -> Array:
            return mean_hu + 4 * self._texture(s)

        return hu

    def _heart_hu(self, s: Samples) -> Array:
        """Muscle and blood alike, with a line of fat in the atrioventricular groove."""
        groove = np.abs(0.62 * (s.x - 4) + 0.25 * (s.y + 20) + 0.45 * (s.z + 14))
        fat = clamp(1.3 - groove / 2.5, 0, 1) * clamp(1 + self._lungs.heart(s) / 9, 0, 1)
        return 44 + 2.5 * self._texture(s) - 120 * fat

    def _neck(self, s: Samples) -> Array:
        """Muscles and thyroid at the top of the chest."""
        beside = np.maximum(6 - self._lungs.apex(s), 10 - self._lungs.mediastinum(s))
        return np.maximum(np.maximum(self._lungs.wall(s)[0] + 1, beside), 70 - s.z)

    def _abdomen(self, s: Samples) -> Array:
        return np.maximum(self._lungs.diaphragm(s), self._lungs.wall(s)[0] + 2)

    def _below(self, s: Samples, by_mm: float) -> Array:
        """Inside the abdomen, away from its wall."""
        return self._abdomen(s) + by_mm

    def _liver(self, s: Samples) -> Array:
        lobe = ellipsoid(s, (-58, -6, -128), (92, 92, 96))
        left = ellipsoid(s, (10, -48, -108), (72, 34, 34))
        return smooth_max(np.minimum(lobe, left), self._below(s, 2.2), 2)

    def _stomach(self, s: Samples) -> Array:
        pouch = ellipsoid(s, (60, -12, -112), (50, 60, 48))
        return smooth_max(pouch, self._below(s, 4), 4)

    def _stomach_hu(self, s: Samples) -> Array:
        """Gas above (in front of) a fluid level, with some food."""
        level = -18 + 6 * self._texture(s)
        gas = clamp(0.5 - (s.y + 22), 0, 1)
        return level + gas * (-960 - level)

    def _spleen(self, s: Samples) -> Array:
        return smooth_max(ellipsoid(s, (92, 42, -116), (38, 44, 50)), self._below(s, 2.5), 3)

    def _colon(self, s: Samples) -> Array:
        bend = np.minimum(
            ellipsoid(s, (104, -34, -120), (19, 24, 26)),
            ellipsoid(s, (82, -58, -142), (28, 18, 17)),
        )
        return smooth_max(bend, self._below(s, 6), 4)

    def _colon_hu(self, s: Samples) -> Array:
        """Gas with islands of stool."""
        stool = clamp((self._texture(s) - 0.5) * 3, 0, 1)
        return -930 + 930 * stool
