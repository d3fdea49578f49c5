"""From a patient's lungs to the reference lungs of the lobe atlas: one affine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .lobe_atlas import Array, LobeAtlas
from .result import Lung
from .volume import CtVolume

_SURFACE_STEP_MM = 4.0
_MAX_POINTS = 3000
_ITERATIONS = 30
_OUTLIER_MM = 8.0
_LEVERAGE_MM = (50.0, 50.0, 80.0)
_PRIOR = 2e-3
_PRIOR_CUT = 5e-2


def lung_surfaces(lungs: NDArray[np.uint8], ct: CtVolume) -> dict[Lung, Array]:
    """Return points on each lung's surface, LPS in mm, ``(n, 3)``.

    Points on the first and last slice are left out where they are a cut, not a surface.
    """
    steps = [max(1, round(_SURFACE_STEP_MM / size)) for size in ct.spacing_mm_zyx]
    coarse = lungs[:: steps[0], :: steps[1], :: steps[2]]
    surfaces = {}
    for lung in Lung:
        mask = coarse == lung
        if not mask.any():
            continue
        edge = mask & ~ndimage.binary_erosion(mask, border_value=1)
        index = np.argwhere(edge)
        index = index[:: max(1, len(index) // _MAX_POINTS)] * steps
        xyz = index[:, ::-1].astype(np.float64)
        surfaces[lung] = xyz @ ct.affine_lps[:3, :3].T + ct.affine_lps[:3, 3]
    return surfaces


def register(
    surfaces: Mapping[Lung, Array], atlas: LobeAtlas, cut: tuple[bool, bool] = (False, False)
) -> Array:
    """Find the affine from the patient to the reference, both lungs together.

    Gauss-Newton on the reference's distance map at the patient's surface points, robust
    against outliers, held near the alignment of the bounding boxes.

    Args:
        surfaces: Points on the surface by lung, LPS in mm.
        atlas: The lobe atlas.
        cut: Whether the lungs are cut at the lower and at the upper end of the scan.

    Returns:
        3 x 4, patient LPS to reference LPS in mm.
    """
    points = np.concatenate(list(surfaces.values()))
    centre = points.mean(axis=0)
    start = _align_boxes(points, _reference_box(atlas, tuple(surfaces)), cut)
    start[:, 3] += start[:, :3] @ centre
    leverage = np.array([*_LEVERAGE_MM, 1.0])
    held = (_PRIOR_CUT if any(cut) else _PRIOR) * len(points)
    fields = {lung: _smooth_field(atlas, lung) for lung in surfaces}
    affine = start.copy()
    for _ in range(_ITERATIONS):
        normal, gradient = np.eye(12) * held, held * ((affine - start) * leverage).ravel()
        for lung, own in surfaces.items():
            q = np.column_stack([own - centre, np.ones(len(own))])
            distance, slope = _sample(fields[lung], q @ affine.T, atlas)
            weight = 1.0 / (1.0 + (distance / _OUTLIER_MM) ** 2)
            jacobian = (slope[:, :, None] * (q / leverage)[:, None, :]).reshape(-1, 12)
            normal += jacobian.T @ (jacobian * weight[:, None])
            gradient += jacobian.T @ (weight * distance)
        affine = affine - np.linalg.solve(normal, gradient).reshape(3, 4) / leverage
    affine[:, 3] -= affine[:, :3] @ centre
    return affine


def _reference_box(atlas: LobeAtlas, lungs: tuple[Lung, ...]) -> tuple[Array, Array]:
    inside = np.zeros(atlas.distance_mm[Lung.RIGHT].shape, dtype=bool)
    for lung in lungs:
        inside |= atlas.distance_mm[lung] <= 0
    index = np.argwhere(inside)[:, ::-1]
    return (
        atlas.origin_mm + index.min(axis=0) * atlas.spacing_mm,
        atlas.origin_mm + index.max(axis=0) * atlas.spacing_mm,
    )


def _align_boxes(points: Array, box: tuple[Array, Array], cut: tuple[bool, bool]) -> Array:
    """Return the scaling and shift that put the points' box on the reference's.

    A cut lung says nothing about its height: then z is scaled like x and y, and the end
    that is not cut is aligned.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (box[1] - box[0]) / np.maximum(high - low, 1.0)
    anchor_from, anchor_to = low.copy(), box[0].copy()
    if any(cut):
        scale[2] = max(scale[2] if all(cut) else 0.0, (scale[0] + scale[1]) / 2.0)
        if cut[0] and not cut[1]:
            anchor_from[2], anchor_to[2] = high[2], box[1][2]
    affine = np.zeros((3, 4))
    affine[:, :3] = np.diag(scale)
    affine[:, 3] = anchor_to - scale * anchor_from
    return affine


def _smooth_field(atlas: LobeAtlas, lung: Lung) -> list[NDArray[np.float32]]:
    """Return the distance map and its slope along x, y and z."""
    distance = ndimage.gaussian_filter(atlas.distance_mm[lung], 1.0)
    slopes = np.gradient(distance, *atlas.spacing_mm[::-1])
    return [distance, slopes[2], slopes[1], slopes[0]]


def _sample(
    field: list[NDArray[np.float32]], points: Array, atlas: LobeAtlas
) -> tuple[Array, Array]:
    index = ((points - atlas.origin_mm) / atlas.spacing_mm)[:, ::-1].T
    values = [ndimage.map_coordinates(part, index, order=1, mode="nearest") for part in field]
    distance = values[0].astype(np.float64)
    return distance, np.stack(values[1:], axis=1).astype(np.float64)
