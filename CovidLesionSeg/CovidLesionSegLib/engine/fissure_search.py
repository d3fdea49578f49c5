"""Pull the atlas' fissures onto those the CT shows.

A fissure is a thin bright sheet in dark lung. Along the normals of the expected surface, the
CT is sampled once; then the surface is searched on which such sheets lie, among the surfaces
that the statistical model holds possible (its mean, plus draws from its covariance). Where no
surface stands out from the others, the expectation stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .lobe_atlas import Array, FissureModel
from .volume import CtVolume

MAX_SLICE_MM = 3.1
"""With thicker slices a fissure is a blur, and what looks like one is mostly vessels."""

_NODE_MM = 3.0
_STEP_MM = 1.0
_REACH_MM = 40.0
_HALF_WIDTH_MM = 4.0
_SHEET_HU = (-20.0, 50.0)
_MIN_NODES = 60
_DRAWS = 800
_KEPT = 40
_ROUNDS = 12
_STARTS = 2
_SHRINK = 0.3
_FINE = 0.3
_BROAD_HU = -640.0
_ASIDE_MM = 8.0
_INDEPENDENT_SHARE = 0.08
_PRIOR_WEIGHT = 0.15
_MIN_EVIDENCE = 6.0
"""Pure noise reaches about 4.5, the fissures of the digital phantom 8 to 12."""

_VESSEL_HU = (-720.0, 250.0)
_VESSEL_WEIGHT = 0.5

Field = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FissureFit:
    """A fissure that was looked for in the CT.

    Attributes:
        coefficients: ``(K,)`` in mm.
        evidence: By how many standard errors the surface looks more like a sheet than what
            lies a little aside.
        found: Whether that is enough to believe it.
    """

    coefficients: Array
    evidence: float
    found: bool


def search_fissure(
    ct: CtVolume,
    lung: NDArray[np.bool_],
    model: FissureModel,
    to_reference: Array,
    expected: Array,
    seed: int = 0,
) -> FissureFit:
    """Search one fissure.

    Args:
        ct: The CT.
        lung: Boolean ``[z, y, x]``, the lung it parts.
        model: The fissure's model.
        to_reference: 3 x 4, LPS to reference LPS in mm.
        expected: Coefficients of the expected surface.
        seed: For the draws.
    """
    sheets = _SheetMap(ct, lung, model, to_reference, expected)
    if sheets.count < _MIN_NODES:
        return FissureFit(expected, 0.0, False)
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(model.covariance)
    draws = rng.standard_normal((_DRAWS, expected.size))
    scores = sheets.scores(draws @ root.T)
    typical, spread = float(scores.mean()), float(scores.std()) or 1.0

    def value(candidates: Array) -> Array:
        evidence = (sheets.scores(candidates @ root.T) - typical) / spread
        return np.asarray(evidence - _PRIOR_WEIGHT * np.sum(candidates**2, axis=1) / 2.0)

    wide = np.ones(expected.size)
    results = [_narrow(value, np.zeros(expected.size), wide, rng) for _ in range(_STARTS)]
    best = max(results, key=lambda draw: float(value(draw[None])[0]))

    def sharp(candidates: Array) -> Array:
        return sheets.contrasts(candidates @ root.T)

    best = _narrow(sharp, best, _FINE * wide, rng)
    evidence = float(sharp(best[None])[0])
    return FissureFit(expected + root @ best, evidence, evidence >= _MIN_EVIDENCE)


def _narrow(
    value: Callable[[Array], Array], mean: Array, spread: Array, rng: np.random.Generator
) -> Array:
    """Maximise by drawing, keeping the best and drawing around them (cross-entropy method).

    In units of the model's own distribution, in which each coordinate is standard normal.
    """
    for _ in range(_ROUNDS):
        candidates = mean + spread * rng.standard_normal((_DRAWS, mean.size))
        best = candidates[np.argsort(-value(candidates), kind="stable")[:_KEPT]]
        mean = best.mean(axis=0)
        spread = _SHRINK * spread + (1.0 - _SHRINK) * best.std(axis=0)
    return mean


class _SheetMap:
    """How much like a sheet the CT is, on nodes of the expected surface and heights above it.

    Attributes:
        count: Nodes that lie in the lung.
    """

    def __init__(
        self,
        ct: CtVolume,
        lung: NDArray[np.bool_],
        model: FissureModel,
        to_reference: Array,
        expected: Array,
    ) -> None:
        u, v = (np.arange(-1.25, 1.25, _NODE_MM / scale) for scale in model.scale_mm)
        along_u, along_v = np.meshgrid(u * model.scale_mm[0], v * model.scale_mm[1], indexing="ij")
        surface = model.height(along_u, along_v, expected)
        self._heights = np.arange(-_REACH_MM, _REACH_MM + _STEP_MM / 2, _STEP_MM)
        local = np.empty((*along_u.shape, self._heights.size, 3))
        local[..., 0], local[..., 1] = along_u[..., None], along_v[..., None]
        local[..., 2] = surface[..., None] + self._heights
        points = local @ model.axes + model.centre_mm
        index = _to_index(points, to_reference, ct)
        hu = ndimage.map_coordinates(ct.hu, index, np.float32, order=1, mode="nearest")
        inside = ndimage.map_coordinates(lung.view(np.uint8), index, order=0, mode="constant") > 0
        value, sheet = _sheetness(hu, inside)
        used = inside[..., self._heights.size // 2] | (inside.mean(axis=-1) > 0.3)
        self.count = int(np.count_nonzero(used))
        self._value, self._sheet = value[used], sheet[used]
        points_mm = (
            model.axes.T @ np.stack([along_u[used], along_v[used], np.zeros(self.count)])
            + model.centre_mm[:, None]
        )
        self._basis, _ = model.basis(points_mm.T)
        self._rows = np.arange(self.count)

    def _at(self, field: Field, changes: Array, aside_mm: float = 0.0) -> Field:
        """Return a field on the surface moved by each row of coefficients, ``(rows, nodes)``."""
        height = (changes @ self._basis.T + _REACH_MM + aside_mm) / _STEP_MM
        column = np.rint(height).astype(np.intp)
        valid = (column >= 0) & (column < self._heights.size)
        values = field[self._rows, np.where(valid, column, 0)]
        return np.where(valid, values, np.float32(0.0))

    def scores(self, changes: Array) -> Array:
        """Return the mean value, of sheets and of the absence of vessels."""
        return np.asarray(self._at(self._value, changes).mean(axis=1), dtype=np.float64)

    def contrasts(self, changes: Array) -> Array:
        """Return by how many standard errors there is more sheet than a little aside."""
        here = self._at(self._sheet, changes)
        aside = self._at(self._sheet, changes, _ASIDE_MM) + self._at(
            self._sheet, changes, -_ASIDE_MM
        )
        more = here - aside / 2.0
        error = more.std(axis=1) / np.sqrt(_INDEPENDENT_SHARE * self.count)
        return np.asarray(more.mean(axis=1) / np.maximum(error, 1e-6), dtype=np.float64)


def _to_index(points: Array, to_reference: Array, ct: CtVolume) -> NDArray[np.float64]:
    """Return the fractional voxel index ``(z, y, x)`` of reference points ``(..., 3)``."""
    affine = np.vstack([to_reference, [0.0, 0.0, 0.0, 1.0]]) @ ct.affine_lps
    back = np.linalg.inv(affine)
    xyz = points @ back[:3, :3].T + back[:3, 3]
    return np.moveaxis(xyz[..., ::-1], -1, 0)


def _sheetness(hu: Field, inside: NDArray[np.bool_]) -> tuple[Field, Field]:
    """Return how much brighter each sample is than a little above and below it.

    Limited, so that a vessel does not outweigh a faint fissure, and smoothed over
    neighbouring nodes, where a sheet goes on and a vessel does not. Larger vessels keep away
    from fissures, so what holds more of them than its surroundings loses.
    """
    smooth = ndimage.gaussian_filter1d(hu, 0.8 / _STEP_MM, axis=-1)
    offset = round(_HALF_WIDTH_MM / _STEP_MM)
    below, above = np.roll(smooth, offset, axis=-1), np.roll(smooth, -offset, axis=-1)
    ridge = np.minimum(smooth - below, smooth - above)
    core = ndimage.binary_erosion(inside, np.ones((1, 1, 2 * offset + 1), dtype=bool))
    # In consolidated lung no fissure can be seen, only borders that look like one.
    broad = ndimage.gaussian_filter(np.clip(hu, -1000, 0), (2.0, 2.0, 6.0 / _STEP_MM))
    core &= broad < _BROAD_HU
    sheet = np.clip(ridge, *_SHEET_HU).astype(np.float32)
    # Zero is what the lung has on average, so that leaving it is neither gain nor loss.
    sheet = np.where(core, sheet - (sheet[core].mean() if core.any() else 0.0), np.float32(0.0))
    vessels = np.where(core, np.clip(hu - _VESSEL_HU[0], 0.0, _VESSEL_HU[1]), 0.0)
    near = ndimage.gaussian_filter(vessels.astype(np.float32), (1.0, 1.0, 3.0 / _STEP_MM))
    around = ndimage.gaussian_filter1d(near, 12.0 / _STEP_MM, axis=-1)
    smoothed: Field = ndimage.gaussian_filter(sheet, (1.0, 1.0, 0.7))
    free = np.where(core, near - around, 0.0).astype(np.float32)
    return smoothed - np.float32(_VESSEL_WEIGHT) * free, smoothed
