"""Lobes from drawn fissures, on surfaces of the atlas itself."""

from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.lobe_atlas import (
    FISSURES,
    LEFT_OBLIQUE,
    RIGHT_HORIZONTAL,
    RIGHT_OBLIQUE,
    Array,
    bundled_atlas,
)
from CovidLesionSegLib.engine.result import Lobe, Lung
from CovidLesionSegLib.engine.volume import CtVolume
from training.anatomy.lobe_errors import best_fit_mm, rests_of, without_bias_mm
from training.anatomy.manual_lobes import by_fissure, lobes_of, without_junction


def _drawn(name: str) -> Array:
    """Points of the atlas' mean surface, ``(n, 3)`` reference LPS."""
    model = bundled_atlas().fissures[name]
    side = np.linspace(-0.5, 0.5, 25)
    u, v = np.meshgrid(*(side * scale for scale in model.scale_mm), indexing="ij")
    height = model.height(u, v, model.weights[0])
    local = np.stack([u, v, height], axis=-1).reshape(-1, 3)
    return np.asarray(local @ model.axes + model.centre_mm)


def test_points_go_back_to_their_fissure() -> None:
    drawn = {name: _drawn(name) for name in FISSURES}
    points = np.concatenate([drawn[name] for name in FISSURES])
    left = np.repeat([name == LEFT_OBLIQUE for name in FISSURES], len(drawn[LEFT_OBLIQUE]))
    found = by_fissure(points, left, bundled_atlas())
    assert len(found[LEFT_OBLIQUE]) == len(drawn[LEFT_OBLIQUE])
    kept = {tuple(point) for point in np.round(found[RIGHT_OBLIQUE], 6)}
    own = {tuple(point) for point in np.round(drawn[RIGHT_OBLIQUE], 6)}
    assert len(kept & own) > 0.9 * len(own)


def test_voxels_lie_on_their_side_and_far_ones_are_undecided() -> None:
    atlas = bundled_atlas()
    drawn = {name: _drawn(name) for name in FISSURES}
    normal = atlas.fissures[LEFT_OBLIQUE].axes[2]
    middle = drawn[LEFT_OBLIQUE][len(drawn[LEFT_OBLIQUE]) // 2]
    aside = 200.0 * atlas.fissures[LEFT_OBLIQUE].axes[0]
    voxels = np.stack([middle + 10 * normal, middle - 10 * normal, middle + aside])
    labels = lobes_of(voxels, Lung.LEFT, drawn, atlas)
    assert labels.tolist() == [Lobe.LUL, Lobe.LLL, 0]
    below = drawn[RIGHT_OBLIQUE][len(drawn[RIGHT_OBLIQUE]) // 2]
    below = below - 10 * atlas.fissures[RIGHT_OBLIQUE].axes[2]
    assert lobes_of(below[None], Lung.RIGHT, drawn, atlas).tolist() == [Lobe.RLL]
    assert len(drawn[RIGHT_HORIZONTAL]) == 625


def test_points_between_the_lungs_are_no_fissure() -> None:
    lungs = np.zeros((5, 20, 40), dtype=np.uint8)
    lungs[:, :, :20], lungs[:, :, 20:] = Lung.RIGHT, Lung.LEFT
    ct = CtVolume.from_array(np.zeros(lungs.shape, np.int16), np.eye(4))
    points = np.array([[20.0, 5.0, 2.0], [5.0, 5.0, 2.0], [35.0, 8.0, 1.0]])
    np.testing.assert_array_equal(without_junction(points, lungs, ct), points[1:])


def test_the_causes_of_an_error_are_told_apart() -> None:
    """A fissure that is the expected one, 7 mm higher, is a shift and nothing else."""
    atlas = bundled_atlas()
    model = atlas.fissures[LEFT_OBLIQUE]
    along = np.stack(np.meshgrid(np.linspace(-60, 60, 25), np.linspace(-50, 50, 25)), -1)
    u, v = along.reshape(-1, 2).T
    height = model.height(u, v, model.mean(np.zeros(3))) + 7.0
    points = np.column_stack([u, v, height]) @ model.axes + model.centre_mm
    # The affine whose shape features are the atlas' mean.
    to_reference = np.diag([*np.exp(-atlas.feature_mean), 1.0])[:3]
    rests = rests_of({LEFT_OBLIQUE: points}, to_reference, atlas)
    np.testing.assert_allclose(rests[LEFT_OBLIQUE], 7.0, atol=1e-6)
    assert best_fit_mm(LEFT_OBLIQUE, points, rests[LEFT_OBLIQUE], atlas) < 1.0
    persons = {"a": rests, "b": rests, "c": {LEFT_OBLIQUE: np.full(5, 1.0)}}
    assert without_bias_mm(persons, "a", LEFT_OBLIQUE) == pytest.approx(7.0 - (7.0 + 1.0) / 2)
