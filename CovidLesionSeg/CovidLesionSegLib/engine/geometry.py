"""Axis permutation and flips between a scanner's grid and LPS axis order.

Nothing here interpolates: an array is only transposed and flipped, so that the
inverse puts every voxel back exactly where it came from.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

ScalarT = TypeVar("ScalarT", bound=np.generic)
Affine = NDArray[np.float64]

_ROUND_DECIMALS = 6
"""Spacing and origin are rounded to a nanometre: far below any scanner's accuracy, and
enough to make the numbers of a permuted copy equal bit by bit."""


@dataclass(frozen=True)
class AxisOrientation:
    """How the axes of an input grid map to LPS axis order.

    Attributes:
        source_axis: For each LPS axis (x to the left, y to posterior, z to superior), the
            input index axis (0 = i, 1 = j, 2 = k) that runs along it.
        flipped: For each LPS axis, whether the input index runs against it.
    """

    source_axis: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @classmethod
    def from_affine(cls, affine_lps: Affine) -> AxisOrientation:
        """Find the closest axis-aligned orientation of an index-to-LPS affine.

        Args:
            affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm; may be oblique.

        The permutation with the largest sum of absolute direction cosines wins, which is
        well defined also for strongly oblique grids; ties go to the first permutation.
        """
        directions = affine_lps[:3, :3] / np.linalg.norm(affine_lps[:3, :3], axis=0)
        weights = np.round(np.abs(directions), _ROUND_DECIMALS)
        best = max(
            itertools.permutations(range(3)),
            key=lambda axes: round(sum(weights[row, axes[row]] for row in range(3)), 9),
        )
        x, y, z = best
        negative = [bool(directions[row, best[row]] < 0) for row in range(3)]
        return cls((x, y, z), (negative[0], negative[1], negative[2]))

    @classmethod
    def all(cls) -> Iterator[AxisOrientation]:
        """Yield the 48 axis orientations."""
        for axes in itertools.permutations(range(3)):
            for flips in itertools.product((False, True), repeat=3):
                yield cls((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))

    def lps_view(self, array_kji: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """Return ``[k, j, i]`` voxels of the input grid as ``[z, y, x]``, without copying."""
        # numpy axes count from the slowest: index axis a of (i, j, k) is numpy axis 2 - a.
        order = tuple(2 - self.source_axis[row] for row in (2, 1, 0))
        flip = tuple(slice(None, None, -1 if self.flipped[row] else 1) for row in (2, 1, 0))
        return array_kji.transpose(order)[flip]

    def to_lps(self, array_kji: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """Return ``[k, j, i]`` voxels of the input grid as contiguous ``[z, y, x]``."""
        return np.ascontiguousarray(self.lps_view(array_kji))

    def from_lps(self, array_zyx: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """Return ``[z, y, x]`` voxels on the input grid ``[k, j, i]``; inverse of `to_lps`."""
        return np.ascontiguousarray(self.input_view(array_zyx))

    def input_view(self, array_zyx: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """Return ``[z, y, x]`` voxels on the input grid ``[k, j, i]``, without copying."""
        flip = tuple(slice(None, None, -1 if self.flipped[row] else 1) for row in (2, 1, 0))
        order = tuple(2 - self.source_axis[row] for row in (2, 1, 0))
        inverse = tuple(int(axis) for axis in np.argsort(order))
        return array_zyx[flip].transpose(inverse)

    def affine_to_lps_order(self, affine_lps: Affine, shape_kji: tuple[int, ...]) -> Affine:
        """Return the affine of the reordered grid: index ``(x, y, z)`` to LPS in mm."""
        size_ijk = shape_kji[::-1]
        reordered = np.eye(4)
        origin = affine_lps[:3, 3].astype(np.float64).copy()
        for row in range(3):
            axis = self.source_axis[row]
            column = affine_lps[:3, axis]
            if self.flipped[row]:
                origin += column * (size_ijk[axis] - 1)
                column = -column
            reordered[:3, row] = column
        reordered[:3, 3] = origin
        # Adding 0.0 turns -0.0 into 0.0, which would print differently.
        return np.round(reordered, _ROUND_DECIMALS + 3) + 0.0


def spacing_mm_xyz(affine_lps: Affine) -> tuple[float, float, float]:
    """Return the voxel edge lengths along the index axes ``(x, y, z)`` in mm."""
    x, y, z = np.round(np.linalg.norm(affine_lps[:3, :3], axis=0), _ROUND_DECIMALS)
    return float(x), float(y), float(z)


def voxel_volume_mm3(affine_lps: Affine) -> float:
    """Return the voxel volume from the affine's determinant, right also for sheared grids."""
    return round(float(abs(np.linalg.det(affine_lps[:3, :3]))), _ROUND_DECIMALS)
