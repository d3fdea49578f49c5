"""The built-in atlas: its mathematics, its file, and lobes from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.polynomial import legendre as numpy_legendre
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lobe_atlas import (
    FILE_NAME,
    FISSURES,
    LobeAtlas,
    bundled_atlas,
    legendre,
    read_atlas,
    save_atlas,
    shape_features,
)
from CovidLesionSegLib.engine.lobe_registration import lung_surfaces, register
from CovidLesionSegLib.engine.lobes import find_lobes
from CovidLesionSegLib.engine.lobes_atlas import atlas_lobes
from CovidLesionSegLib.engine.lungs import LungMask
from CovidLesionSegLib.engine.result import Lobe, LobeSource, Lung
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.resources import resources_dir


@pytest.fixture(scope="module")
def atlas() -> LobeAtlas:
    return bundled_atlas()


def _reference_patient(
    atlas: LobeAtlas, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> tuple[CtVolume, NDArray[np.uint8]]:
    """The reference person as a patient, stretched along x, y and z and moved."""
    lungs = np.zeros(atlas.distance_mm[Lung.RIGHT].shape, dtype=np.uint8)
    for lung in Lung:
        lungs[atlas.distance_mm[lung] <= 0] = lung
    affine = np.diag([*(atlas.spacing_mm * stretch), 1.0])
    affine[:3, 3] = (31.0, -250.0, 900.0)
    return CtVolume.from_array(np.full(lungs.shape, -850, dtype=np.int16), affine), lungs


def test_legendre_polynomials() -> None:
    t = np.linspace(-1.3, 1.3, 7)
    for degree, values in enumerate(legendre(t, 4)):
        expected = numpy_legendre.legval(t, [0.0] * degree + [1.0])
        np.testing.assert_allclose(values, expected, atol=1e-12)


def test_height_and_basis_agree(atlas: LobeAtlas) -> None:
    model = atlas.fissures[FISSURES[0]]
    rng = np.random.default_rng(0)
    points = model.centre_mm + rng.normal(0, 40, (50, 3))
    coefficients = rng.normal(0, 5, model.covariance.shape[0])
    basis, _ = model.basis(points)
    local = (points - model.centre_mm) @ model.axes.T
    heights = model.height(local[:, 0], local[:, 1], coefficients)
    np.testing.assert_allclose(basis @ coefficients, heights, atol=1e-9)


def test_the_file_is_small_and_survives_a_round_trip(tmp_path: Path, atlas: LobeAtlas) -> None:
    assert (resources_dir() / FILE_NAME).stat().st_size < 200_000
    save_atlas(atlas, tmp_path / "copy.npz")
    again = read_atlas(tmp_path / "copy.npz")
    for name in FISSURES:
        one, two = atlas.fissures[name], again.fissures[name]
        np.testing.assert_array_equal(one.weights, two.weights)
        np.testing.assert_array_equal(one.covariance, two.covariance)
        assert one.error_mm == two.error_mm
        assert 3.0 < one.error_mm < 15.0
        assert np.linalg.eigvalsh(one.covariance).min() > 0


def test_registration_recovers_the_size(atlas: LobeAtlas) -> None:
    stretch = np.array([1.1, 0.9, 1.25])
    ct, lungs = _reference_patient(atlas, tuple(stretch))
    affine = register(lung_surfaces(lungs, ct), atlas)
    np.testing.assert_allclose(np.diag(affine[:, :3]), 1.0 / stretch, rtol=0.05)
    np.testing.assert_allclose(shape_features(affine), np.log(stretch), atol=0.05)


def test_every_lung_voxel_has_a_lobe_of_its_lung(atlas: LobeAtlas) -> None:
    ct, lungs = _reference_patient(atlas)
    lobes, uncertainty_mm = atlas_lobes(ct, lungs, atlas)
    np.testing.assert_array_equal(lobes > 0, lungs > 0)
    for lobe in Lobe:
        assert (lungs[lobes == lobe] == lobe.lung).all()
    assert 3.0 < uncertainty_mm < 20.0


def test_lobes_are_where_they_belong_and_as_large_as_they_are(atlas: LobeAtlas) -> None:
    ct, lungs = _reference_patient(atlas)
    lobes, _ = atlas_lobes(ct, lungs, atlas)
    centre = {lobe: np.argwhere(lobes == lobe).mean(axis=0) for lobe in Lobe}
    assert centre[Lobe.RUL][0] > centre[Lobe.RLL][0]
    assert centre[Lobe.LUL][0] > centre[Lobe.LLL][0]
    assert centre[Lobe.RML][1] < centre[Lobe.RLL][1] - 3
    share = np.bincount(lobes.ravel(), minlength=6)[1:] / np.count_nonzero(lobes)
    # Shares of the whole lung in adults lie near 0.2, 0.09, 0.25, 0.22 and 0.24.
    np.testing.assert_allclose(share, [0.20, 0.09, 0.25, 0.22, 0.24], atol=0.08)


def test_stretching_the_patient_stretches_the_lobes(atlas: LobeAtlas) -> None:
    ct, lungs = _reference_patient(atlas)
    taller, _ = _reference_patient(atlas, (1.0, 1.0, 1.1))
    lobes, _ = atlas_lobes(ct, lungs, atlas)
    stretched, _ = atlas_lobes(taller, lungs, atlas)
    # Larger lungs have somewhat different fissures, but most voxels keep their lobe.
    same = np.count_nonzero((lobes == stretched) & (lungs > 0))
    assert same > 0.93 * np.count_nonzero(lungs)


@pytest.mark.parametrize("lung", list(Lung))
def test_one_lung_alone(atlas: LobeAtlas, lung: Lung) -> None:
    ct, lungs = _reference_patient(atlas)
    alone = np.where(lungs == lung, lungs, 0).astype(np.uint8)
    anatomy = find_lobes(ct, LungMask(alone, ("single-lung",)))
    assert anatomy.lobes is not None
    assert set(np.unique(anatomy.lobes)) == {0, *(int(lobe) for lobe in Lobe if lobe.lung is lung)}
    assert anatomy.missing == tuple(lobe for lobe in Lobe if lobe.lung is not lung)


def test_a_cut_scan_keeps_its_upper_lobes(atlas: LobeAtlas) -> None:
    """Without the bases, the apex must not be stretched over the whole reference lung."""
    ct, lungs = _reference_patient(atlas)
    lobes, _ = atlas_lobes(ct, lungs, atlas)
    first = lungs.shape[0] // 2 - 4
    affine = ct.affine_lps.copy()
    affine[:3, 3] += affine[:3, 2] * first
    part = CtVolume.from_array(ct.hu[first:].copy(), affine)
    cut, _ = atlas_lobes(part, lungs[first:], atlas)
    same = np.count_nonzero((cut == lobes[first:]) & (lungs[first:] > 0))
    assert same > 0.85 * np.count_nonzero(lungs[first:])


def test_source_and_flag(atlas: LobeAtlas) -> None:
    ct, lungs = _reference_patient(atlas)
    anatomy = find_lobes(ct, LungMask(lungs, ("partial-lung",)))
    assert anatomy.lobe_source is LobeSource.ATLAS
    assert anatomy.lobe_source.is_approximate
    assert anatomy.flags == ("partial-lung", "approximate-lobes")
    assert anatomy.lobe_uncertainty_mm > 0
