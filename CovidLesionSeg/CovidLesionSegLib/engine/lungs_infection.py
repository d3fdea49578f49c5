"""Lungs widened by the infection that a network sees beside them.

Consolidation at the pleura looks like the chest wall, and a lung mask that stops before it
loses exactly what is to be measured. The infection network knows the look of it: it searches
a little beyond the lungs, and what it finds there, touching them, is lung.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .inference import predict_infection
from .lobe_segments import fill_complete_sides
from .lungs_grid import BlockGrid, WorkingGrid
from .masks import Mask, SpacingZyx, bounding_box, close, components, dilate, distance_mm, erode
from .progress import Reporter
from .result import Anatomy, Lung, Prediction
from .slice_model import InfectionModel
from .tissue_model import TissueModel, predict_tissue
from .volume import CtVolume

SEARCH_MM = 12.0
"""How far beyond the lungs, within the slice, infection is searched."""

_SUSPECT_SHARE = 1 / 3
_CORE_MM = 8.0
_CLOSING_MM = 8.0
_TISSUE_HU = (-500, 200)
_SOLID_HU = -300
_SOLID_MM = 2.8
_OTHER_SLICES_MM = 1e3


def predict_with_lungs(
    ct: CtVolume, anatomy: Anatomy, model: InfectionModel | TissueModel, reporter: Reporter
) -> tuple[Prediction, Anatomy]:
    """Predict the infection, and widen lungs and lobes by what of it lies beside them.

    Args:
        ct: The CT.
        anatomy: Its lungs and lobes.
        model: The infection network or the consensus; with one over tissue, the anatomy stays.
        reporter: Progress and cancel.

    Returns:
        The prediction, limited to the widened lungs, and the widened anatomy.
    """
    if isinstance(model, TissueModel):  # knows nothing of what lies beside the lungs
        return predict_tissue(ct, anatomy.lungs, anatomy.lobes, model, reporter), anatomy
    region = search_region(anatomy.lungs, ct)
    prediction = predict_infection(ct, region, model, reporter)
    lungs = take_in_infection(ct, anatomy.lungs, prediction.infection, model.threshold)
    _limit(prediction, (region > 0) & (lungs == 0))
    if anatomy.lobes is None or lungs is anatomy.lungs:
        return prediction, replace(anatomy, lungs=lungs)
    lobes = anatomy.lobes.copy()
    fill_complete_sides(lobes, lungs, ct.spacing_mm_zyx)
    return prediction, replace(anatomy, lungs=lungs, lobes=lobes)


def search_region(lungs: NDArray[np.uint8], ct: CtVolume) -> NDArray[np.uint8]:
    """Return where infection is searched: the lungs and `SEARCH_MM` around them in the slice.

    Args:
        lungs: uint8 ``[z, y, x]``, labels of `Lung`.
        ct: The CT.
    """
    grid = BlockGrid.over(ct.shape_zyx, ct.spacing_mm_zyx)
    blocks = dilate(grid.centres(lungs) > 0, SEARCH_MM, _in_plane(grid.spacing_mm_zyx))
    region: NDArray[np.uint8] = grid.expand(blocks).astype(np.uint8)
    np.maximum(region, lungs > 0, out=region)
    return region


def take_in_infection(
    ct: CtVolume,
    lungs: NDArray[np.uint8],
    probability: NDArray[np.float16],
    threshold: float,
) -> NDArray[np.uint8]:
    """Widen the lungs by tissue beside them that looks infected.

    Tissue belongs to the lung if its probability exceeds a third of the model's threshold
    within 8 mm of a voxel that exceeds the threshold itself, and if it touches the lung beside
    consolidation in it; notches of up to 16 mm that it leaves are closed. Elsewhere, beside
    ground glass too, air shows where the lung ends.

    Args:
        ct: The CT.
        lungs: uint8 ``[z, y, x]``, labels of `Lung`.
        probability: float16 ``[z, y, x]``, probability of infection in `search_region`.
        threshold: The model's calibrated threshold.

    Returns:
        uint8 labels of `Lung`; ``lungs`` itself where nothing is to be added.
    """
    grid = BlockGrid.over(ct.shape_zyx, ct.spacing_mm_zyx)
    infected = grid.centres(probability)
    suspect = infected > threshold * _SUSPECT_SHARE
    if not suspect.any() or not (infected > threshold).any():
        return lungs
    margin = [int(np.ceil(2 * _CLOSING_MM / step)) + 1 for step in grid.spacing_mm_zyx]
    box = bounding_box(suspect, (margin[0], margin[1], margin[2]))
    full = grid.full_box(box)
    labels = grid.centres(lungs)[box]
    hu = WorkingGrid.of(ct.hu[full], ct.spacing_mm_zyx).hu
    tissue = (hu > _TISSUE_HU[0]) & (hu < _TISSUE_HU[1]) & (labels == 0)
    core = infected[box] > threshold
    solid = _solid(hu, labels > 0, grid.spacing_mm_zyx)
    found = suspect[box] & tissue & dilate(solid, _CORE_MM, grid.spacing_mm_zyx)
    added = _added(labels > 0, found, core, tissue, grid.spacing_mm_zyx)
    if not added.any():
        return lungs
    result = lungs.copy()
    target, tissue_full = result[full], ct.hu[full] < _TISSUE_HU[1]
    local = BlockGrid.over(tissue_full.shape, ct.spacing_mm_zyx)
    # Blocks on a border are lung or infected in part: their voxels decide themselves.
    near = dilate(added, 1.01 * max(grid.spacing_mm_zyx[1:]), grid.spacing_mm_zyx)
    wanted = local.expand(near) & (probability[full] > np.float16(threshold * _SUSPECT_SHARE))
    wanted |= local.expand(added | (near & (labels > 0)))
    wanted &= tissue_full & (target == 0)
    target[wanted] = local.expand(_nearest_side(labels, grid.spacing_mm_zyx))[wanted]
    return result


def _solid(hu: NDArray[np.int16], lung: Mask, spacing: SpacingZyx) -> Mask:
    """Return consolidation in the lung, without what is as thin as vessels and borders are."""
    dense = lung & (hu > _SOLID_HU)
    radius = max(_SOLID_MM, 1.01 * max(spacing[1:]))
    flat = _in_plane(spacing)
    return dilate(erode(dense, radius, flat), radius + 0.1, flat) & dense


def _added(lung: Mask, found: Mask, core: Mask, tissue: Mask, spacing: SpacingZyx) -> Mask:
    """Return the tissue to add on the working grid, given what of it looks infected."""
    if not found.any():
        return found
    found = found & dilate(core, _CORE_MM, spacing)
    labels, count = components(found)
    beside = dilate(lung, 1.01 * max(spacing[1:]), spacing)
    touching = np.bincount(labels[beside & found], minlength=count + 1) > 0
    touching[0] = False
    added: Mask = touching[labels]
    if not added.any():
        return added
    closed = close(lung | added, _CLOSING_MM, spacing) & dilate(added, _CLOSING_MM, spacing)
    return added | (closed & tissue)


def _limit(prediction: Prediction, beyond: Mask) -> None:
    """Set what lies beyond the lungs to what `predict_infection` gives there, in place."""
    prediction.infection[beyond] = 0.0
    if prediction.boundary is not None:
        prediction.boundary[beyond] = 0.0
    if prediction.agreement is not None:
        prediction.agreement[beyond] = 1.0


def _nearest_side(labels: NDArray[np.uint8], spacing: SpacingZyx) -> NDArray[np.uint8]:
    right, left = (distance_mm(labels == side, spacing) for side in Lung)
    return np.where(right <= left, np.uint8(Lung.RIGHT), np.uint8(Lung.LEFT))


def _in_plane(spacing: SpacingZyx) -> SpacingZyx:
    """Return a spacing that no ball reaches from one slice into the next."""
    return _OTHER_SLICES_MM, spacing[1], spacing[2]
