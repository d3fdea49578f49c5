"""Lobes by name and by code."""

from __future__ import annotations

import pytest

from CovidLesionSegLib.engine.lobe_names import lobe_of_name, lobe_of_terminology
from CovidLesionSegLib.engine.result import Lobe

NAMES = {
    Lobe.RUL: [
        "lung_upper_lobe_right",
        "Right Upper Lobe",
        "RIGHTSUPERIORLOBE",
        "right lung superior lobe",
        "UpperLobeRight",
        "RUL",
        "rul lobe",
        "Lobe supérieur droit",
        "rechter Oberlappen",
        "lobo superiore destro",
        "右上葉",
    ],
    Lobe.RML: [
        "lung_middle_lobe_right",
        "right middle lobe",
        "Mittellappen",
        "lobe moyen",
        "lóbulo medio",
        "lobus medius pulmonis dextri",
        "右肺中叶",
        "RML",
    ],
    Lobe.RLL: ["lung_lower_lobe_right", "right inferior lobe", "lobo inferior direito", "rll"],
    Lobe.LUL: ["lung_upper_lobe_left", "LEFT UPPER LOBE", "linker Oberlappen", "lingula", "LUL_1"],
    Lobe.LLL: ["lung_lower_lobe_left", "LeftInferiorLobe", "linker Unterlappen der Lunge", "LLL"],
}


@pytest.mark.parametrize(
    ("name", "lobe"), [(name, lobe) for lobe, names in NAMES.items() for name in names]
)
def test_known_names(name: str, lobe: Lobe) -> None:
    assert lobe_of_name(name) is lobe


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1",
        "Segment_3",
        "lower lobe",
        "right lung",
        "left middle lobe",
        "left upper lobe vessels",
        "right upper lobe infiltrated",
        "heart_atrium_left",
        "lung_trachea_bronchia",
        "upper",
        "RUL and RML",
    ],
)
def test_no_lobe(name: str) -> None:
    assert lobe_of_name(name) is None


def _entry(kind: str, modifier: str = "^^", region: str = "^^") -> str:
    category = "SCT^123037004^Anatomical Structure"
    return f"Some list~{category}~{kind}~{modifier}~Anatomic codes~{region}~^^"


RIGHT, LEFT = "SCT^24028007^Right", "SCT^7771000^Left"
UPPER, LOWER = "SCT^45653009^Upper lobe of lung", "SCT^90572001^Lower lobe of lung"


@pytest.mark.parametrize(
    ("entry", "lobe"),
    [
        (_entry(UPPER, RIGHT), Lobe.RUL),
        (_entry("SCT^72481006^Middle lobe of right lung"), Lobe.RML),
        (_entry(LOWER, RIGHT), Lobe.RLL),
        (_entry(UPPER, LEFT), Lobe.LUL),
        (_entry(LOWER, LEFT), Lobe.LLL),
        (_entry("SCT^44714003^Left upper lobe"), Lobe.LUL),
        (_entry(UPPER), None),
        (_entry("SCT^39607008^Lung", LEFT), None),
        ("", None),
        ("nonsense~without~codes", None),
    ],
)
def test_terminology(entry: str, lobe: Lobe | None) -> None:
    assert lobe_of_terminology(entry) is lobe
