"""Whether the patient lies in the CT as the header says.

A file that lost its orientation swaps the lobes without a word. Head and feet, front and back
can be told by the chest itself. Left and right can be told in most people, by the heart: it
leans to the left and takes room from the left lung. Nothing is ever swapped here: a mirrored
chest, a heart on the right and a collapsed lung look alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .lungs_grid import WorkingGrid
from .masks import Mask, bounding_box
from .result import Lung

_ENDS = (0.05, 0.25)
_NARROWER = 0.85
_SPINE_HALF_WIDTH_MM = 30.0
_BONE_HU = 200
_OUTER_SHARE = 0.3
_MORE_BONE = 1.5
_MIN_BONE_ML = 20.0
_HEART_LEVELS = (0.15, 0.5)
_USUAL_LEAN = 0.03
_USUAL_LOG_FRONT = 0.4
_USUAL_LOG_VOLUME = 0.15
_MIRRORED_BELOW = -1.2
"""Of 13 chests, one with much consolidation reaches -0.9, all others 1.3 to 5.9."""


def upside_down(lung: Mask, grid: WorkingGrid) -> bool:
    """Tell whether the lungs' lower end is clearly narrower than their upper end.

    The apices are narrower than the bases; both ends must be in the scan.

    Args:
        lung: Both lungs on the working grid, ``[z, y, x]``, z up.
        grid: The working grid.
    """
    rows = np.flatnonzero(lung.any(axis=(1, 2)))
    size = rows[-1] - rows[0] + 1
    near, far = (round(share * size) for share in _ENDS)
    below = lung[rows[0] + near : rows[0] + max(far, near + 1)]
    above = lung[rows[-1] + 1 - max(far, near + 1) : rows[-1] + 1 - near]
    return _width_mm(below, grid) < _NARROWER * _width_mm(above, grid)


def _width_mm(lung: Mask, grid: WorkingGrid) -> float:
    columns = np.flatnonzero(lung.any(axis=(0, 1)))
    return float(columns[-1] - columns[0] + 1) * grid.spacing_mm_zyx[2] if columns.size else 0.0


def back_to_front(lung: Mask, body: Mask, grid: WorkingGrid) -> bool:
    """Tell whether more bone lies before the lungs than behind them, in the middle.

    The spine is much more than the sternum. The middle of the chest is left out: a heart
    full of contrast agent is as bright as bone.

    Args:
        lung: Both lungs on the working grid, ``[z, y, x]``, y to the back.
        body: Filled body.
        grid: The working grid.
    """
    z, y, x = bounding_box(lung)
    half = round(_SPINE_HALF_WIDTH_MM / grid.spacing_mm_zyx[2])
    middle = (x.start + x.stop) // 2
    band = (z, slice(None), slice(max(0, middle - half), middle + half + 1))
    bone: NDArray[np.int64] = np.count_nonzero((grid.hu[band] > _BONE_HU) & body[band], axis=(0, 2))
    outer = round(_OUTER_SHARE * (y.stop - y.start))
    before, behind = int(bone[: y.start + outer].sum()), int(bone[y.stop - outer :].sum())
    return before * grid.voxel_ml > _MIN_BONE_ML and before > _MORE_BONE * behind


def mirrored(labels: NDArray[np.uint8]) -> bool:
    """Tell whether the heart seems to lie on the right.

    Args:
        labels: uint8 ``[z, y, x]``, labels of `Lung` on any grid, x to the left.
    """
    return left_heart(labels) < _MIRRORED_BELOW


def left_heart(labels: NDArray[np.uint8]) -> float:
    """Return how much the chest speaks for a heart on the left, about 3 in most people.

    The sum of three signs, each in units of what is usual: how far the middle of the gap
    between the lungs lies to the left of the chest's middle, at the level of the heart; how
    much more of the right than of the left lung lies in front there; how much larger the right
    lung is. Mirroring the chest changes the sign.

    Args:
        labels: uint8 ``[z, y, x]``, labels of `Lung` on any grid, x to the left.
    """
    z, y, _ = bounding_box(labels > 0)
    height = z.stop - z.start
    low, high = (z.start + round(share * height) for share in _HEART_LEVELS)
    heart = labels[low : max(high, low + 1)]
    right, left = (heart == side for side in Lung)
    both = right.any(axis=2) & left.any(axis=2)
    if not both.any():
        return 0.0
    size = labels.shape[2]
    gap = (size - 1 - right[..., ::-1].argmax(axis=2)) + left.argmax(axis=2)
    chest = right.argmax(axis=2) + (size - 1 - left[..., ::-1].argmax(axis=2))
    width = (size - left[..., ::-1].argmax(axis=2)) - right.argmax(axis=2)
    lean = float((gap - chest)[both].mean()) / 2.0 / float(width[both].mean())
    front = slice(y.start, (y.start + y.stop) // 2)
    return (
        lean / _USUAL_LEAN
        + _log_ratio(right[:, front], left[:, front]) / _USUAL_LOG_FRONT
        + _log_ratio(labels == Lung.RIGHT, labels == Lung.LEFT) / _USUAL_LOG_VOLUME
    )


def _log_ratio(one: Mask, other: Mask) -> float:
    return float(np.log((np.count_nonzero(one) + 1) / (np.count_nonzero(other) + 1)))
