"""Bright thin sheets in the lung: what a fissure looks like in a CT with thin slices.

Where the second derivatives of the smoothed CT are strongly negative across and small along
two directions, there is a sheet; a vessel bends along one direction only, noise in all. The
direction across comes with it, and neighbours that agree in it make up a piece of a sheet
(ridge surfaces as in Ross et al., Med Image Anal 2013;17(2), found on a grid).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .lobe_atlas import Array
from .lungs_grid import WorkingGrid
from .masks import Mask, bounding_box, erode
from .volume import CtVolume

_STEP_MM = 1.4
_ALIKE = 0.15
_BORDER_MM = 3.0
_DARK_HU = (-1000, -400)
_LESS_THAN_HU = -700.0
_RIM = 1
_LAPLACE_HU = -12.0
_SHEET_HU = 3.0
_OTHER_DIRECTIONS = 2.0


@dataclass(frozen=True, eq=False)
class Sheets:
    """Voxels that lie on a sheet.

    Attributes:
        points_mm: ``(n, 3)`` LPS.
        normals: ``(n, 3)`` LPS unit vectors across the sheet, of either sign.
        index: ``(n, 3)`` on the grid on which they were searched.
    """

    points_mm: Array
    normals: Array
    index: NDArray[np.intp]

    def piece_sizes(self, wanted: Mask) -> NDArray[np.intp]:
        """Return for each voxel the size of the connected piece of wanted ones that it is in.

        Args:
            wanted: Boolean ``(n,)``.

        Returns:
            ``(n,)`` in voxels of about 1.4 mm, 0 where not wanted.
        """
        sizes = np.zeros(len(wanted), dtype=np.intp)
        if not wanted.any():
            return sizes
        index = self.index[wanted]
        image = np.zeros(index.max(axis=0) + 1, dtype=bool)
        image[tuple(index.T)] = True
        labels, _ = ndimage.label(image, np.ones((3, 3, 3)))
        own = labels[tuple(index.T)]
        sizes[wanted] = np.bincount(own)[own]
        return sizes


def find_sheets(ct: CtVolume, lung: Mask) -> Sheets:
    """Search sheets in one lung, away from its border, in its dark parts.

    Args:
        ct: The CT.
        lung: Boolean ``[z, y, x]``.
    """
    none = Sheets(np.empty((0, 3)), np.empty((0, 3)), np.empty((0, 3), dtype=np.intp))
    if not lung.any():
        return none
    box = bounding_box(lung, (2, 2, 2))
    grid = WorkingGrid.of(ct.hu[box], ct.spacing_mm_zyx, _STEP_MM)
    inner = erode(grid.restrict(lung[box]), _BORDER_MM, grid.spacing_mm_zyx)
    hu = np.clip(grid.hu, *_DARK_HU).astype(np.float32)
    if min(hu.shape) < 2 or not inner.any():
        return none
    shape = [_samples(size, step) for size, step in zip(hu.shape, grid.spacing_mm_zyx, strict=True)]
    zoom = np.array(shape) / np.array(hu.shape)
    if shape != list(hu.shape):
        hu = ndimage.zoom(hu, zoom, order=1)
        inner = ndimage.zoom(inner.view(np.uint8), zoom, order=0) > 0
    smooth = ndimage.gaussian_filter(hu, 1.0)
    index, normals = _ridges(smooth, inner)
    # From the isotropic grid to blocks, to voxels of the CT, to millimetres.
    blocks = index * ((np.array(grid.hu.shape) - 1) / (np.array(shape) - 1))
    factor = np.array(grid.factor)
    voxels = blocks * factor + (factor - 1) / 2.0 + [part.start for part in box]
    axes = ct.affine_lps[:3, :3] / np.array(ct.spacing_mm_zyx[::-1])
    points = voxels[:, ::-1] @ ct.affine_lps[:3, :3].T + ct.affine_lps[:3, 3]
    return Sheets(points, normals[:, ::-1] @ axes.T, index)


def _samples(size: int, step_mm: float) -> int:
    """Return how many samples an axis gets; interpolation blurs, so only where it must be."""
    if abs(step_mm / _STEP_MM - 1.0) < _ALIKE:
        return size
    return max(2, round((size - 1) * step_mm / _STEP_MM) + 1)


def _ridges(smooth: NDArray[np.float32], inner: Mask) -> tuple[NDArray[np.intp], Array]:
    """Return index and normal, both in array axes, of the voxels on a bright sheet."""
    # The rim of a vessel, and of consolidation, bends like a sheet.
    bright = ndimage.binary_dilation(smooth > _LESS_THAN_HU, iterations=_RIM)
    found = inner & (ndimage.laplace(smooth) < _LAPLACE_HU) & ~bright
    index = np.argwhere(found)
    values, vectors = np.linalg.eigh(_second_derivatives(smooth, index))
    others = np.abs(values[:, 1:]).max(axis=1, initial=0.0)
    sheet = -values[:, 0] - _OTHER_DIRECTIONS * others > _SHEET_HU
    return index[sheet], vectors[sheet, :, 0]


def _second_derivatives(smooth: NDArray[np.float32], index: NDArray[np.intp]) -> Array:
    """Return the ``(n, 3, 3)`` central differences at voxels that have all their neighbours."""

    def at(*shifts: NDArray[np.intp]) -> Array:
        return np.asarray(smooth[tuple((index + sum(shifts)).T)], dtype=np.float64)

    hessian = np.empty((len(index), 3, 3))
    unit = np.eye(3, dtype=np.intp)
    centre = at(0 * unit[0])
    for a in range(3):
        hessian[:, a, a] = at(unit[a]) - 2.0 * centre + at(-unit[a])
        for b in range(a + 1, 3):
            alike = at(unit[a], unit[b]) + at(-unit[a], -unit[b])
            unlike = at(unit[a], -unit[b]) + at(-unit[a], unit[b])
            hessian[:, a, b] = hessian[:, b, a] = (alike - unlike) / 4.0
    return hessian
