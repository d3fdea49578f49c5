"""Consolidation beside the lungs becomes lung where the infection network sees it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine import lungs_infection
from CovidLesionSegLib.engine.lungs_infection import (
    SEARCH_MM,
    predict_with_lungs,
    search_region,
    take_in_infection,
)
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.result import Anatomy, Lobe, LobeSource, Lung, Prediction
from CovidLesionSegLib.engine.slice_model import SliceModel
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.windowing import SliceRecipe
from Testing.support.plain_chest import PlainChest, plain_chest

THRESHOLD = 0.45
MODEL = SliceModel("m", None, SliceRecipe(), "cpu", 1.0, THRESHOLD, "0" * 64)  # type: ignore[arg-type]

Mask = NDArray[np.bool_]


@pytest.fixture(scope="module", params=[(5.0, 3.0, 3.0), (4.0, 1.0, 1.0)], ids=["1", "blocks"])
def chest(request: pytest.FixtureRequest) -> PlainChest:
    """A chest whose right lung is as dense as muscle in the last 30 mm at the back."""
    made = plain_chest(request.param, scale=0.6 if request.param[1] == 1.0 else 1.0)
    hu = made.ct.hu.copy()
    hu[_layer(made, 30.0)] = 40
    return replace(made, ct=CtVolume.from_array(hu, made.ct.affine_lps))


def _layer(chest: PlainChest, depth_mm: float) -> Mask:
    """The back of the right lung, in the middle of its height."""
    rows = round(depth_mm / chest.ct.spacing_mm_zyx[1])
    below = np.roll(chest.lungs, -rows, axis=1) == Lung.RIGHT
    near = (np.abs(chest.z - 130) < 50) & (chest.y > 140)
    layer: Mask = (chest.lungs == Lung.RIGHT) & ~below & near
    return layer


def _dense(chest: PlainChest) -> Mask:
    """The last 8 mm, which the lung mask lacks."""
    return _layer(chest, 8.0)


def _without_dense(chest: PlainChest) -> NDArray[np.uint8]:
    return np.where(_dense(chest), 0, chest.lungs).astype(np.uint8)


def _probability(infected: Mask, value: float) -> NDArray[np.float16]:
    return np.where(infected, value, 0.0).astype(np.float16)


def test_what_the_network_finds_at_the_pleura_is_lung(chest: PlainChest) -> None:
    lungs, dense = _without_dense(chest), _dense(chest)
    grown = take_in_infection(chest.ct, lungs, _probability(dense, 0.8), THRESHOLD)
    assert np.count_nonzero(grown[dense] == Lung.RIGHT) > 0.97 * np.count_nonzero(dense)
    added = (grown > 0) & (lungs == 0)
    assert np.count_nonzero(added & ~dense) < 0.3 * np.count_nonzero(dense)
    np.testing.assert_array_equal(grown[lungs > 0], lungs[lungs > 0])


def test_doubt_alone_is_not_enough(chest: PlainChest) -> None:
    """Below the threshold tissue counts only near what lies above it."""
    lungs, dense = _without_dense(chest), _dense(chest)
    doubtful = _probability(dense, 0.3)
    assert take_in_infection(chest.ct, lungs, doubtful, THRESHOLD) is lungs
    sure = dense & (np.abs(chest.x - 118) < 12)
    mixed = np.maximum(doubtful, _probability(sure, 0.8))
    grown = take_in_infection(chest.ct, lungs, mixed, THRESHOLD)
    side = dense & (np.abs(chest.x - 118) > 45)
    assert (grown[sure] > 0).mean() > 0.95
    assert not grown[side].any()


def test_beside_ground_glass_air_shows_where_the_lung_ends(chest: PlainChest) -> None:
    lungs, dense = _without_dense(chest), _dense(chest)
    hu = np.where(lungs > 0, np.minimum(chest.ct.hu, -600), chest.ct.hu).astype(np.int16)
    ct = CtVolume.from_array(hu, chest.ct.affine_lps)
    assert take_in_infection(ct, lungs, _probability(dense, 0.8), THRESHOLD) is lungs


def test_what_does_not_touch_the_lung_is_not_lung(chest: PlainChest) -> None:
    lungs = _without_dense(chest)
    island = (chest.y > 240) & (chest.y < 252) & (np.abs(chest.x - 118) < 20) & (chest.lungs == 0)
    assert island.any()
    found = take_in_infection(chest.ct, lungs, _probability(island, 0.9), THRESHOLD)
    assert found is lungs


def test_bone_and_air_are_no_lung() -> None:
    chest = plain_chest()
    region = search_region(chest.lungs, chest.ct) > 0
    hu = chest.ct.hu.copy()
    hu[region & (chest.lungs == 0)] = np.where(chest.x < 190, 600, -990)[
        region & (chest.lungs == 0)
    ]
    ct = CtVolume.from_array(hu, chest.ct.affine_lps)
    found = take_in_infection(ct, chest.lungs, region.astype(np.float16), THRESHOLD)
    assert np.count_nonzero((found > 0) & (chest.lungs == 0)) == 0


def test_the_search_reaches_as_far_as_it_says_and_no_slice_further() -> None:
    chest = plain_chest()
    region = search_region(chest.lungs, chest.ct) > 0
    inside = chest.lungs > 0
    assert region[inside].all()
    np.testing.assert_array_equal(region.any(axis=(1, 2)), inside.any(axis=(1, 2)))
    middle = inside.shape[0] // 2
    rows = [np.flatnonzero(mask[middle].any(axis=1)) for mask in (region, inside)]
    reach_mm = (rows[0][-1] - rows[1][-1]) * chest.ct.spacing_mm_zyx[1]
    assert reach_mm == pytest.approx(SEARCH_MM, abs=chest.ct.spacing_mm_zyx[1])


def test_maps_and_lobes_follow_the_lungs(
    chest: PlainChest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lungs, dense = _without_dense(chest), _dense(chest)
    lower = np.where(lungs == Lung.RIGHT, Lobe.RLL, 0)
    lobes = np.where((lungs == Lung.RIGHT) & (chest.z > 130), Lobe.RUL, lower)
    lobes[(lungs == Lung.RIGHT) & (chest.y < 90)] = Lobe.RML
    before = Anatomy(lungs, lobes.astype(np.uint8), LobeSource.FILE, (Lobe.LUL, Lobe.LLL))

    def fires(
        ct: CtVolume, region: NDArray[np.uint8], model: SliceModel, reporter: Reporter
    ) -> Prediction:
        del ct, model, reporter
        found = (region > 0).astype(np.float16) * np.float16(0.05)
        found[dense] = 0.8
        apart = np.where(region > 0, 0.25, 1.0).astype(np.float16)
        return Prediction(found, found.copy(), apart)

    monkeypatch.setattr(lungs_infection, "predict_infection", fires)
    prediction, anatomy = predict_with_lungs(chest.ct, before, MODEL, Reporter())
    outside = anatomy.lungs == 0
    assert prediction.boundary is not None
    assert prediction.agreement is not None
    assert not prediction.infection[outside].any()
    assert not prediction.boundary[outside].any()
    assert (prediction.agreement[outside] == 1).all()
    assert prediction.infection[dense].mean() > 0.75
    assert anatomy.lobes is not None
    # Every lobe of the right lung is there, so its new voxels have one; of the left none is.
    assert (anatomy.lobes[anatomy.lungs == Lung.RIGHT] > 0).all()
    assert not anatomy.lobes[anatomy.lungs == Lung.LEFT].any()
    np.testing.assert_array_equal(before.lungs, _without_dense(chest))
