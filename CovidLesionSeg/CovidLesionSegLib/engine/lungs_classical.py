"""Right and left lung from the CT alone.

Air inside the body, without airways and bowel gas, gives the aerated lung; a watershed on
the HU parts right from left where they touch; closing brings back vessels, nodules and
consolidation that lies between aerated lung and the chest wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .airways import find_airways
from .lungs_grid import WorkingGrid
from .lungs_scale import AIR_HU, air_level_hu, air_threshold_hu, calibrate, tissue_level_hu
from .lungs_solid import solid_lung
from .masks import (
    Mask,
    SpacingZyx,
    close,
    components,
    dilate,
    erode,
    fill_cavities,
    fill_in_plane,
    largest_component,
    touches_lateral_border,
)
from .result import Lung

_TISSUE_HU = -300
_OUTSIDE_AIR_HU = -930
_GAS_HU = -940
_MIN_LUNG_ML = 15.0
_MIN_PART_ML = 2.0
_MIN_SECOND_SHARE = 0.05
_SPLIT_SHARE = 0.12
_SPLIT_RADII_MM = (0.0, 2.1, 4.2, 6.3, 9.0, 12.0)
_CLOSING_MM = 5.0
_COSTAL_CLOSING_MM = 18.0
_SOFT_MAX_HU = 140


@dataclass(frozen=True, eq=False)
class ClassicalLungs:
    """What the CT alone says, on the working grid.

    Attributes:
        labels: uint8, labels of `Lung`.
        air: Air inside the body (lungs, airways, bowel).
        airways: Trachea and main bronchi with their wall.
        body: Filled body.
        single: Only one lung was found.
        air_hu: HU of the air around the body.
        threshold_hu: Border between lung and tissue on the CT's own HU scale.
    """

    labels: NDArray[np.uint8]
    air: Mask
    airways: Mask
    body: Mask
    single: bool
    air_hu: float
    threshold_hu: float


def find_body(hu: NDArray[np.int16], spacing_mm_zyx: SpacingZyx) -> Mask:
    """Return the body without the table, its air spaces filled slice by slice."""
    tissue = hu > _TISSUE_HU
    core = largest_component(erode(np.pad(tissue, 1, mode="edge"), 4.0, spacing_mm_zyx))
    core = core[1:-1, 1:-1, 1:-1]
    if not core.any():
        return core
    return fill_in_plane(dilate(core, 5.0, spacing_mm_zyx) & tissue)


def air_inside(hu: NDArray[np.int16], body: Mask, threshold_hu: float = float(AIR_HU)) -> Mask:
    """Return the air that is not outside the body.

    In-plane air regions that touch the image border are outside, except where the lung
    itself is cut by the field of view: they have the density of lung and continue into
    lung that is not cut (or there is no lung that is not cut).

    Args:
        hu: int16 ``[z, y, x]``, air at -1000 HU.
        body: Filled body.
        threshold_hu: Border between lung and tissue.
    """
    air = hu < threshold_hu
    labels, count = components(air, in_plane=True)
    border = touches_lateral_border(labels, count)
    total = np.maximum(np.bincount(labels.ravel(), minlength=count + 1), 1)
    lung_like = (hu > _OUTSIDE_AIR_HU) & (hu < -500)
    like = np.bincount(labels[lung_like], minlength=count + 1)
    inside_body = np.bincount(labels[body], minlength=count + 1) > 0.5 * total
    keep, cut = ~border & inside_body, border & (like > 0.5 * total)
    keep[0] = cut[0] = False
    inside: Mask = keep[labels]
    pieces = cut[labels] & lung_like
    if not pieces.any():
        return inside
    joined, count = components(inside | pieces)
    kept_size = np.bincount(joined[inside], minlength=count + 1)
    piece_size = np.bincount(joined[pieces], minlength=count + 1)
    belongs = (kept_size > 0.1 * piece_size) | (np.count_nonzero(inside) < 0.1 * piece_size)
    joined_pieces: Mask = pieces & belongs[joined]
    return inside | joined_pieces


def _is_gas(values_hu: NDArray[np.int16]) -> bool:
    """Tell bowel gas from lung: as dark as air, and without vessels."""
    return bool(np.median(values_hu) < _GAS_HU and np.percentile(values_hu, 95) < -880)


def _candidate_parts(
    hu: NDArray[np.int16], air: Mask, spacing: SpacingZyx
) -> tuple[NDArray[np.int32], list[int], NDArray[np.int64]]:
    """Return component labels of the aerated lung, those worth keeping by size, sizes."""
    labels, count = components(air)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    voxel_ml = float(np.prod(spacing)) / 1000.0
    big = np.flatnonzero(sizes * voxel_ml >= _MIN_PART_ML)
    core = erode(air, max(spacing[1:]) * 1.01, spacing)
    kept = []
    for label in sorted(big, key=lambda index: -int(sizes[index])):
        values = hu[(labels == label) & core]
        if values.size and not _is_gas(values):
            kept.append(int(label))
    return labels, kept, sizes


def _markers(part: Mask, spacing: SpacingZyx) -> tuple[Mask, Mask] | None:
    """Erode a region until it falls into two of comparable size; None if it doesn't."""
    total = np.count_nonzero(part)
    for radius in _SPLIT_RADII_MM:
        shrunk = erode(part, radius, spacing) if radius else part
        labels, count = components(shrunk)
        if count == 0:
            return None
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = 0
        first, second = np.argsort(sizes)[::-1][:2] if count > 1 else (1, 0)
        if second and sizes[second] > _SPLIT_SHARE * total * (1.0 if radius < 5 else 0.8):
            return labels == first, labels == second
    return None


def _watershed_split(
    hu: NDArray[np.int16], part: Mask, markers: tuple[Mask, Mask]
) -> tuple[Mask, Mask]:
    """Part a region along its brightest seam: the pleural junction between the lungs."""
    import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)

    seeds = markers[0].astype(np.uint8) + 2 * markers[1].astype(np.uint8)
    relief = sitk.GetImageFromArray(np.where(part, hu, np.int16(3000)))
    flooded = sitk.MorphologicalWatershedFromMarkers(
        relief, sitk.GetImageFromArray(seeds), markWatershedLine=False, fullyConnected=False
    )
    labels = sitk.GetArrayViewFromImage(flooded)
    return part & (labels == 1), part & (labels == 2)


def _centre_x(mask: Mask) -> float:
    columns = np.count_nonzero(mask, axis=(0, 1))
    return float(np.average(np.arange(columns.size), weights=columns))


def _two_sides(
    hu: NDArray[np.int16], air: Mask, body: Mask, spacing: SpacingZyx
) -> tuple[Mask, Mask]:
    """Return right and left aerated lung (one may be empty)."""
    labels, kept, sizes = _candidate_parts(hu, air, spacing)
    voxel_ml = float(np.prod(spacing)) / 1000.0
    empty = np.zeros_like(air)
    if not kept or sizes[kept].sum() * voxel_ml < _MIN_LUNG_ML:
        return empty, empty
    main = labels == kept[0]
    middle_x = _centre_x(body) if body.any() else air.shape[2] / 2.0
    markers = None
    columns = np.count_nonzero(main, axis=(0, 1))
    right_share = columns[: round(middle_x)].sum() / columns.sum()
    if 0.15 < right_share < 0.85:
        markers = _markers(main, spacing)
    if markers:
        first, second = _watershed_split(hu, main, markers)
        rest = kept[1:]
    else:
        first, second, rest = main, empty, kept[1:]
        for label in rest:
            other = labels == label
            if _is_other_lung(main, other, sizes[label] / sizes[kept[0]]):
                second = other
                rest = [index for index in rest if index != label]
                break
    if not second.any():
        right, left = (first, empty) if _centre_x(first) < middle_x else (empty, first)
    elif _centre_x(first) < _centre_x(second):
        right, left = first, second
    else:
        right, left = second, first
    return _with_parts(right, left, [labels == index for index in rest], spacing)


def _is_other_lung(main: Mask, other: Mask, share: float) -> bool:
    """Whether a second region lies beside the first, not below it as bowel does."""
    if share < _MIN_SECOND_SHARE:
        return False
    rows_main = np.flatnonzero(main.any(axis=(1, 2)))
    rows = np.flatnonzero(other.any(axis=(1, 2)))
    overlap = min(rows_main[-1], rows[-1]) - max(rows_main[0], rows[0])
    apart = abs(_centre_x(main) - _centre_x(other))
    width = np.count_nonzero(main.any(axis=(0, 1)))
    return bool(overlap > 0.5 * (rows[-1] - rows[0]) and apart > 0.5 * width)


def _with_parts(
    right: Mask, left: Mask, parts: list[Mask], spacing: SpacingZyx
) -> tuple[Mask, Mask]:
    """Add aerated islands (amid consolidation) to the lung around them."""
    if not parts:
        return right, left
    near = [dilate(side, 12.0, spacing) for side in (right, left)]
    sides = [right.copy(), left.copy()]
    for part in parts:
        size = np.count_nonzero(part)
        shares = [np.count_nonzero(part & reach) / size for reach in near]
        best = int(np.argmax(shares))
        if shares[best] > 0.4:
            sides[best] |= part
    return sides[0], sides[1]


def costal(aerated: Mask, spacing: SpacingZyx) -> Mask:
    """Return what lies beyond aerated lung, seen from the middle of the chest.

    In each axial slice a ray runs from the middle of the lungs' box to the voxel; once it
    has crossed aerated lung, the rest of the ray is lung or chest wall, never heart.
    """
    _, rows, columns = (np.flatnonzero(aerated.any(axis=a)) for a in ((1, 2), (0, 2), (0, 1)))
    y = (np.arange(aerated.shape[1]) - (rows[0] + rows[-1]) / 2.0) * spacing[1]
    x = (np.arange(aerated.shape[2]) - (columns[0] + columns[-1]) / 2.0) * spacing[2]
    radius = np.hypot(y[:, None], x[None, :]).astype(np.float32)
    sector = ((np.arctan2(y[:, None], x[None, :]) / (2 * np.pi) + 0.5) * 240).astype(np.intp)
    sector %= 240
    nearest = np.full((aerated.shape[0], 240), np.inf, dtype=np.float32)
    z, row, column = np.nonzero(aerated)
    np.minimum.at(nearest, (z, sector[row, column]), radius[row, column])
    beyond: Mask = radius[None] > nearest[:, sector.ravel()].reshape(aerated.shape)
    return beyond


def fill_lung(
    hu: NDArray[np.int16], side: Mask, forbidden: Mask, beyond: Mask, spacing: SpacingZyx
) -> Mask:
    """Bring vessels, nodules and consolidation back into one lung.

    Gaps between the lung and the chest wall are closed more widely than those towards the
    mediastinum, where hilum and heart begin.
    """
    if not side.any():
        return side
    soft = (hu < _SOFT_MAX_HU) & ~forbidden
    wall = close(side, _COSTAL_CLOSING_MM, spacing) & beyond & soft
    grown = side | wall | (close(side, _CLOSING_MM, spacing) & ~forbidden)
    return fill_cavities(fill_in_plane(grown)) & ~forbidden


def classical_lungs(grid: WorkingGrid) -> ClassicalLungs:
    """Segment the lungs on the working grid; empty labels where there is no lung."""
    spacing = grid.spacing_mm_zyx
    body = find_body(grid.hu, spacing)
    air_hu = air_level_hu(grid.hu, body, spacing)
    threshold_hu = air_threshold_hu(air_hu, tissue_level_hu(grid.hu, body))
    hu = calibrate(grid.hu, air_hu)
    air = air_inside(hu, body, threshold_hu * -1000.0 / air_hu)
    airways = find_airways(hu, air, body, spacing)
    right, left = _two_sides(hu, air & ~airways, body, spacing)
    labels = np.zeros(hu.shape, dtype=np.uint8)
    if right.any() or left.any():
        beyond = costal(right | left, spacing)
        right |= solid_lung(hu, right, airways | left, beyond, spacing)
        filled_right = fill_lung(hu, right, airways | left, beyond, spacing)
        left |= solid_lung(hu, left, airways | filled_right, beyond, spacing)
        filled_left = fill_lung(hu, left, airways | filled_right, beyond, spacing)
        labels[filled_right] = Lung.RIGHT
        labels[filled_left] = Lung.LEFT
    return ClassicalLungs(
        labels,
        air,
        airways,
        body,
        bool(np.any(labels == Lung.RIGHT) != np.any(labels == Lung.LEFT)),
        air_hu,
        threshold_hu,
    )
