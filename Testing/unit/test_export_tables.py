"""The per-lobe table as columns and as CSV."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from CovidLesionSegLib.engine.definitions import CONVENTIONS
from CovidLesionSegLib.engine.quantify import quantify
from CovidLesionSegLib.engine.result import Measure, Quantification, RegionRow
from CovidLesionSegLib.export.tables import lobes_columns, measure_title, write_lobes_csv
from Testing.support.results import make_result


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_file_holds_the_numbers(tmp_path: Path) -> None:
    result = make_result()
    write_lobes_csv(tmp_path / "lobes.csv", result.quantification, result.run)

    rows = _rows(tmp_path / "lobes.csv")
    assert [row["region"] for row in rows] == [
        *("RUL", "RML", "RLL", "LUL", "LLL"),
        *("right-lung", "left-lung", "total"),
    ]
    for row, region in zip(rows, result.quantification.rows, strict=True):
        percent = region.measures["infected_percent"]
        assert percent.value is not None
        assert float(row["infected_percent"]) == pytest.approx(percent.value, rel=1e-5)
        assert percent.low is not None
        assert float(row["infected_percent_low"]) == pytest.approx(percent.low, rel=1e-5)
    assert rows[0]["flags"] == "approximate lobes"
    assert [row["ct_severity_score_25"] for row in rows] == [""] * 7 + ["7"]


def test_the_header_is_stable(tmp_path: Path) -> None:
    header = [
        *("region", "label", "volume_ml", "infected_ml", "infected_percent"),
        *("infected_percent_low", "infected_percent_high", "mean_hu", "ct_severity_score_25"),
        *("flags", "missing_reason", "model_id", "weights_sha256", "threshold", "version"),
        *("device", "definitions", "lobe_source", "ct_sha256"),
    ]
    for burden in ("none", "severe"):
        result = make_result(burden)
        write_lobes_csv(tmp_path / "lobes.csv", result.quantification, result.run)

        assert list(_rows(tmp_path / "lobes.csv")[0]) == header


def test_every_row_says_what_made_it(tmp_path: Path) -> None:
    result = make_result()
    write_lobes_csv(tmp_path / "lobes.csv", result.quantification, result.run)

    for row in _rows(tmp_path / "lobes.csv"):
        assert row["model_id"] == "inf-net-lite"
        assert row["weights_sha256"] == result.run.weights_sha256["inf-net-lite"]
        assert row["version"] == "0.1.0"
        assert float(row["threshold"]) == 0.5


def test_an_absent_value_is_empty_with_a_reason(tmp_path: Path) -> None:
    result = make_result(with_lobes=False)
    write_lobes_csv(tmp_path / "lobes.csv", result.quantification, result.run)

    rows = _rows(tmp_path / "lobes.csv")
    assert rows[0]["infected_percent"] == ""
    assert rows[0]["infected_percent_low"] == ""
    assert rows[0]["missing_reason"] == "there are no lobes"
    assert rows[5]["missing_reason"] == ""


def test_different_reasons_name_their_measures() -> None:
    row = RegionRow(
        "total",
        "both lungs",
        {
            "mean_hu": Measure(None, "HU", reason="no infection"),
            "laa_950_percent": Measure(None, "%", reason="contrast suspected"),
        },
    )

    (reason,) = lobes_columns(Quantification((row,)))[-1].cells
    assert reason == "mean_hu: no infection; laa_950_percent: contrast suspected"


def test_the_file_is_plain_utf8_with_unix_lines(tmp_path: Path) -> None:
    result = make_result()
    first = replace(result.quantification.rows[0], label="oberer Lappen, „rechts“")
    rows = (first, *result.quantification.rows[1:])
    quantification = replace(result.quantification, rows=rows)
    write_lobes_csv(tmp_path / "lobes.csv", quantification, result.run)

    content = (tmp_path / "lobes.csv").read_bytes()
    assert b"\r" not in content
    assert not content.startswith(b"\xef\xbb\xbf")
    assert _rows(tmp_path / "lobes.csv")[0]["label"] == "Oberer Lappen, „rechts“"


@pytest.mark.parametrize(
    ("name", "unit", "title"),
    [
        ("infected_percent", "%", "Infected [%]"),
        ("volume_ml", "ml", "Volume [ml]"),
        ("hu_p50", "HU", "Lesion median [HU]"),
        ("some_new_score", "score", "Some new score"),
    ],
)
def test_titles_are_for_people(name: str, unit: str, title: str) -> None:
    assert measure_title(name, unit) == title


def test_the_table_of_the_engine_fits() -> None:
    result = make_result()
    table = quantify(result.ct, result.infection, result.anatomy, result.prediction, result.lesions)

    columns = {column.name: column for column in lobes_columns(table)}
    titles = [column.title for column in columns.values()]
    assert len(set(titles)) == len(titles), "two columns look the same"
    assert {len(column.cells) for column in columns.values()} == {8}
    assert columns["infected_percent"].description == CONVENTIONS["infected_percent"]
    assert columns["ctss_0_25"].cells[-1] is not None
