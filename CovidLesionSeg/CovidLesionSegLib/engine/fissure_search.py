"""Pull the atlas' fissures onto the sheets the CT shows.

The surface is searched that most sheet lies on, among those the statistical model holds
possible: robust regression of the model's coefficients on the sheets' voxels, with the
model's covariance as prior, from many starts and with a narrowing tolerance. It is believed
where it covers much more sheet than surfaces a little aside, and than the best surface in the
same lung turned by a right angle, which is what noise and vessels give; else the expectation
stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .fissure_sheets import Sheets
from .lobe_atlas import Array, FissureModel
from .masks import Mask

MAX_SLICE_MM = 3.1
"""With thicker slices a fissure is a blur, and what looks like one is mostly vessels."""

Region = Callable[[Array], Mask]
"""Which reference points ``(n, 3)`` lie in the part of the lung that the fissure can cross."""

_DRAWS = 600
_STARTS = 5
_SCORED_POINTS = 3000
_REACH_MM = 45.0
_WIDEST_MM = 5.0
_NARROWING_MM = (8.0, 6.0, 5.0, 4.0, 4.0, 4.0)
_FINE_MM = (3.0, 2.0, 2.0, 2.0)
_VOXELS_PER_OBSERVATION = 5.0
"""Neighbours on a sheet err alike; so many count as one point that a person would set."""

_STEEP = np.cos(np.radians(40.0))
_PARALLEL = np.cos(np.radians(25.0))
_MIN_PIECE = 40
_FULL_PIECE = 100
_MIN_FINE_PIECE = 8
_FINE_REACH_MM = 8.0
_FINE_ROUNDS = 2
_MIN_VOXELS = 60

_NODE_MM = 4.0
_NODE_RANGE = 1.25
_MIN_NODES = 30
_COVERED_MM = 3.0
_ASIDE_MM = (-12.0, -8.0, 8.0, 12.0)
_MIN_COVERAGE = 0.12
"""Of lungs mirrored front to back, whose fissures tilt the other way, texture covers up to 0.09;
the fissures found in CTs with slices of 1 to 1.5 mm 0.12 to 0.38."""

_TIMES_CHANCE = 2.0
QUARTER_TURN = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
MEAN_OF_NORMAL = float(np.sqrt(2.0 / np.pi))


@dataclass(frozen=True, eq=False)
class FissureFit:
    """A fissure that was looked for in the CT.

    Attributes:
        coefficients: ``(K,)`` in mm, the best there are, believed or not.
        coverage: Share of the surface on which a sheet is seen, less that of surfaces 8 and
            12 mm aside.
        found: Whether that is enough to believe it.
        error_mm: Mean distance to the fissure that is to be expected, reference mm.
    """

    coefficients: Array
    coverage: float
    found: bool
    error_mm: float


@dataclass(frozen=True, eq=False)
class _Placed:
    """Sheets of one lung in the reference space.

    Attributes:
        sheets: The sheets.
        points: ``(n, 3)`` reference LPS in mm.
        normals: ``(n, 3)`` unit vectors across.
        region: Where the fissure can be.
    """

    sheets: Sheets
    points: Array
    normals: Array
    region: Region


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Sheet voxels as the model sees them.

    Attributes:
        basis: ``(n, K)``.
        height: ``(n,)`` in mm.
        weight: ``(n,)``, 1 for a large piece.
    """

    basis: Array
    height: Array
    weight: Array


def search_fissure(
    sheets: Sheets,
    region: Region,
    model: FissureModel,
    to_reference: Array,
    expected: Array,
    seed: int = 0,
) -> FissureFit:
    """Search one fissure.

    Args:
        sheets: The sheets of the lung it parts.
        region: Where the fissure can be.
        model: The fissure's model.
        to_reference: 3 x 4, LPS to reference LPS in mm.
        expected: Coefficients of the expected surface.
        seed: For the draws.
    """
    nothing = FissureFit(expected, 0.0, False, model.error_mm)
    if len(sheets.points_mm) < _MIN_VOXELS:
        return nothing
    points = sheets.points_mm @ to_reference[:, :3].T + to_reference[:, 3]
    normals = sheets.normals @ np.linalg.inv(to_reference[:, :3])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    here = _Placed(sheets, points, normals, region)
    best, covariance, coverage = _best_surface(here, model, expected, seed)
    _, _, by_chance = _best_surface(_turned(here), model, expected, seed)
    found = coverage >= _MIN_COVERAGE and coverage >= _TIMES_CHANCE * by_chance
    if not found:
        return FissureFit(best, coverage, False, model.error_mm)
    nodes = _nodes(model, best)
    basis, _ = model.basis(nodes[region(nodes)])
    spread = np.sum((basis @ covariance) * basis, axis=1) + model.noise_mm**2
    error_mm = float(MEAN_OF_NORMAL * np.sqrt(spread).mean())
    return FissureFit(best, coverage, True, error_mm)


def _turned(here: _Placed) -> _Placed:
    """Turn the lung by a right angle from front to top: what is found then is chance.

    Noise and vessels look much the same, but no fissure lies like the one that is searched.
    """
    centre = here.points.mean(axis=0)

    def region(points: Array) -> Mask:
        return here.region((points - centre) @ QUARTER_TURN + centre)

    points = (here.points - centre) @ QUARTER_TURN.T + centre
    return _Placed(here.sheets, points, here.normals @ QUARTER_TURN.T, region)


def _best_surface(
    here: _Placed, model: FissureModel, expected: Array, seed: int
) -> tuple[Array, Array, float]:
    """Return the coefficients of the best surface, their covariance and its coverage."""
    basis, height = model.basis(here.points)
    inside = here.region(here.points) & (np.abs(height - basis @ expected) < _REACH_MM)
    like = inside & (np.abs(here.normals @ model.axes[2]) > _STEEP)
    sizes = here.sheets.piece_sizes(like)
    large = sizes >= _MIN_PIECE
    if np.count_nonzero(large) < _MIN_VOXELS:
        return expected, model.covariance, 0.0
    weight = np.minimum(sizes / _FULL_PIECE, 1.0)
    best = _search(_Evidence(basis[large], height[large], weight[large]), model, expected, seed)
    covariance, fine = model.covariance, large
    for _ in range(_FINE_ROUNDS):
        along = inside & (np.abs(height - basis @ best) < _FINE_REACH_MM)
        across = np.abs(np.sum(here.normals * _normals(model, here.points, best), axis=1))
        fine = here.sheets.piece_sizes(along & (across > _PARALLEL)) >= _MIN_FINE_PIECE
        evidence = _Evidence(basis[fine], height[fine], np.ones(np.count_nonzero(fine)))
        best, covariance = _regress(evidence, model, expected, best, _FINE_MM)
    return best, covariance, _coverage(model, best, here.points[large | fine], here.region)


def _search(evidence: _Evidence, model: FissureModel, expected: Array, seed: int) -> Array:
    """Return the most probable surface, from the best of many draws of the model."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(model.covariance)
    draws = rng.standard_normal((_DRAWS, expected.size))
    draws[0] = 0.0
    starts = expected + draws @ root.T
    some = rng.permutation(len(evidence.height))[:_SCORED_POINTS]
    off = evidence.height[some] - starts @ evidence.basis[some].T
    scores = np.exp(-0.5 * (off / _WIDEST_MM) ** 2) @ evidence.weight[some]
    best = np.argsort(-scores, kind="stable")[:_STARTS]
    fits = [_regress(evidence, model, expected, starts[k], _NARROWING_MM)[0] for k in best]
    inverse = np.linalg.inv(model.covariance)

    def value(coefficients: Array) -> float:
        rest = evidence.height - evidence.basis @ coefficients
        near = np.exp(-0.5 * (rest / _NARROWING_MM[-1]) ** 2) @ evidence.weight
        change = coefficients - expected
        return float(near / _VOXELS_PER_OBSERVATION - 0.5 * change @ inverse @ change)

    return max(fits, key=value)


def _regress(
    evidence: _Evidence,
    model: FissureModel,
    expected: Array,
    start: Array,
    tolerances_mm: tuple[float, ...],
) -> tuple[Array, Array]:
    """Regress robustly (Welsch's weights, tolerance narrowing); return mean and covariance."""
    prior = np.linalg.inv(model.covariance)
    current, precision = start, prior
    over = evidence.height - evidence.basis @ expected
    for tolerance in tolerances_mm:
        rest = evidence.height - evidence.basis @ current
        weight = evidence.weight * np.exp(-0.5 * (rest / tolerance) ** 2)
        weight /= tolerance**2 * _VOXELS_PER_OBSERVATION
        weighted = evidence.basis * weight[:, None]
        precision = prior + evidence.basis.T @ weighted
        current = expected + np.linalg.solve(precision, weighted.T @ over)
    return current, np.linalg.inv(precision)


def _normals(model: FissureModel, points: Array, coefficients: Array) -> Array:
    """Return the surface's unit normals under reference points, ``(n, 3)``."""
    local = (points - model.centre_mm) @ model.axes.T
    u, v = local[:, 0], local[:, 1]
    height = model.height(u, v, coefficients)
    across = np.ones((len(u), 3))
    across[:, 0] = height - model.height(u + 1.0, v, coefficients)
    across[:, 1] = height - model.height(u, v + 1.0, coefficients)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return np.asarray(across @ model.axes)


def _nodes(model: FissureModel, coefficients: Array) -> Array:
    """Return points on the surface every 4 mm, ``(n, 3)`` reference LPS."""
    u, v = (
        scale * np.arange(-_NODE_RANGE, _NODE_RANGE, _NODE_MM / scale) for scale in model.scale_mm
    )
    plane: NDArray[np.float64] = np.stack(np.meshgrid(u, v, indexing="ij"), -1).reshape(-1, 2)
    local = np.column_stack([plane, model.height(plane[:, 0], plane[:, 1], coefficients)])
    return np.asarray(local @ model.axes + model.centre_mm)


def _coverage(model: FissureModel, coefficients: Array, sheet: Array, region: Region) -> float:
    """Return on which share of the surface a sheet is seen, more than aside of it."""
    surface = _nodes(model, coefficients)
    tree = cKDTree(sheet)

    def share(aside_mm: float) -> float:
        nodes = surface + aside_mm * model.axes[2]
        nodes = nodes[region(nodes)]
        if len(nodes) < _MIN_NODES:
            return 0.0
        return float(np.mean(tree.query(nodes, distance_upper_bound=_COVERED_MM)[0] < _COVERED_MM))

    return share(0.0) - float(np.mean([share(off) for off in _ASIDE_MM]))
