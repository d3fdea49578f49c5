"""Where the distance between atlas and drawn fissures comes from.

All figures are heights over the atlas' planes, in the reference person's millimetres: against
what the atlas expects for lungs of this size, against the best surface the atlas can make, and
with the mean error of the other persons taken off (is the atlas biased for this kind of scan?).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from CovidLesionSegLib.engine.lobe_atlas import Array, LobeAtlas

_POINTS_PER_OBSERVATION = 20.0
"""Drawn voxels lie close together and err alike."""

Rests = Mapping[str, Mapping[str, Array]]
"""By person and fissure, heights of drawn points over the expected surface."""


def rests_of(
    fissures: Mapping[str, Array], to_reference: Array, atlas: LobeAtlas
) -> dict[str, Array]:
    """Return each fissure's heights over the expected surface, ``(n,)``.

    Args:
        fissures: Drawn points by fissure, reference LPS in mm.
        to_reference: 3 x 4, LPS to reference LPS in mm.
        atlas: The lobe atlas.
    """
    features = atlas.features(to_reference)
    rests = {}
    for name, points in fissures.items():
        model = atlas.fissures[name]
        basis, height = model.basis(points)
        rests[name] = height - basis @ model.mean(features)
    return rests


def best_fit_mm(name: str, points: Array, rest: Array, atlas: LobeAtlas) -> float:
    """Return the mean distance that the most probable surface through the points leaves."""
    model = atlas.fissures[name]
    basis, _ = model.basis(points)
    held = np.linalg.inv(model.covariance) * model.noise_mm**2 * _POINTS_PER_OBSERVATION
    change = np.linalg.solve(basis.T @ basis + held, basis.T @ rest)
    return float(np.abs(rest - basis @ change).mean())


def without_bias_mm(rests: Rests, person: str, name: str) -> float:
    """Return a person's mean error with the mean error of all others taken off."""
    bias = np.mean([own[name].mean() for other, own in rests.items() if other != person])
    return float(np.abs(rests[person][name] - bias).mean())
