"""A fissure that the CT shows is found, and one that it does not show is not made up."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.fissure_search import FissureFit, search_fissure
from CovidLesionSegLib.engine.fissure_sheets import find_sheets
from CovidLesionSegLib.engine.lobe_atlas import LEFT_OBLIQUE, LobeAtlas, bundled_atlas
from CovidLesionSegLib.engine.result import Lung
from CovidLesionSegLib.engine.volume import CtVolume

TO_REFERENCE = np.eye(4)[:3]
STEP_MM = 1.6
VESSELS = 150


@pytest.fixture(scope="module")
def atlas() -> LobeAtlas:
    return bundled_atlas()


def _left_lung(
    atlas: LobeAtlas, coefficients: NDArray[np.float64] | None, seen: float = 1.0
) -> tuple[CtVolume, NDArray[np.bool_]]:
    """The reference's left lung with a thin sheet in a share of it, noise and vessels."""
    factor = round(float(atlas.spacing_mm[0]) / STEP_MM)
    lung = atlas.distance_mm[Lung.LEFT] <= 0
    for axis in range(3):
        lung = np.repeat(lung, factor, axis)
    spacing = atlas.spacing_mm / factor
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = atlas.origin_mm
    rng = np.random.default_rng(1)
    hu = np.where(lung, -860.0, 40.0) + rng.normal(0, 25.0, lung.shape)
    index = np.argwhere(lung)
    for start in rng.permutation(index)[:VESSELS]:
        direction = rng.standard_normal(3)
        line = start + np.outer(np.arange(40.0), direction / np.linalg.norm(direction))
        line = np.clip(np.rint(line), 0, np.array(lung.shape) - 2).astype(int)
        for shift in np.ndindex(2, 2, 2):
            hu[tuple((line + shift).T)] = -300.0
    if coefficients is not None:
        model = atlas.fissures[LEFT_OBLIQUE]
        points = index[:, ::-1] * spacing + atlas.origin_mm
        basis, height = model.basis(points)
        near = np.exp(-(((height - basis @ coefficients) / 1.2) ** 2))
        near[points[:, 0] > np.quantile(points[:, 0], seen)] = 0.0
        hu[tuple(index.T)] += 150.0 * near
    return CtVolume.from_array(np.rint(hu).astype(np.int16), affine), lung


def _search(atlas: LobeAtlas, ct: CtVolume, lung: NDArray[np.bool_]) -> FissureFit:
    model = atlas.fissures[LEFT_OBLIQUE]

    def region(points: NDArray[np.float64]) -> NDArray[np.bool_]:
        index = np.rint((points - atlas.origin_mm) / np.diag(ct.affine_lps)[:3]).astype(int)
        limits = np.array(lung.shape[::-1]) - 1
        inside = lung[tuple(np.clip(index, 0, limits).T[::-1])]
        return np.asarray(inside & (index >= 0).all(axis=1) & (index <= limits).all(axis=1))

    sheets = find_sheets(ct, lung)
    return search_fissure(sheets, region, model, TO_REFERENCE, model.mean(np.zeros(3)))


def _truth(atlas: LobeAtlas) -> NDArray[np.float64]:
    model = atlas.fissures[LEFT_OBLIQUE]
    rng = np.random.default_rng(3)
    draw = np.linalg.cholesky(model.covariance) @ rng.standard_normal(len(model.covariance))
    return np.asarray(model.mean(np.zeros(3)) + draw)


def _off_mm(
    atlas: LobeAtlas, ct: CtVolume, lung: NDArray[np.bool_], guess: NDArray[np.float64]
) -> float:
    """Return the mean distance along the normal between a surface and the true one."""
    points = np.argwhere(lung)[::50, ::-1] * np.diag(ct.affine_lps)[:3] + atlas.origin_mm
    basis, height = atlas.fissures[LEFT_OBLIQUE].basis(points)
    truth = _truth(atlas)
    near = np.abs(height - basis @ truth) < 5.0
    return float(np.abs(basis[near] @ (guess - truth)).mean())


@pytest.mark.parametrize(("seen", "most_mm"), [(1.0, 1.5), (0.5, 4.0)])
def test_a_visible_fissure_is_found(atlas: LobeAtlas, seen: float, most_mm: float) -> None:
    ct, lung = _left_lung(atlas, _truth(atlas), seen)
    fit = _search(atlas, ct, lung)
    expected = atlas.fissures[LEFT_OBLIQUE].mean(np.zeros(3))
    assert fit.found
    assert _off_mm(atlas, ct, lung, expected) > 5.0
    assert _off_mm(atlas, ct, lung, fit.coefficients) < most_mm
    assert fit.error_mm < atlas.fissures[LEFT_OBLIQUE].error_mm


def test_less_of_a_fissure_leaves_more_doubt(atlas: LobeAtlas) -> None:
    fits = [_search(atlas, *_left_lung(atlas, _truth(atlas), seen)) for seen in (1.0, 0.5)]
    assert fits[0].coverage > fits[1].coverage
    assert fits[0].error_mm < fits[1].error_mm


def test_noise_and_vessels_are_no_fissure(atlas: LobeAtlas) -> None:
    assert not _search(atlas, *_left_lung(atlas, None)).found


def test_the_same_seed_gives_the_same_surface(atlas: LobeAtlas) -> None:
    ct, lung = _left_lung(atlas, _truth(atlas))
    one, two = (_search(atlas, ct, lung) for _ in range(2))
    np.testing.assert_array_equal(one.coefficients, two.coefficients)


def test_an_empty_lung_keeps_the_expectation(atlas: LobeAtlas) -> None:
    ct, lung = _left_lung(atlas, None)
    fit = _search(atlas, ct, np.zeros_like(lung))
    assert not fit.found
    np.testing.assert_array_equal(fit.coefficients, atlas.fissures[LEFT_OBLIQUE].mean(np.zeros(3)))
    assert fit.error_mm == atlas.fissures[LEFT_OBLIQUE].error_mm


def test_sheets_lie_on_the_surface_and_face_across_it(atlas: LobeAtlas) -> None:
    truth = _truth(atlas)
    ct, lung = _left_lung(atlas, truth)
    sheets = find_sheets(ct, lung)
    model = atlas.fissures[LEFT_OBLIQUE]
    basis, height = model.basis(sheets.points_mm)
    on_it = np.abs(height - basis @ truth) < 2.0
    assert np.count_nonzero(on_it) > 1000
    assert np.median(np.abs(sheets.normals[on_it] @ model.axes[2])) > 0.8
    np.testing.assert_allclose(np.linalg.norm(sheets.normals, axis=1), 1.0, atol=1e-6)
    sizes = sheets.piece_sizes(on_it)
    assert sizes[~on_it].max(initial=0) == 0
    assert sizes.max() > 500
