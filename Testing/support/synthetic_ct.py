"""A small chest of plain shapes, for tests of reading and geometry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPACING_MM_XYZ = (6.0, 6.5, 5.0)
ORIGIN_LPS_MM = (-160.5, -140.25, 30.125)


def chest_hu(shape_zyx: tuple[int, int, int] = (12, 44, 52), seed: int = 0) -> NDArray[np.int16]:
    """Return an elliptic body of muscle and fat with two lungs and a noisy heart, in HU."""
    rng = np.random.default_rng(seed)
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape_zyx), indexing="ij")
    hu = np.full(shape_zyx, -1000.0)
    hu[(x / 0.9) ** 2 + (y / 0.85) ** 2 < 1] = -100
    hu[(x / 0.82) ** 2 + (y / 0.75) ** 2 < 1] = 50
    for side in (-1, 1):
        hu[((x - side * 0.45) / 0.27) ** 2 + (y / 0.55) ** 2 < 1] = -850
    noisy = hu + rng.normal(0, 12, shape_zyx)
    return np.clip(np.rint(noisy), -1024, 3071).astype(np.int16)


def affine_lps(
    spacing_mm_xyz: tuple[float, float, float] = SPACING_MM_XYZ,
    origin_mm: tuple[float, float, float] = ORIGIN_LPS_MM,
    direction: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return an index-to-LPS affine."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if direction is None else direction) * spacing_mm_xyz
    affine[:3, 3] = origin_mm
    return affine


def rotation(degrees_xyz: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return a rotation matrix from angles about x, then y, then z."""
    matrix = np.eye(3)
    for axis, degrees in enumerate(degrees_xyz):
        sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i] = turn[j, j] = cosine
        turn[i, j], turn[j, i] = -sine, sine
        matrix = turn @ matrix
    return matrix
