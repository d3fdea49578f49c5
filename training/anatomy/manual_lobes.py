"""Lobes from drawn fissures: which fissure a point belongs to, and on which side a voxel lies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from CovidLesionSegLib.engine.lobe_atlas import (
    LEFT_OBLIQUE,
    RIGHT_HORIZONTAL,
    RIGHT_OBLIQUE,
    Array,
    LobeAtlas,
)
from CovidLesionSegLib.engine.masks import distance_mm
from CovidLesionSegLib.engine.result import Lobe, Lung
from CovidLesionSegLib.engine.volume import CtVolume

_JUNCTION_MM = 5.0
_ROUNDS = 15
_SURFACE_POINTS = 1500
_NEIGHBOURS = 40
_SMOOTHING = 5.0
_DRAWN_MM = 12.0


def without_junction(points: Array, lungs: NDArray[np.uint8], ct: CtVolume) -> Array:
    """Drop points between the two lungs, where the drawn sheet is the pleura of both.

    Args:
        points: ``(n, 3)`` LPS in mm.
        lungs: uint8 ``[z, y, x]``, labels of `Lung`.
        ct: The CT.
    """
    z, y, x = _voxels(points, ct)
    near_both = np.ones(len(points), dtype=bool)
    for lung in Lung:
        near_both &= distance_mm(lungs == lung, ct.spacing_mm_zyx)[z, y, x] < _JUNCTION_MM
    return points[~near_both]


def _voxels(points: Array, ct: CtVolume) -> tuple[NDArray[np.intp], ...]:
    back = np.linalg.inv(ct.affine_lps)
    index = np.rint(points @ back[:3, :3].T + back[:3, 3]).astype(np.intp)
    limits = np.array(ct.shape_zyx[::-1]) - 1
    return tuple(np.clip(index, 0, limits).T[::-1])


def by_fissure(points: Array, left: NDArray[np.bool_], atlas: LobeAtlas) -> dict[str, Array]:
    """Tell the three fissures of a person apart.

    The right lung's two are fitted in turn: each point goes to the nearer surface, and each
    surface is fitted anew to its points within the atlas' range of variation.

    Args:
        points: ``(n, 3)`` reference LPS in mm.
        left: Boolean ``(n,)``, points of the left lung.
        atlas: The lobe atlas.
    """
    right = points[~left]
    names = (RIGHT_OBLIQUE, RIGHT_HORIZONTAL)
    models = [atlas.fissures[name] for name in names]
    spaces = [model.basis(right) for model in models]
    means = [model.weights[0] for model in models]
    off = [np.abs(h - b @ mean) for (b, h), mean in zip(spaces, means, strict=True)]
    for _ in range(_ROUNDS):
        oblique = off[0] < off[1]
        for i, own in enumerate((oblique, ~oblique)):
            basis, height = spaces[i]
            held = np.linalg.inv(models[i].covariance) * (2.0 * models[i].noise_mm) ** 2
            rest = height[own] - basis[own] @ means[i]
            change = np.linalg.solve(basis[own].T @ basis[own] + held, basis[own].T @ rest)
            off[i] = np.abs(height - basis @ (means[i] + change))
    oblique = off[0] < off[1]
    return {
        RIGHT_OBLIQUE: right[oblique],
        RIGHT_HORIZONTAL: right[~oblique],
        LEFT_OBLIQUE: points[left],
    }


def lobes_of(
    voxels: Array, lung: Lung, fissures: Mapping[str, Array], atlas: LobeAtlas
) -> NDArray[np.uint8]:
    """Give voxels of one lung their lobe by thin-plate surfaces through the drawn points.

    Args:
        voxels: ``(n, 3)`` reference LPS in mm.
        lung: Their lung.
        fissures: Drawn points by fissure, reference LPS in mm.
        atlas: The lobe atlas, for the planes over which the surfaces are heights.

    Returns:
        uint8 ``(n,)``, labels of `Lobe`; 0 where no fissure that decides was drawn near.
    """
    if lung is Lung.LEFT:
        above, drawn = _above(voxels, LEFT_OBLIQUE, fissures, atlas)
        labels = np.where(above, Lobe.LUL, Lobe.LLL)
        return np.where(drawn, labels, 0).astype(np.uint8)
    oblique, drawn = _above(voxels, RIGHT_OBLIQUE, fissures, atlas)
    horizontal, drawn_front = _above(voxels, RIGHT_HORIZONTAL, fissures, atlas)
    front = np.where(horizontal, Lobe.RUL, Lobe.RML)
    known = drawn & (drawn_front | ~oblique)
    return np.where(known, np.where(oblique, front, Lobe.RLL), 0).astype(np.uint8)


def _above(
    voxels: Array, name: str, fissures: Mapping[str, Array], atlas: LobeAtlas
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which voxels lie above a fissure, and over which it was drawn."""
    model = atlas.fissures[name]
    points = (fissures[name] - model.centre_mm) @ model.axes.T
    points = points[:: max(1, len(points) // _SURFACE_POINTS)]
    # Doubled places make the thin plate's equations singular.
    _, first = np.unique(np.rint(points[:, :2]), axis=0, return_index=True)
    points = points[first]
    own = (voxels - model.centre_mm) @ model.axes.T
    surface = RBFInterpolator(
        points[:, :2], points[:, 2], neighbors=_NEIGHBOURS, smoothing=_SMOOTHING
    )
    drawn = cKDTree(points[:, :2]).query(own[:, :2])[0] < _DRAWN_MM
    return own[:, 2] > surface(own[:, :2]), drawn
