"""A fissure that the CT shows is found, and one that it does not show is not made up."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.fissure_search import search_fissure
from CovidLesionSegLib.engine.lobe_atlas import LEFT_OBLIQUE, LobeAtlas, bundled_atlas
from CovidLesionSegLib.engine.result import Lung
from CovidLesionSegLib.engine.volume import CtVolume

TO_REFERENCE = np.eye(4)[:3]


@pytest.fixture(scope="module")
def atlas() -> LobeAtlas:
    return bundled_atlas()


def _left_lung(
    atlas: LobeAtlas, coefficients: NDArray[np.float64] | None, noise_hu: float = 30.0
) -> tuple[CtVolume, NDArray[np.bool_]]:
    """The reference's left lung on a 2 mm grid, with a sheet of 1.5 mm drawn into it."""
    step = 2.0
    inside = atlas.distance_mm[Lung.LEFT]
    factor = round(float(atlas.spacing_mm[0]) / step) or 1
    lung = np.repeat(np.repeat(np.repeat(inside <= 0, factor, 0), factor, 1), factor, 2)
    spacing = atlas.spacing_mm / factor
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = atlas.origin_mm
    rng = np.random.default_rng(1)
    hu = np.where(lung, -860.0, 40.0) + rng.normal(0, noise_hu, lung.shape)
    if coefficients is not None:
        model = atlas.fissures[LEFT_OBLIQUE]
        index = np.argwhere(lung)
        points = index[:, ::-1] * spacing + atlas.origin_mm
        basis, height = model.basis(points)
        near = np.exp(-(((height - basis @ coefficients) / 1.2) ** 2))
        hu[tuple(index.T)] += 150.0 * near
    return CtVolume.from_array(np.rint(hu).astype(np.int16), affine), lung


def test_a_visible_fissure_is_found(atlas: LobeAtlas) -> None:
    model = atlas.fissures[LEFT_OBLIQUE]
    expected = model.mean(np.zeros(3))
    rng = np.random.default_rng(3)
    change = np.linalg.cholesky(model.covariance) @ rng.standard_normal(expected.size)
    truth = expected + change
    ct, lung = _left_lung(atlas, truth)
    fit = search_fissure(ct, lung, model, TO_REFERENCE, expected)
    assert fit.found
    points = np.argwhere(lung)[::50, ::-1] * np.diag(ct.affine_lps)[:3] + atlas.origin_mm
    basis, height = model.basis(points)
    near = np.abs(height - basis @ truth) < 5.0
    before = np.abs(basis[near] @ (expected - truth)).mean()
    after = np.abs(basis[near] @ (fit.coefficients - truth)).mean()
    assert before > 5.0
    assert after < 2.0


def test_noise_is_no_fissure(atlas: LobeAtlas) -> None:
    model = atlas.fissures[LEFT_OBLIQUE]
    expected = model.mean(np.zeros(3))
    ct, lung = _left_lung(atlas, None)
    fit = search_fissure(ct, lung, model, TO_REFERENCE, expected)
    assert not fit.found


def test_the_same_seed_gives_the_same_surface(atlas: LobeAtlas) -> None:
    model = atlas.fissures[LEFT_OBLIQUE]
    expected = model.mean(np.zeros(3))
    ct, lung = _left_lung(atlas, expected)
    one, two = (search_fissure(ct, lung, model, TO_REFERENCE, expected) for _ in range(2))
    np.testing.assert_array_equal(one.coefficients, two.coefficients)


def test_an_empty_lung_keeps_the_expectation(atlas: LobeAtlas) -> None:
    model = atlas.fissures[LEFT_OBLIQUE]
    expected = model.mean(np.zeros(3))
    ct, lung = _left_lung(atlas, None)
    fit = search_fissure(ct, np.zeros_like(lung), model, TO_REFERENCE, expected)
    assert not fit.found
    np.testing.assert_array_equal(fit.coefficients, expected)
