"""Ground glass and consolidation agree with the table."""

from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.opacity import split_opacity
from CovidLesionSegLib.engine.quantify import quantify
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
