"""Right and left lung of a CT, with consolidation inside and airways outside.

`segment_lungs` works from the CT alone, or corrects what a network says by the CT.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .lungs_border import refine_border
from .lungs_classical import ClassicalLungs, classical_lungs
from .lungs_grid import WorkingGrid
from .lungs_inflation import EXPIRATION, poorly_inflated
from .lungs_model import merge_model_labels
from .lungs_orientation import back_to_front, mirrored, upside_down
from .masks import Mask
from .result import Lung
from .volume import CtVolume

PARTIAL_LUNG = "partial-lung"
SINGLE_LUNG = "single-lung"
HU_OFFSET = "hu-offset-suspected"
ORIENTATION = "orientation-doubtful"
SIDES = "sides-doubtful"

_CUT_AREA_MM2 = 150.0
_LATERAL_CUT_AREA_MM2 = 600.0
_MIN_AERATED_ML = 15.0
_MAX_AIR_ERROR_HU = 60.0


@dataclass(frozen=True, eq=False)
class LungMask:
    """Lungs on the CT's grid.

    Attributes:
        labels: uint8 ``[z, y, x]`` with the labels of `Lung`, 0 elsewhere.
        flags: ``"partial-lung"`` (the scan or the field of view cuts a lung),
            ``"single-lung"`` (only one was found), ``"hu-offset-suspected"`` (air is more
            than 60 HU off -1000, so HU bands are off as well), ``"orientation-doubtful"``
            (head and feet, or front and back, seem to be swapped), ``"sides-doubtful"`` (the
            chest looks mirrored), ``"expiration-suspected"`` (even the best aerated lung is
            dense).
        air_hu: HU of the air around the body, -1000 where none is seen.
    """

    labels: NDArray[np.uint8]
    flags: tuple[str, ...]
    air_hu: float = -1000.0


ModelLabels = NDArray[np.uint8]


def segment_lungs(
    ct: CtVolume, model_labels: ModelLabels | Callable[[], ModelLabels] | None = None
) -> LungMask:
    """Segment right and left lung.

    Args:
        ct: The CT.
        model_labels: uint8 ``[z, y, x]`` on the CT's grid, what a network says (labels of
            `Lung`); or a function that asks it, while the CT itself is searched in another
            thread; None to work from the CT alone.

    Returns:
        The lungs; trachea and main bronchi are left out, consolidation is kept as far as
        aerated lung, the chest wall and the network show where it ends.

    Raises:
        InputError: ``no-lung-found``.
    """
    grid = WorkingGrid.of(ct.hu, ct.spacing_mm_zyx)
    if callable(model_labels):
        with ThreadPoolExecutor(1, "lungs") as background:
            searching = background.submit(classical_lungs, grid)
            model_labels = model_labels()
            classical = searching.result()
    else:
        classical = classical_lungs(grid)
    labels = classical.labels
    if model_labels is not None:
        labels = merge_model_labels(_restrict_labels(grid, model_labels), classical, grid)
    # The network may take water for consolidation; nobody lives without any aerated lung.
    aerated = (labels > 0) & (grid.hu < classical.threshold_hu)
    if np.count_nonzero(aerated) * grid.voxel_ml < _MIN_AERATED_ML:
        raise InputError(
            "no-lung-found",
            "No lung was found in this CT.",
            "Check that it is a chest CT in Hounsfield units and that the lungs are in it.",
        )
    full = refine_border(ct.hu, grid, labels, classical.air, classical.threshold_hu)
    return LungMask(full, _flags(labels, classical, grid), classical.air_hu)


def _restrict_labels(grid: WorkingGrid, labels_full: NDArray[np.uint8]) -> NDArray[np.uint8]:
    result = np.zeros(grid.hu.shape, dtype=np.uint8)
    for side in Lung:
        result[grid.restrict(labels_full == side)] = side
    return result


def _flags(
    labels: NDArray[np.uint8], classical: ClassicalLungs, grid: WorkingGrid
) -> tuple[str, ...]:
    flags = []
    if is_cut(labels > 0, grid):
        flags.append(PARTIAL_LUNG)
    if not all((labels == side).any() for side in Lung):
        flags.append(SINGLE_LUNG)
    if abs(classical.air_hu + 1000.0) > _MAX_AIR_ERROR_HU:
        flags.append(HU_OFFSET)
    lung = labels > 0
    turned = PARTIAL_LUNG not in flags and upside_down(lung, grid)
    if turned or back_to_front(lung, classical.body, grid):
        flags.append(ORIENTATION)
    elif not {SINGLE_LUNG, PARTIAL_LUNG} & set(flags) and mirrored(labels):
        flags.append(SIDES)
    if poorly_inflated(lung, grid, classical.air_hu):
        flags.append(EXPIRATION)
    return tuple(flags)


def is_cut(lung: Mask, grid: WorkingGrid) -> bool:
    """Tell whether the first or last slice, or the field of view, cuts the lung.

    A few voxels do not count: the apex or the costophrenic angle may end there.
    """
    dz, dy, dx = grid.spacing_mm_zyx
    ends = (np.count_nonzero(lung[0]), np.count_nonzero(lung[-1]))
    if max(ends) * dy * dx > _CUT_AREA_MM2:
        return True
    rows = np.count_nonzero(lung[:, 0]) + np.count_nonzero(lung[:, -1])
    columns = np.count_nonzero(lung[:, :, 0]) + np.count_nonzero(lung[:, :, -1])
    return float(max(rows * dx, columns * dy)) * dz > _LATERAL_CUT_AREA_MM2
