"""Approximate lobes from the built-in atlas of the fissures, fitted to what a CT shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fissure_search import MAX_SLICE_MM, FissureFit, Region, search_fissure
from .fissure_sheets import Sheets, find_sheets
from .fissure_vessels import MAX_SLICE_MM as MAX_VESSEL_SLICE_MM
from .fissure_vessels import VesselFit, fit_between_vessels, measure_clearance
from .lobe_atlas import (
    FISSURES,
    LEFT_OBLIQUE,
    RIGHT_HORIZONTAL,
    RIGHT_OBLIQUE,
    Array,
    FissureModel,
    LobeAtlas,
    bundled_atlas,
)
from .lobe_registration import lung_surfaces, register
from .masks import Mask, bounding_box
from .result import Lobe, Lung
from .volume import CtVolume

_CUT_AREA_MM2 = 1500.0
_THINNED_MM = 6.0
_MIDDLE_LOBE_SHARE = (0.07, 0.35)
"""Of the right lung; in adults the middle lobe holds about a sixth of it."""

_FISSURES_OF = {Lung.RIGHT: (RIGHT_OBLIQUE, RIGHT_HORIZONTAL), Lung.LEFT: (LEFT_OBLIQUE,)}


def atlas_lobes(
    ct: CtVolume, lungs: NDArray[np.uint8], atlas: LobeAtlas | None = None
) -> tuple[NDArray[np.uint8], float]:
    """Part the lungs into lobes where the fissures are to be expected or can be seen.

    Args:
        ct: The CT.
        lungs: uint8 ``[z, y, x]``, labels of `Lung`.
        atlas: The atlas; None for the bundled one.

    Returns:
        uint8 ``[z, y, x]`` with the labels of `Lobe`, every lung voxel having one, and the
        typical distance in mm between these borders and the true fissures: the atlas' own
        error for a fissure that was not found in the CT, what its fit says for one that was
        (`FissureFit.error_mm`, `VesselFit.error_mm`).
    """
    atlas = atlas or bundled_atlas()
    to_reference = register(lung_surfaces(lungs, ct), atlas, cut_ends(lungs, ct))
    features = atlas.features(to_reference)
    expected = {name: atlas.fissures[name].mean(features) for name in FISSURES}
    coefficients, found_mm = _pull_onto_fissures(ct, lungs, atlas, to_reference, expected)
    labels = label_lobes(ct, lungs, atlas, to_reference, coefficients)
    scale = abs(float(np.linalg.det(to_reference[:, :3]))) ** (1 / 3)
    errors = [found_mm.get(name, atlas.fissures[name].error_mm) for name in FISSURES]
    return labels, float(np.mean(errors)) / scale


def _pull_onto_fissures(
    ct: CtVolume,
    lungs: NDArray[np.uint8],
    atlas: LobeAtlas,
    to_reference: Array,
    expected: Mapping[str, Array],
) -> tuple[dict[str, Array], dict[str, float]]:
    """Search the fissures in the CT; return coefficients, and the errors of those found.

    Oblique fissures that no sheet shows, as on thick slices, are fitted between the vessels. The
    horizontal fissure ends at the oblique one: it is searched above it, if a sheet showed that,
    and believed only if it leaves a middle lobe of usual size.
    """
    coefficients = dict(expected)
    errors_mm: dict[str, float] = {}
    thickest_mm = max(ct.spacing_mm_zyx)
    if thickest_mm > MAX_VESSEL_SLICE_MM:
        return coefficients, errors_mm

    def keep(name: str, fit: FissureFit | VesselFit) -> bool:
        if fit.found:
            coefficients[name] = fit.coefficients
            errors_mm[name] = fit.error_mm
        return fit.found

    for name, side in ((LEFT_OBLIQUE, Lung.LEFT), (RIGHT_OBLIQUE, Lung.RIGHT)):
        lung, model = lungs == side, atlas.fissures[name]
        region = inside_of(ct, lung, to_reference)
        sheets = find_sheets(ct, lung) if thickest_mm <= MAX_SLICE_MM else None
        if sheets is not None and keep(
            name, search_fissure(sheets, region, model, to_reference, expected[name])
        ):
            if side is Lung.RIGHT:
                points = _thinned(lung, ct, to_reference)
                fit = _search_horizontal(sheets, region, points, atlas, to_reference, coefficients)
                keep(RIGHT_HORIZONTAL, fit)
            continue
        clearance = measure_clearance(ct, lung)
        if clearance is not None:
            keep(name, fit_between_vessels(clearance, region, model, to_reference, expected[name]))
    return coefficients, errors_mm


def _search_horizontal(
    sheets: Sheets,
    region: Region,
    right_lung: Array,
    atlas: LobeAtlas,
    to_reference: Array,
    coefficients: Mapping[str, Array],
) -> FissureFit:
    """Search the horizontal fissure above the oblique one.

    Args:
        sheets: Of the right lung.
        region: The right lung.
        right_lung: ``(n, 3)`` its voxels, thinned out, as reference points.
        atlas: The atlas.
        to_reference: 3 x 4, LPS to reference LPS in mm.
        coefficients: Of the oblique fissure found, and of the horizontal one expected.
    """

    def in_front(points: Array) -> Mask:
        return region(points) & _over(atlas, RIGHT_OBLIQUE, coefficients, points)

    model, expected = atlas.fissures[RIGHT_HORIZONTAL], coefficients[RIGHT_HORIZONTAL]
    fit = search_fissure(sheets, in_front, model, to_reference, expected)
    share = _middle_lobe_share(
        right_lung, atlas, {**coefficients, RIGHT_HORIZONTAL: fit.coefficients}
    )
    usual = _MIDDLE_LOBE_SHARE[0] < share < _MIDDLE_LOBE_SHARE[1]
    return replace(fit, found=fit.found and usual)


def inside_of(ct: CtVolume, lung: Mask, to_reference: Array) -> Region:
    """Return the function that tells which reference points lie in a lung."""
    to_voxel = np.linalg.inv(np.vstack([to_reference, [0.0, 0.0, 0.0, 1.0]]) @ ct.affine_lps)

    def inside(points: Array) -> Mask:
        index = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        value = ndimage.map_coordinates(lung.view(np.uint8), index[:, ::-1].T, order=0)
        return np.asarray(value > 0)

    return inside


def _over(atlas: LobeAtlas, name: str, coefficients: Mapping[str, Array], points: Array) -> Mask:
    """Tell which reference points lie above a fissure."""
    basis, height = atlas.fissures[name].basis(points)
    return np.asarray(height > basis @ coefficients[name])


def _thinned(lung: Mask, ct: CtVolume, to_reference: Array) -> Array:
    """Return the lung's voxels, thinned out to about 6 mm, as reference points."""
    dz, dy, dx = (max(1, round(_THINNED_MM / size)) for size in ct.spacing_mm_zyx)
    return reference_points(lung, ct, to_reference, (dz, dy, dx))


def reference_points(
    lung: Mask, ct: CtVolume, to_reference: Array, steps: tuple[int, int, int]
) -> Array:
    """Return every so many of the lung's voxels as reference points.

    Args:
        lung: Boolean ``[z, y, x]``.
        ct: The CT.
        to_reference: 3 x 4, LPS to reference LPS in mm.
        steps: Voxels from one to the next along ``(z, y, x)``.

    Returns:
        ``(n, 3)`` in mm.
    """
    index = np.argwhere(lung[:: steps[0], :: steps[1], :: steps[2]]) * steps
    to_mm = to_reference @ ct.affine_lps
    return np.asarray(index[:, ::-1] @ to_mm[:, :3].T + to_mm[:, 3])


def _middle_lobe_share(points: Array, atlas: LobeAtlas, coefficients: Mapping[str, Array]) -> float:
    """Return the middle lobe's share of the right lung's reference points."""
    above = _over(atlas, RIGHT_OBLIQUE, coefficients, points)
    middle = above & ~_over(atlas, RIGHT_HORIZONTAL, coefficients, points)
    return float(middle.mean())


def cut_ends(lungs: NDArray[np.uint8], ct: CtVolume) -> tuple[bool, bool]:
    """Return whether the first and the last slice cut right through the lungs."""
    _, dy, dx = ct.spacing_mm_zyx
    low, high = (int(np.count_nonzero(lungs[end])) * dy * dx > _CUT_AREA_MM2 for end in (0, -1))
    return low, high


def label_lobes(
    ct: CtVolume,
    lungs: NDArray[np.uint8],
    atlas: LobeAtlas,
    to_reference: Array,
    coefficients: Mapping[str, Array],
) -> NDArray[np.uint8]:
    """Give every lung voxel its lobe, by the side of the fissures on which it lies.

    Args:
        ct: The CT.
        lungs: uint8 ``[z, y, x]``, labels of `Lung`.
        atlas: The atlas.
        to_reference: 3 x 4, LPS to reference LPS in mm.
        coefficients: Coefficients by fissure.
    """
    labels = np.zeros(lungs.shape, dtype=np.uint8)
    for lung, names in _FISSURES_OF.items():
        mask = lungs == lung
        if not mask.any():
            continue
        box = bounding_box(mask)
        models = [atlas.fissures[name] for name in names]
        planes = [_index_to_plane(model, to_reference, ct, box) for model in models]
        target, inside = labels[box], mask[box]
        for z in np.flatnonzero(inside.any(axis=(1, 2))):
            above = [
                _above(model, plane, coefficients[name], int(z), target.shape[1:])
                for model, plane, name in zip(models, planes, names, strict=True)
            ]
            target[z][inside[z]] = _lobe_labels(lung, above)[inside[z]]
    return labels


def _lobe_labels(lung: Lung, above: list[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Name the lobes of a lung from the side of its oblique (and horizontal) fissure."""
    if lung is Lung.LEFT:
        return np.where(above[0], np.uint8(Lobe.LUL), np.uint8(Lobe.LLL))
    front = np.where(above[1], np.uint8(Lobe.RUL), np.uint8(Lobe.RML))
    return np.where(above[0], front, np.uint8(Lobe.RLL))


def _index_to_plane(
    model: FissureModel, to_reference: Array, ct: CtVolume, box: tuple[slice, slice, slice]
) -> Array:
    """Return 3 x 4 from voxel index ``(x, y, z)`` in the box to the plane's frame in mm."""
    index_to_reference = to_reference @ ct.affine_lps
    first = np.array([box[2].start, box[1].start, box[0].start])
    origin = index_to_reference[:, :3] @ first + index_to_reference[:, 3] - model.centre_mm
    matrix: Array = model.axes @ np.column_stack([index_to_reference[:, :3], origin])
    return matrix


def _above(
    model: FissureModel, plane: Array, coefficients: Array, z: int, shape_yx: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Tell for each pixel of one slice whether it lies above the fissure."""
    y = np.arange(shape_yx[0], dtype=np.float32)[:, None]
    x = np.arange(shape_yx[1], dtype=np.float32)[None, :]
    matrix = plane.astype(np.float32)
    along = [row[0] * x + row[1] * y + (row[2] * z + row[3]) for row in matrix]
    height = model.height(along[0], along[1], coefficients)
    result: NDArray[np.bool_] = along[2] > height
    return result
