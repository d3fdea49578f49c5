"""Approximate lobes from the built-in atlas of the fissures, pulled onto those in the CT."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fissure_search import MAX_SLICE_MM, Region, search_fissure
from .fissure_sheets import Sheets, find_sheets
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
        error for a fissure that was not found in the CT, what the regression on the sheets
        says (`FissureFit.error_mm`) for one that was.
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

    The horizontal fissure ends at the oblique one: it is searched above it, if that was
    found, and believed only if it leaves a middle lobe of usual size.
    """
    coefficients = dict(expected)
    errors_mm: dict[str, float] = {}
    if max(ct.spacing_mm_zyx) > MAX_SLICE_MM:
        return coefficients, errors_mm

    def search(name: str, sheets: Sheets, region: Region) -> bool:
        model = atlas.fissures[name]
        fit = search_fissure(sheets, region, model, to_reference, expected[name])
        if fit.found:
            coefficients[name] = fit.coefficients
            errors_mm[name] = fit.error_mm
        return fit.found

    left = lungs == Lung.LEFT
    search(LEFT_OBLIQUE, find_sheets(ct, left), inside_of(ct, left, to_reference))
    right = lungs == Lung.RIGHT
    sheets, region = find_sheets(ct, right), inside_of(ct, right, to_reference)
    if search(RIGHT_OBLIQUE, sheets, region):

        def in_front(points: Array) -> Mask:
            return region(points) & _over(atlas, RIGHT_OBLIQUE, coefficients, points)

        if search(RIGHT_HORIZONTAL, sheets, in_front):
            share = _middle_lobe_share(_thinned(right, ct, to_reference), atlas, coefficients)
            if not _MIDDLE_LOBE_SHARE[0] < share < _MIDDLE_LOBE_SHARE[1]:
                coefficients[RIGHT_HORIZONTAL] = expected[RIGHT_HORIZONTAL]
                del errors_mm[RIGHT_HORIZONTAL]
    return coefficients, errors_mm


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
    steps = [max(1, round(_THINNED_MM / size)) for size in ct.spacing_mm_zyx]
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
