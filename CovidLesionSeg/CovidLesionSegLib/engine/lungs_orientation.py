"""Whether the patient lies in the CT as the header says.

A file that lost its orientation swaps the lobes without a word. Head and feet, front and back
can be told by the chest itself; a mirrored chest can't be told from a healthy one safely
enough (the heart hardly leans to the left in some people), so it is not tried.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .lungs_grid import WorkingGrid
from .masks import Mask, bounding_box

_ENDS = (0.05, 0.25)
_NARROWER = 0.85
_SPINE_HALF_WIDTH_MM = 30.0
_BONE_HU = 200
_OUTER_SHARE = 0.3
_MORE_BONE = 1.5
_MIN_BONE_ML = 20.0


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
