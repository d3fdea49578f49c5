"""Approximate lobes from the built-in atlas of the fissures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

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
from .masks import bounding_box
from .result import Lobe, Lung
from .volume import CtVolume

_CUT_AREA_MM2 = 1500.0
_FISSURES_OF = {Lung.RIGHT: (RIGHT_OBLIQUE, RIGHT_HORIZONTAL), Lung.LEFT: (LEFT_OBLIQUE,)}


def atlas_lobes(
    ct: CtVolume, lungs: NDArray[np.uint8], atlas: LobeAtlas | None = None
) -> tuple[NDArray[np.uint8], float]:
    """Part the lungs into lobes where the fissures are to be expected.

    Args:
        ct: The CT.
        lungs: uint8 ``[z, y, x]``, labels of `Lung`.
        atlas: The atlas; None for the bundled one.

    Returns:
        uint8 ``[z, y, x]`` with the labels of `Lobe`, every lung voxel having one, and the
        typical distance in mm between these borders and the true fissures.
    """
    atlas = atlas or bundled_atlas()
    to_reference = register(lung_surfaces(lungs, ct), atlas, cut_ends(lungs, ct))
    features = atlas.features(to_reference)
    coefficients = {name: atlas.fissures[name].mean(features) for name in FISSURES}
    labels = label_lobes(ct, lungs, atlas, to_reference, coefficients)
    scale = abs(float(np.linalg.det(to_reference[:, :3]))) ** (1 / 3)
    errors = [atlas.fissures[name].error_mm for name in FISSURES]
    return labels, float(np.mean(errors)) / scale


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
