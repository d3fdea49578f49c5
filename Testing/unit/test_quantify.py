"""The table, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.lungs_inflation import EXPIRATION
from CovidLesionSegLib.engine.quantify import Quantifier, quantify
from CovidLesionSegLib.engine.result import (
    Anatomy,
    Lobe,
    LobeSource,
    Lung,
    Measure,
    Prediction,
    Quantification,
)
from CovidLesionSegLib.engine.volume import CtVolume
from Testing.support.block_chest import (
    LOBE_BOXES,
    SHAPE_ZYX,
    VOXEL_ML,
    certain,
    make_anatomy,
    make_ct,
    without_lung,
)

Mask = NDArray[np.uint8]


@pytest.fixture
def infection() -> Mask:
    """60 of RUL's 480 voxels, 24 of LLL's 480, 4 outside the lungs."""
    mask = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    mask[8:11, 2:6, 3:8] = 1
    mask[1:3, 1:5, 15:18] = 1
    mask[4, 4, 10:14] = 1
    return mask


def _table(ct: CtVolume, infection: Mask, anatomy: Anatomy) -> Quantification:
    prediction = certain(infection)
    lesions, _ = find_lesions(infection, prediction, ct, anatomy, 0.0)
    return quantify(ct, infection, anatomy, prediction, lesions)


def _value(table: Quantification, region: str, name: str) -> float | None:
    return table.row(region).measures[name].value


def test_volumes_and_percentages(infection: Mask) -> None:
    table = _table(make_ct(), infection, make_anatomy())
    assert _value(table, "RUL", "volume_ml") == pytest.approx(480 * VOXEL_ML)
    assert _value(table, "RUL", "infected_ml") == pytest.approx(60 * VOXEL_ML)
    assert _value(table, "RUL", "infected_percent") == pytest.approx(12.5)
    assert _value(table, "LLL", "infected_percent") == pytest.approx(5.0)
    assert _value(table, "RML", "infected_percent") == 0.0
    assert _value(table, "right-lung", "infected_percent") == pytest.approx(6.25)
    assert _value(table, "total", "infected_percent") == pytest.approx(100 * 84 / 1920)
    assert table.scores["outside_lung_ml"].value == pytest.approx(4 * VOXEL_ML)
    assert table.scores["po_percent"] == table.row("total").measures["infected_percent"]


def test_sums_close_to_the_voxel(infection: Mask) -> None:
    table = _table(make_ct(), infection, make_anatomy())
    for name in ("volume_ml", "infected_ml"):
        lobes = sum(_value(table, lobe.name, name) or 0.0 for lobe in Lobe)
        lungs = sum(_value(table, lung, name) or 0.0 for lung in ("right-lung", "left-lung"))
        total = _value(table, "total", name) or 0.0
        assert round(lobes / VOXEL_ML) == round(lungs / VOXEL_ML) == round(total / VOXEL_ML)


def test_scores(infection: Mask) -> None:
    scores = _table(make_ct(), infection, make_anatomy()).scores
    assert scores["ctss_0_25"].value == 4  # 12.5% gives 2, 5% gives 2
    assert scores["tss_0_20"].value == 2
    assert scores["ct_grade_0_4"].value == 1


def test_hu_bands_of_the_lesion(infection: Mask) -> None:
    hu = np.full(SHAPE_ZYX, -800, dtype=np.int16)
    lesion = np.argwhere(infection * (make_anatomy().lobes == Lobe.RUL))
    for number, (z, y, x) in enumerate(lesion):
        hu[z, y, x] = (-301, -300, -201, -200)[number % 4]
    measures = _table(make_ct(hu), infection, make_anatomy()).row("RUL").measures
    assert measures["ggo_percent"].value == pytest.approx(100 * 15 / 480)
    assert measures["consolidation_percent"].value == pytest.approx(100 * 45 / 480)
    assert measures["mean_hu"].value == pytest.approx(-250.5)
    assert measures["hu_p10"].value == -301
    assert measures["hu_p50"].value == -300
    assert measures["hu_p90"].value == -200
    pho = _table(make_ct(hu), infection, make_anatomy()).scores["pho_percent"].value
    assert pho == pytest.approx(100 * 15 / 1920)


@pytest.mark.parametrize(
    ("hu", "well_aerated", "emphysema"),
    [(-951, 0.0, 100.0), (-950, 0.0, 100.0), (-949, 100.0, 0.0), (-700, 100.0, 0.0), (-699, 0, 0)],
)
def test_aeration_bands(hu: int, well_aerated: float, emphysema: float) -> None:
    nothing = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    ct = make_ct(np.full(SHAPE_ZYX, hu, dtype=np.int16))
    measures = _table(ct, nothing, make_anatomy()).row("total").measures
    assert measures["wal_percent"].value == well_aerated
    assert measures["laa950_percent"].value == emphysema


def test_a_missing_lobe_is_absent_with_a_reason_and_its_neighbours_do_not_change(
    infection: Mask,
) -> None:
    anatomy = make_anatomy((Lobe.RML,), flags=("lobe-missing",))
    table = _table(make_ct(), infection, anatomy)
    complete = _table(make_ct(), infection, make_anatomy())
    for measure in table.row("RML").measures.values():
        assert measure.value is None
        assert measure.reason == "the right middle lobe is missing"
    assert table.row("RML").flags == ("lobe-missing",)
    for region in ("RUL", "RLL", "LUL", "LLL", "right-lung", "left-lung", "total"):
        assert table.row(region).measures == complete.row(region).measures
    assert table.row("total").flags == ()
    assert table.scores["ctss_0_25"].value is None
    assert "right middle lobe" in table.scores["ctss_0_25"].reason
    assert table.scores["ct_grade_0_4"].value == 1


def test_without_lobes_the_lungs_still_have_numbers(infection: Mask) -> None:
    table = _table(make_ct(), infection, make_anatomy(with_lobes=False))
    assert all(_value(table, lobe.name, "infected_percent") is None for lobe in Lobe)
    assert _value(table, "right-lung", "infected_percent") == pytest.approx(6.25)
    assert table.scores["ctss_0_25"].reason == "no lobes are available"


def test_after_pneumonectomy_the_other_lung_is_absent(infection: Mask) -> None:
    anatomy = without_lung(make_anatomy(), Lung.RIGHT)
    table = _table(make_ct(), infection, anatomy)
    assert _value(table, "right-lung", "volume_ml") is None
    assert table.row("right-lung").measures["lesion_count"].value is None
    assert _value(table, "total", "volume_ml") == _value(table, "left-lung", "volume_ml")
    assert "single-lung" in table.row("total").flags


def test_no_lesion_is_zero_percent_without_hu() -> None:
    nothing = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    measures = _table(make_ct(), nothing, make_anatomy()).row("total").measures
    assert measures["infected_percent"].value == 0.0
    assert measures["lesion_count"].value == 0
    assert measures["mean_hu"] == Measure(None, "HU", reason="no infection in the region")


def test_flags_reach_every_row_and_lobe_flags_only_the_lobes() -> None:
    nothing = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    anatomy = make_anatomy(flags=("partial-lung", "approximate-lobes"))
    table = _table(make_ct(flags=("thick-slices",)), nothing, anatomy)
    assert table.row("RUL").flags == ("thick-slices", "partial-lung", "approximate-lobes")
    assert table.row("total").flags == ("thick-slices", "partial-lung")


def test_lesion_counts(infection: Mask) -> None:
    table = _table(make_ct(), infection, make_anatomy())
    assert _value(table, "RUL", "lesion_count") == 1
    assert _value(table, "RML", "lesion_count") == 0
    assert _value(table, "total", "lesion_count") == 3


def test_interval_from_the_probability(infection: Mask) -> None:
    probability = np.where(infection > 0, 0.8, 0.0).astype(np.float16)
    probability[0, 0, 2:10] = 0.25  # eight doubtful voxels outside the mask, in RML
    ct, anatomy = make_ct(), make_anatomy()
    table = quantify(ct, infection, anatomy, Prediction(probability), ())
    upper = table.row("RUL").measures["infected_ml"]
    assert upper.low == pytest.approx(60 * 0.8 * VOXEL_ML, rel=1e-3)
    assert upper.high == pytest.approx(60 * VOXEL_ML, rel=1e-3)
    middle = table.row("RML").measures["infected_ml"]
    assert (middle.low, middle.high) == pytest.approx((0.0, 8 * 0.25 * VOXEL_ML), rel=1e-3)


def test_what_a_person_decided_is_beyond_doubt(infection: Mask) -> None:
    probability = np.where(infection > 0, 0.8, 0.25).astype(np.float16)
    quantifier = Quantifier(make_ct(), make_anatomy(), Prediction(probability))
    reviewed = np.ones(SHAPE_ZYX, dtype=bool)
    measure = quantifier.measure(infection, (), reviewed).row("total").measures["infected_ml"]
    assert measure.low == pytest.approx(84 * VOXEL_ML)
    assert measure.high == pytest.approx(84 * VOXEL_ML, abs=1e-6)


def test_lobe_uncertainty_widens_the_lobes_interval_and_not_the_lungs() -> None:
    infection = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    infection[6, :, 14:22] = 1  # the lowest slice of LUL, 80 of 480 voxels
    prediction = certain(infection)
    anatomy = make_anatomy(uncertainty_mm=10.0)
    table = quantify(make_ct(), infection, anatomy, prediction, ())
    upper = table.row("LUL").measures["infected_percent"]
    lower = table.row("LLL").measures["infected_percent"]
    # One slice either way: all of it may be the lower lobe's.
    assert upper.low == pytest.approx(0.0)
    assert lower.high == pytest.approx(100 * 80 / 560)
    lung = table.row("left-lung").measures["infected_percent"]
    assert lung.low == lung.high == lung.value


def test_measuring_again_after_an_edit_equals_measuring_anew(infection: Mask) -> None:
    ct, anatomy, prediction = make_ct(), make_anatomy(), certain(infection)
    quantifier = Quantifier(ct, anatomy, prediction)
    quantifier.measure(infection, ())
    edited = infection.copy()
    edited[7:9, 7:9, 16:18] = 1
    again = quantifier.measure(edited, (), flags=("edited",))
    anew = quantify(ct, edited, anatomy, prediction, ())
    assert [row.measures for row in again.rows] == [row.measures for row in anew.rows]
    assert all("edited" in row.flags for row in again.rows)


def test_flipping_the_patient_swaps_the_names_and_nothing_else(infection: Mask) -> None:
    swap = {Lobe.RUL: Lobe.LUL, Lobe.RLL: Lobe.LLL, Lobe.LUL: Lobe.RUL, Lobe.LLL: Lobe.RLL}
    infection[10, 8, 5] = 0
    lobes = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    for lobe in swap:
        box = LOBE_BOXES[lobe]
        lobes[box] = lobe
    lobes[LOBE_BOXES[Lobe.RML]] = Lobe.RLL
    side = np.where(lobes >= Lobe.LUL, Lung.LEFT, Lung.RIGHT) * (lobes > 0)
    anatomy = Anatomy(side.astype(np.uint8), lobes, LobeSource.FILE, (Lobe.RML,))
    names = np.array([0, 4, 0, 5, 1, 3], dtype=np.uint8)
    sides = np.array([0, 2, 1], dtype=np.uint8)
    mirrored = Anatomy(
        sides[anatomy.lungs][..., ::-1], names[lobes][..., ::-1], LobeSource.FILE, (Lobe.RML,)
    )
    table = _table(make_ct(), infection, anatomy)
    flipped = _table(make_ct(), infection[..., ::-1].copy(), mirrored)
    for lobe, other in swap.items():
        assert table.row(lobe.name).measures == flipped.row(other.name).measures
    assert table.row("right-lung").measures == flipped.row("left-lung").measures
    assert table.row("total") == flipped.row("total")
    assert table.scores == flipped.scores


def test_a_new_lesion_changes_its_lobe_its_lung_and_the_total_only(infection: Mask) -> None:
    before = _table(make_ct(), infection, make_anatomy())
    infection[8:10, 7:9, 16:19] = 1  # LUL
    after = _table(make_ct(), infection, make_anatomy())
    changed = {row.region for row in after.rows if row.measures != before.row(row.region).measures}
    assert changed == {"LUL", "left-lung", "total"}


def test_every_measure_and_score_has_a_definition(infection: Mask) -> None:
    table = _table(make_ct(), infection, make_anatomy())
    named = {name for row in table.rows for name in row.measures} | set(table.scores)
    assert named <= set(table.conventions)


def test_in_expiration_the_lower_end_counts_consolidation_only(infection: Mask) -> None:
    hu = np.full(SHAPE_ZYX, -600, dtype=np.int16)
    hu[8, 2:6, 3:8] = -50  # 20 of the 60 infected voxels of the right upper lobe
    ct, prediction = make_ct(hu), certain(infection)
    for flags, fewest in (((), 60), ((EXPIRATION,), 20)):
        table = quantify(ct, infection, make_anatomy(flags=flags), prediction, [])
        row = table.row("RUL").measures
        assert row["infected_ml"].value == pytest.approx(60 * VOXEL_ML)
        assert row["infected_ml"].low == pytest.approx(fewest * VOXEL_ML)
        assert row["infected_percent"].low == pytest.approx(100 * fewest / 480)
        assert row["infected_percent"].high == pytest.approx(12.5)


def test_in_expiration_what_a_person_decided_stays(infection: Mask) -> None:
    anatomy = make_anatomy(flags=(EXPIRATION,))
    hu = np.full(SHAPE_ZYX, -600, dtype=np.int16)
    quantifier = Quantifier(make_ct(hu), anatomy, certain(infection))
    reviewed = np.zeros(SHAPE_ZYX, dtype=bool)
    reviewed[8:10] = True
    row = quantifier.measure(infection, [], reviewed).row("RUL").measures
    assert row["infected_ml"].low == pytest.approx(40 * VOXEL_ML)
