"""A fissure is found in the band without vessels, and not where vessels run everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.fissure_search import Region
from CovidLesionSegLib.engine.fissure_vessels import (
    VesselFit,
    fit_between_vessels,
    measure_clearance,
)
from CovidLesionSegLib.engine.lobe_atlas import LEFT_OBLIQUE, LobeAtlas, bundled_atlas
from CovidLesionSegLib.engine.lobes_atlas import inside_of
from CovidLesionSegLib.engine.result import Lung
from CovidLesionSegLib.engine.volume import CtVolume

TO_REFERENCE = np.eye(4)[:3]
VESSELS = 700
CLEAR_MM = 9.0
Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def atlas() -> LobeAtlas:
    return bundled_atlas()


def _left_lung(atlas: LobeAtlas, truth: Array | None) -> tuple[CtVolume, NDArray[np.bool_]]:
    """The reference's left lung with vessels, none within 9 mm of the true fissure."""
    lung = atlas.distance_mm[Lung.LEFT] <= 0
    for axis in range(3):
        lung = np.repeat(lung, 2, axis)
    spacing = atlas.spacing_mm / 2
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = atlas.origin_mm
    rng = np.random.default_rng(1)
    hu = np.where(lung, -860, 40) + np.rint(rng.normal(0, 20.0, lung.shape)).astype(int)
    model = atlas.fissures[LEFT_OBLIQUE]
    for start in rng.permutation(np.argwhere(lung))[:VESSELS]:
        direction = rng.standard_normal(3)
        line = start + np.outer(np.arange(12.0), direction / np.linalg.norm(direction))
        line = np.clip(np.rint(line), 0, np.array(lung.shape) - 1).astype(int)
        if truth is not None:
            basis, height = model.basis(line[:, ::-1] * spacing + atlas.origin_mm)
            line = line[np.abs(height - basis @ truth) > CLEAR_MM]
        hu[tuple(line.T)] = -100
    return CtVolume.from_array(hu.astype(np.int16), affine), lung


def _truth(atlas: LobeAtlas) -> Array:
    model = atlas.fissures[LEFT_OBLIQUE]
    rng = np.random.default_rng(3)
    draw = np.linalg.cholesky(model.covariance) @ rng.standard_normal(len(model.covariance))
    return np.asarray(model.mean(np.zeros(3)) + draw)


def _fit(atlas: LobeAtlas, truth: Array | None, region: Region | None = None) -> VesselFit:
    ct, lung = _left_lung(atlas, truth)
    clearance = measure_clearance(ct, lung)
    assert clearance is not None
    model = atlas.fissures[LEFT_OBLIQUE]
    region = region or inside_of(ct, lung, TO_REFERENCE)
    return fit_between_vessels(clearance, region, model, TO_REFERENCE, model.mean(np.zeros(3)))


def _off_mm(atlas: LobeAtlas, coefficients: Array, truth: Array) -> float:
    lung = np.argwhere(atlas.distance_mm[Lung.LEFT] <= 0)[::3, ::-1]
    points = lung * atlas.spacing_mm + atlas.origin_mm
    basis, height = atlas.fissures[LEFT_OBLIQUE].basis(points)
    near = np.abs(height - basis @ truth) < 8.0
    return float(np.abs(basis[near] @ (coefficients - truth)).mean())


def test_the_band_without_vessels_is_found(atlas: LobeAtlas) -> None:
    truth, expected = _truth(atlas), atlas.fissures[LEFT_OBLIQUE].mean(np.zeros(3))
    fit = _fit(atlas, truth)
    assert fit.found
    assert _off_mm(atlas, expected, truth) > 5.0
    assert _off_mm(atlas, fit.coefficients, truth) < 0.6 * _off_mm(atlas, expected, truth)
    assert fit.error_mm < atlas.fissures[LEFT_OBLIQUE].error_mm


def test_vessels_everywhere_are_no_fissure(atlas: LobeAtlas) -> None:
    assert not _fit(atlas, None).found


def test_a_region_without_lung_leaves_the_expectation(atlas: LobeAtlas) -> None:
    fit = _fit(atlas, None, lambda points: np.zeros(len(points), dtype=bool))
    assert not fit.found
    expected = atlas.fissures[LEFT_OBLIQUE].mean(np.zeros(3))
    np.testing.assert_array_equal(fit.coefficients, expected)


def test_without_vessels_nothing_is_measured(atlas: LobeAtlas) -> None:
    _, lung = _left_lung(atlas, None)
    hu = np.where(lung, -860, 40).astype(np.int16)
    ct = CtVolume.from_array(hu, np.eye(4))
    assert measure_clearance(ct, lung) is None
    assert measure_clearance(ct, np.zeros_like(lung)) is None


def test_the_same_seed_gives_the_same_surface(atlas: LobeAtlas) -> None:
    one, two = (_fit(atlas, _truth(atlas)) for _ in range(2))
    np.testing.assert_array_equal(one.coefficients, two.coefficients)
