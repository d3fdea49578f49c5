"""Ground glass and consolidation agree with the table."""

from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.opacity import classes_by_hu, classes_drawn, split_opacity
from CovidLesionSegLib.engine.quantify import Quantifier, quantify
from CovidLesionSegLib.engine.result import Opacity
from Testing.support.results import make_result


def test_the_border_belongs_to_consolidation() -> None:
    hu = np.array([[[-800, -301, -300, 40, 40]]], dtype=np.int16)
    infection = np.array([[[1, 1, 1, 1, 0]]], dtype=np.uint8)

    opacity = split_opacity(hu, infection)

    assert opacity.dtype == np.uint8
    assert opacity.tolist() == [[[1, 1, 2, 2, 0]]]


@pytest.mark.parametrize("burden", ["none", "moderate", "severe"])
def test_the_masks_give_the_percentages_of_the_table(burden: str) -> None:
    result = make_result(burden)
    opacity = split_opacity(result.ct.hu, result.infection)
    table = quantify(result.ct, result.infection, result.anatomy, result.prediction, result.lesions)

    lung_voxels = np.count_nonzero(result.anatomy.lungs)
    for name, label in (
        ("ggo_percent", Opacity.GROUND_GLASS),
        ("consolidation_percent", Opacity.CONSOLIDATION),
    ):
        expected = 100.0 * np.count_nonzero(opacity == label) / lung_voxels
        assert table.row("total").measures[name].value == pytest.approx(expected)
    assert np.array_equal(opacity > 0, result.infection > 0)


def test_what_a_person_drew_stays_and_the_rest_keeps_its_class() -> None:
    classes = np.array([[[1, 1, 2, 1, 2, 1]]], dtype=np.uint8)
    glass = np.array([[[1, 0, 1, 1, 0, 0]]], dtype=np.uint8)
    solid = np.array([[[0, 1, 0, 1, 0, 1]]], dtype=np.uint8)
    infection = np.array([[[1, 1, 1, 1, 1, 0]]], dtype=np.uint8)

    drawn = classes_drawn(classes, glass, solid, infection)

    # As it was, redrawn, redrawn, drawn over, in neither segment, outside the infection.
    assert drawn.tolist() == [[[1, 2, 1, 2, 2, 1]]]
    assert classes.tolist() == [[[1, 1, 2, 1, 2, 1]]]


def test_nothing_drawn_changes_nothing() -> None:
    result = make_result("moderate")
    opacity = split_opacity(result.ct.hu, result.infection)
    classes = classes_by_hu(result.ct.hu)
    parts = [(opacity == label).astype(np.uint8) for label in Opacity]
    assert classes_drawn(classes, parts[0], parts[1], result.infection) is classes


def test_the_table_follows_a_corrected_class() -> None:
    result = make_result("moderate")
    classes = classes_by_hu(result.ct.hu)
    classes[:, :, : classes.shape[2] // 2] = Opacity.CONSOLIDATION
    quantifier = Quantifier(result.ct, result.anatomy, result.prediction)
    table = quantifier.measure(result.infection, result.lesions, classes=classes)
    solid = (classes == Opacity.CONSOLIDATION) & (result.infection > 0)
    measures = table.row("total").measures
    lungs = result.anatomy.lungs > 0
    expected = 100.0 * np.count_nonzero(solid & lungs) / np.count_nonzero(lungs)
    assert measures["consolidation_percent"].value == pytest.approx(expected)
    by_hu = quantifier.measure(result.infection, result.lesions).row("total").measures
    assert by_hu["consolidation_percent"].value != pytest.approx(expected)
    shares = [measures[key].value or 0.0 for key in ("ggo_percent", "consolidation_percent")]
    assert sum(shares) == pytest.approx(measures["infected_percent"].value)
