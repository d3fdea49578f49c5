"""A chest of ellipsoids with a trachea, bowel gas and a table, quick to make on any grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.volume import CtVolume

SIZE_MM_ZYX = (260.0, 300.0, 380.0)
LUNG_RADII_MM = (105.0, 80.0, 58.0)
LUNG_CENTRE_MM = {1: (130.0, 140.0, 118.0), 2: (130.0, 140.0, 262.0)}
TRACHEA_MM = (130.0, 190.0)
STOMACH_MM = (24.0, 70.0, 250.0)


@dataclass(frozen=True, eq=False)
class PlainChest:
    """The CT, its lungs and the coordinates of its voxels in mm."""

    ct: CtVolume
    lungs: NDArray[np.uint8]
    z: NDArray[np.float64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]


def plain_chest(
    spacing_mm_zyx: tuple[float, float, float] = (5.0, 3.0, 3.0),
    *,
    scale: float = 1.0,
    sides: tuple[int, ...] = (1, 2),
    gap_mm: float | None = None,
    lesion_mm: float = 0.0,
    seed: int = 0,
) -> PlainChest:
    """Make the chest.

    Args:
        spacing_mm_zyx: Voxel size.
        scale: Size of the patient; the grid shrinks with it.
        sides: Lungs that are there.
        gap_mm: Width of the tissue between the lungs; None for a wide mediastinum, 0 for
            lungs that touch.
        lesion_mm: Depth of a consolidation at the back of the right lung.
        seed: Noise.
    """
    rng = np.random.default_rng(seed)
    sizes = zip(SIZE_MM_ZYX, spacing_mm_zyx, strict=True)
    shape = [round(size * scale / step) for size, step in sizes]
    axes = [
        (np.arange(n) + 0.5) * step / scale for n, step in zip(shape, spacing_mm_zyx, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    hu = np.full(shape, -1000.0)
    hu[((x - 190) / 175) ** 2 + ((y - 140) / 115) ** 2 < 1] = 40
    hu[(np.abs(y - 275) < 4) & (np.abs(x - 190) < 170)] = -200
    radii = np.array(LUNG_RADII_MM)
    lungs = np.zeros(shape, dtype=np.uint8)
    for side in sides:
        centre = np.array(LUNG_CENTRE_MM[side])
        own = radii.copy()
        if gap_mm is not None:
            own[2] = 72.0
            centre[2] = 190.0 + (72.0 + gap_mm / 2.0) * (1 if side == 2 else -1)
        inside = sum(((a - c) / r) ** 2 for a, c, r in zip((z, y, x), centre, own, strict=True))
        lungs[(inside < 1) & ((x > 190) == (side == 2))] = side
    hu[lungs > 0] = -850
    _add_details(hu, lungs, z, y, x, lesion_mm)
    noisy = np.clip(np.rint(hu + rng.normal(0, 15, hu.shape)), -1024, 1500).astype(np.int16)
    affine = np.diag([*spacing_mm_zyx[::-1], 1.0])
    return PlainChest(CtVolume.from_array(noisy, affine), lungs, z, y, x)


def _add_details(
    hu: NDArray[np.float64],
    lungs: NDArray[np.uint8],
    z: NDArray[np.float64],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    lesion_mm: float,
) -> None:
    hu[((x - 190) / 18) ** 2 + ((y - 225) / 18) ** 2 < 1] = 350  # spine
    shell = ((x - 190) / 160) ** 2 + ((y - 140) / 102) ** 2
    hu[(np.abs(shell - 1) < 0.05) & (z % 30 < 15)] = 350  # ribs
    trachea = ((x - 190) ** 2 + (y - 165) ** 2 < 9**2) & (z > TRACHEA_MM[0])
    hu[trachea & (lungs == 0)] = -990
    bubble = sum(((a - c) / 16) ** 2 for a, c in zip((z, y, x), STOMACH_MM, strict=True))
    hu[(bubble < 1) & (lungs == 0)] = -990
    if lesion_mm:
        back = LUNG_CENTRE_MM[1][1] + LUNG_RADII_MM[1]
        hu[(lungs == 1) & (y > back - lesion_mm) & (np.abs(z - 130) < 40)] = -20
