"""Correct a lung network's labels by the CT."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .lungs_classical import ClassicalLungs, costal, fill_lung
from .lungs_grid import WorkingGrid
from .lungs_scale import calibrate
from .masks import Mask, close, components, dilate, fill_cavities, fill_in_plane
from .result import Lung

_MIN_SHARE = 0.03
_MIN_PART_ML = 3.0
_REACH_MM = 2.0
_CLOSING_MM = 4.0
_MIN_AGREEMENT = 0.5


def merge_model_labels(
    model: NDArray[np.uint8], classical: ClassicalLungs, grid: WorkingGrid
) -> NDArray[np.uint8]:
    """Join a network's lungs with the aerated lung of the CT, on the working grid.

    The network knows consolidation, the CT knows exactly where air is: solid voxels are
    taken from the network (and from the classical closing near it), aerated voxels from
    the classical lungs. Airways and outside air leave, islands are dropped, sides follow
    the classical separation where both lungs were found.

    Args:
        model: uint8 labels of `Lung` on the working grid.
        classical: What the CT alone says.
        grid: The working grid.

    Returns:
        uint8 labels of `Lung` on the working grid; the classical labels where the network
        found next to nothing.
    """
    spacing = grid.spacing_mm_zyx
    model_ml = np.count_nonzero(model) * grid.voxel_ml
    classical_ml = np.count_nonzero(classical.labels) * grid.voxel_ml
    if model_ml < _MIN_AGREEMENT * classical_ml:
        return classical.labels
    allowed = classical.body & ~classical.airways
    if not classical.body.any():
        allowed = ~classical.airways
    network = (model > 0) & allowed
    aerated = (classical.labels > 0) & classical.air
    reach = dilate(network, _REACH_MM, spacing)
    # Air the network sees but the classical search does not (a lung cut by the field of
    # view) stays; air it missed returns if it belongs to a region it mostly saw.
    lung = network | (classical.labels > 0) & reach | _mostly_seen(aerated, network)
    lung &= allowed
    return _sides(lung, model, classical, grid)


def _mostly_seen(aerated: Mask, network: Mask) -> Mask:
    """Return the aerated regions of which the network saw more than half."""
    labels, count = components(aerated)
    total = np.maximum(np.bincount(labels.ravel(), minlength=count + 1), 1)
    seen = np.bincount(labels[network], minlength=count + 1) > 0.5 * total
    seen[0] = False
    result: Mask = seen[labels]
    return result


def _sides(
    lung: Mask, model: NDArray[np.uint8], classical: ClassicalLungs, grid: WorkingGrid
) -> NDArray[np.uint8]:
    """Give every lung voxel the side of the nearest voxel whose side is known."""
    import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)

    known = np.where(lung, classical.labels, 0).astype(np.uint8)
    present = {int(side) for side in Lung if (known == side).any()}
    if len(present) < 2:
        known = np.where(lung, model, 0).astype(np.uint8)
    relief = np.where(lung, np.where(known > 0, 0, 1), 255).astype(np.uint8)
    spread = sitk.GetArrayFromImage(
        sitk.MorphologicalWatershedFromMarkers(
            sitk.GetImageFromArray(relief), sitk.GetImageFromArray(known), False, False
        )
    )
    sides = {side: _tidy(lung & (spread == side), grid) for side in Lung}
    aerated = lung & classical.air
    if aerated.any():
        _close_to_the_wall(sides, aerated, classical, grid)
    labels = np.zeros(lung.shape, dtype=np.uint8)
    labels[sides[Lung.RIGHT] & ~classical.airways & ~sides[Lung.LEFT]] = Lung.RIGHT
    labels[sides[Lung.LEFT] & ~classical.airways] = Lung.LEFT
    return labels


def _close_to_the_wall(
    sides: dict[Lung, Mask], aerated: Mask, classical: ClassicalLungs, grid: WorkingGrid
) -> None:
    """Close what the network leaves out between consolidation and the ribs, in place."""
    hu = calibrate(grid.hu, classical.air_hu)
    beyond = costal(aerated, grid.spacing_mm_zyx)
    for side, other in ((Lung.RIGHT, Lung.LEFT), (Lung.LEFT, Lung.RIGHT)):
        forbidden = classical.airways | sides[other]
        sides[side] = fill_lung(hu, sides[side], forbidden, beyond, grid.spacing_mm_zyx)


def _tidy(side: Mask, grid: WorkingGrid) -> Mask:
    """Drop islands, close gaps, fill holes."""
    labels, count = components(side)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    if count == 0:
        return side
    minimum = max(_MIN_SHARE * sizes.max(), _MIN_PART_ML / grid.voxel_ml)
    keep = (sizes >= minimum) | (sizes == sizes.max())
    keep[0] = False
    closed = close(keep[labels], _CLOSING_MM, grid.spacing_mm_zyx)
    return fill_cavities(fill_in_plane(closed))
