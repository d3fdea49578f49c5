"""Where the fissures run, told by the vessels: they branch within the lobes and do not cross.

Along a fissure lies a band without vessels, which is seen where the fissure itself is not: on
thick slices too (van Rikxoort et al., IEEE Trans Med Imaging 2010;29(6) use the same clue, and so
does every radiologist). Surfaces are drawn from the atlas' model; each is weighted by how far
from vessels it runs, and the weighted mean is the answer. It is believed if its band is much
clearer than any that the same lung shows when turned by a right angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fissure_search import MEAN_OF_NORMAL, QUARTER_TURN, Region
from .lobe_atlas import Array, FissureModel
from .lungs_grid import WorkingGrid
from .masks import Mask, bounding_box, distance_mm, mean_within
from .volume import CtVolume

MAX_SLICE_MM = 6.5
"""With thicker slices it has not been tried."""

_STEP_MM = 2.0
_HU = (-1000, 0)
_AROUND_MM = 8.0
_AROUND_MAX_HU = -600
_BRIGHTER_BY_HU = 150.0
_VESSEL_DEPTH_MM = 2.0
_INNER_DEPTH_MM = 4.0
_REACH_MM = 12.0
_DEPTH_STEP_MM = 4.0
_DEPTHS = 10
_MIN_SHARE = 0.01
_MIN_VOXELS = 50

_DRAWS = 1500
_NODE_MM = 6.0
_NODE_RANGE = 1.25
_HEIGHT_MM = 70.0
_HEIGHT_STEP_MM = 2.0
_MIN_NODES = 30
_MIN_NODES_SHARE = 0.5
_SHARPNESS = 15.0
"""Weight of one standard deviation of mean clearance, in units of the log likelihood."""

_MIN_CLEARANCE = 0.35
_TIMES_CHANCE = 2.0
"""Turned lungs reach a clearance of 0.27, the fissures of five persons 0.38 to 1.19."""

_UNDERSTATED = 1.4
"""How much larger the error is than the spread of the weighted draws says, see
`training/anatomy/results/fissures_vessels.json`."""


@dataclass(frozen=True, eq=False)
class VesselFit:
    """A fissure fitted between the vessels.

    Attributes:
        coefficients: ``(K,)`` in mm.
        error_mm: Mean distance to the fissure that is to be expected, reference mm.
        clearance: How far from vessels the surface runs, in standard deviations above what is
            usual at its depth in this lung.
        found: Whether that is enough to believe it.
    """

    coefficients: Array
    error_mm: float
    clearance: float
    found: bool


@dataclass(frozen=True, eq=False)
class Clearance:
    """How far from vessels a lung's places lie.

    Attributes:
        score: float32 ``[z, y, x]``, standard deviations above the mean at the same depth below
            the lung's surface: near the pleura vessels are thin and far apart.
        inner: Where it means something.
        to_mm: 4 x 4, index ``(x, y, z)`` to LPS in mm.
    """

    score: NDArray[np.float32]
    inner: Mask
    to_mm: Array


def measure_clearance(ct: CtVolume, lung: Mask) -> Clearance | None:
    """Measure the distance to vessels in one lung.

    Args:
        ct: The CT.
        lung: Boolean ``[z, y, x]``.

    Returns:
        None where no vessels are seen: in a made-up CT, say.
    """
    if not lung.any():
        return None
    box = bounding_box(lung, (2, 2, 2))
    grid = WorkingGrid.of(ct.hu[box], ct.spacing_mm_zyx, _STEP_MM)
    hu = np.clip(grid.hu, *_HU).astype(np.float32)
    mask = grid.restrict(lung[box])
    if min(hu.shape) < 2:
        return None
    fine = [
        max(2, round((n - 1) * d / _STEP_MM) + 1)
        for n, d in zip(hu.shape, grid.spacing_mm_zyx, strict=True)
    ]
    ratio = (np.array(hu.shape) - 1) / (np.array(fine) - 1)
    zoom = np.array(fine) / np.array(hu.shape)
    hu = ndimage.zoom(hu, zoom, order=1)
    mask = ndimage.zoom(mask.astype(np.float32), zoom, order=1) > 0.5
    dz, dy, dx = (float(d * r) for d, r in zip(grid.spacing_mm_zyx, ratio, strict=True))
    found = _score(hu, mask, (dz, dy, dx))
    if found is None:
        return None
    factor = np.array(grid.factor)
    to_voxel = np.eye(4)
    to_voxel[:3, :3] = np.diag((ratio * factor)[::-1])
    to_voxel[:3, 3] = ((factor - 1) / 2.0 + [part.start for part in box])[::-1]
    return Clearance(*found, ct.affine_lps @ to_voxel)


def _score(
    hu: NDArray[np.float32], lung: Mask, spacing: tuple[float, float, float]
) -> tuple[NDArray[np.float32], Mask] | None:
    """Return distance to vessels, standardised at every depth, and where it is known."""
    # Beyond the border of the array nothing is known: the cut lung goes on there.
    depth = distance_mm(~lung, spacing)
    sigma = [_AROUND_MM / step for step in spacing]
    around = mean_within(np.minimum(hu, _AROUND_MAX_HU), lung, sigma)
    vessels = lung & (hu - around > _BRIGHTER_BY_HU) & (depth > _VESSEL_DEPTH_MM)
    inner = lung & (depth > _INNER_DEPTH_MM)
    if np.count_nonzero(vessels) < max(_MIN_SHARE * np.count_nonzero(inner), _MIN_VOXELS):
        return None
    away = np.minimum(distance_mm(vessels, spacing), _REACH_MM)
    level = np.minimum((depth / _DEPTH_STEP_MM).astype(np.intp), _DEPTHS - 1)
    count = np.maximum(np.bincount(level[inner], minlength=_DEPTHS), 1)
    mean = np.bincount(level[inner], away[inner], _DEPTHS) / count
    square = np.bincount(level[inner], away[inner] ** 2, _DEPTHS) / count
    deviation = np.sqrt(np.maximum(square - mean**2, 1e-2))
    score = np.where(inner, (away - mean[level]) / deviation[level], 0.0)
    return score.astype(np.float32), inner


def fit_between_vessels(
    clearance: Clearance,
    region: Region,
    model: FissureModel,
    to_reference: Array,
    expected: Array,
    seed: int = 0,
) -> VesselFit:
    """Fit one fissure to the places without vessels.

    Args:
        clearance: Of the lung that it parts.
        region: Where the fissure can be.
        model: The fissure's model.
        to_reference: 3 x 4, LPS to reference LPS in mm.
        expected: Coefficients of the expected surface.
        seed: For the draws.
    """
    best, spread_mm, clear = _fit(clearance, region, model, to_reference, expected, seed)
    turned, turned_region = _turned(clearance, region, to_reference)
    _, _, by_chance = _fit(clearance, turned_region, model, turned, expected, seed)
    found = clear >= _MIN_CLEARANCE and clear >= _TIMES_CHANCE * by_chance
    return VesselFit(best, _UNDERSTATED * MEAN_OF_NORMAL * spread_mm, clear, found)


def _fit(
    clearance: Clearance,
    region: Region,
    model: FissureModel,
    to_reference: Array,
    expected: Array,
    seed: int,
) -> tuple[Array, float, float]:
    """Return the weighted mean of many draws, its deviation in mm and its clearance."""
    plane = _plane_nodes(model)
    along = plane[:, 0], plane[:, 1]
    basis = np.stack([model.height(*along, unit) for unit in np.eye(expected.size)], axis=1)
    heights = np.arange(-_HEIGHT_MM, _HEIGHT_MM + 1.0, _HEIGHT_STEP_MM)
    points = _points(model, plane, basis @ expected + heights[:, None])
    score, inside = _look_up(clearance, region, to_reference, points)
    rng = np.random.default_rng(seed)
    draws = rng.standard_normal((_DRAWS, expected.size)) @ np.linalg.cholesky(model.covariance).T
    draws[0] = 0.0
    offset = draws @ basis.T
    rows = np.rint((offset + _HEIGHT_MM) / _HEIGHT_STEP_MM).astype(np.intp)
    rows = np.clip(rows, 0, len(heights) - 1)
    nodes = np.arange(len(plane))
    seen = inside[rows, nodes]
    count = np.count_nonzero(seen, axis=1)
    usable = count >= max(_MIN_NODES, _MIN_NODES_SHARE * float(np.median(count)))
    if not usable.any():
        return expected, model.error_mm / MEAN_OF_NORMAL, 0.0
    mean_score = score[rows, nodes].sum(axis=1)[usable] / count[usable]
    weight = np.exp(_SHARPNESS * (mean_score - mean_score.max()))
    weight /= weight.sum()
    change = weight @ draws[usable]
    variance = weight @ (offset[usable] - basis @ change) ** 2
    spread = np.average(variance, weights=weight @ seen[usable]) + model.noise_mm**2
    return expected + change, float(np.sqrt(spread)), float(weight @ mean_score)


def _turned(clearance: Clearance, region: Region, to_reference: Array) -> tuple[Array, Region]:
    """Turn the lung by a right angle from front to top: what is found then is chance."""
    middle = clearance.to_mm @ np.append(np.argwhere(clearance.inner).mean(axis=0)[::-1], 1.0)
    centre = to_reference @ middle
    turned = QUARTER_TURN @ to_reference
    turned[:, 3] += centre - QUARTER_TURN @ centre

    def turned_region(points: Array) -> Mask:
        return region((points - centre) @ QUARTER_TURN + centre)

    return turned, turned_region


def _plane_nodes(model: FissureModel) -> Array:
    """Return places in the mean plane every 6 mm, ``(n, 2)``."""
    u, v = (
        scale * np.arange(-_NODE_RANGE, _NODE_RANGE, _NODE_MM / scale) for scale in model.scale_mm
    )
    return np.asarray(np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2))


def _points(model: FissureModel, plane: Array, heights: Array) -> Array:
    """Return reference points at heights over places in the plane, ``(H, n, 3)``."""
    local = np.empty((*heights.shape, 3))
    local[..., :2] = plane
    local[..., 2] = heights
    return np.asarray(local @ model.axes + model.centre_mm)


def _look_up(
    clearance: Clearance, region: Region, to_reference: Array, points: Array
) -> tuple[Array, Mask]:
    """Return the clearance at reference points ``(H, n, 3)``, and where they count; 0 elsewhere."""
    flat = points.reshape(-1, 3)
    to_index = np.linalg.inv(np.vstack([to_reference, [0.0, 0.0, 0.0, 1.0]]) @ clearance.to_mm)
    index = (flat @ to_index[:3, :3].T + to_index[:3, 3])[:, ::-1].T
    inner = ndimage.map_coordinates(clearance.inner.view(np.uint8), index, order=0) > 0
    inner[inner] = region(flat[inner])
    score = np.zeros(len(flat))
    score[inner] = ndimage.map_coordinates(clearance.score, index[:, inner], order=1)
    shape = points.shape[:2]
    return score.reshape(shape), inner.reshape(shape)
