"""Bundled models on pictures: what they get, what is written, which row the README shows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from CovidLesionSegLib.engine.definitions import CONSOLIDATION_FROM_HU
from CovidLesionSegLib.engine.result import Prediction
from Testing.support.tiny_slices import LABELLED, write_slices
from training.lesion_classes.scale import GreyScale, usual_scale
from training.lesion_classes.slices import estimated_pixel_mm
from training.readme_tables import final_rows
from training.semiseg import bundled
from training.semiseg.maps import read_map
from training.semiseg.slices import find_slices, layout_folders
from training.semiseg.table import own_rows

SCALE = GreyScale(air=0.0, soft_tissue=200.0, fat=None, slope=5.0, offset=-1000.0)


def test_a_picture_becomes_a_ct_in_clinical_orientation() -> None:
    grey = np.zeros((70, 50), dtype=np.uint8)  # packaged as x, y
    grey[60, 10] = 200
    ct = bundled.as_ct(grey, SCALE)
    assert ct.shape_zyx[1:] == (50, 70)
    assert ct.hu[0, 10, 60] == 0
    assert ct.hu[0, 0, 0] == -1000
    assert ct.spacing_mm_zyx[2] == pytest.approx(estimated_pixel_mm((50, 70)))


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_what_a_model_calls_lies_above_a_half(
    threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct = bundled.as_ct(np.zeros((7, 5), dtype=np.uint8), SCALE)
    probability = np.linspace(0.0, 1.0, 35, dtype=np.float16).reshape(5, 7)

    def found(*_: object) -> Prediction:
        return Prediction(np.stack([probability, probability]))

    monkeypatch.setattr(bundled, "predict_infection", found)
    model: Any = SimpleNamespace(threshold=threshold)
    levels = bundled.level_map(ct, model, model)
    assert np.array_equal(levels.T >= 128, probability.astype(np.float32) >= threshold)
    assert (levels.min(), levels.max()) == (0, 255)


def test_maps_of_bundled_models_get_a_row(tmp_path: Path) -> None:
    write_slices(tmp_path)
    files = find_slices({"images": layout_folders("labelled", tmp_path)["images"]})
    models = ("inf-net-lite", "dram-lite")
    bundled.predict_bundled(bundled.Pictures.of(files, SCALE), models, tmp_path / "runs")
    rows = own_rows(tmp_path / "runs")
    assert [row.label for row in rows] == ["bundled dram-lite", "bundled inf-net-lite"]
    for row in rows:
        assert set(row.about["weights_sha256"]) == {row.label.removeprefix("bundled ")}
        assert set(row.about["slices_on_the_usual_scale"]) <= set(LABELLED)
        assert read_map(row.maps, "10").shape == (43, 48)


@pytest.mark.parametrize("wanted", [(), ("dram-lite",)])
def test_some_models_can_be_chosen(
    wanted: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_slices(tmp_path)
    given: list[str] = []
    monkeypatch.setattr(bundled, "read_class_slices", lambda _: [])
    monkeypatch.setattr(bundled, "usual_scale", lambda _: SCALE)
    monkeypatch.setattr(
        bundled, "predict_bundled", lambda _pictures, models, *_: given.extend(models)
    )
    places = ["--data", str(tmp_path), "--runs", str(tmp_path / "runs"), "--set", "labelled"]
    assert bundled.main([*places, *(("--model", *wanted) if wanted else ())]) == 0
    assert given == list(wanted) or (not wanted and {"dram-lite", "inf-net-lite"} <= set(given))


def test_classes_lie_inside_the_given_infection_and_split_it(tmp_path: Path) -> None:
    write_slices(tmp_path)
    folders = layout_folders("labelled", tmp_path)
    (folders["masks"] / "maps.json").write_text('{"run": "expert"}', encoding="utf-8")
    pictures = bundled.Pictures.of(find_slices({"images": folders["images"]}), SCALE)
    bundled.classify_bundled(pictures, folders["masks"], tmp_path / "runs")
    rows = own_rows(tmp_path / "runs")
    assert [(row.label, row.target) for row in rows] == [
        (f"{rule} within expert", target)
        for rule in ("border in HU", "bundled density-classes-lite")
        for target in ("ground glass", "consolidation")
    ]
    for ground_glass, consolidation in (rows[:2], rows[2:]):
        one, other = (read_map(row.maps, "10") for row in (ground_glass, consolidation))
        assert np.array_equal(one + other, read_map(folders["masks"], "10"))
    hu = pictures.cts["10"].hu[0].T
    by_border = [hu[read_map(row.maps, "10") > 0] for row in rows[:2]]
    assert by_border[0].max() < CONSOLIDATION_FROM_HU <= by_border[1].min()


def test_the_usual_scale_is_the_median_and_knows_air() -> None:
    others = [GreyScale(0.0, None, None, slope, -1000.0) for slope in (4.0, 5.0, 9.0)]
    usual = usual_scale(others)
    assert (usual.slope, usual.offset, usual.air) == (5.0, -1000.0, 0.0)


def test_the_readme_shows_each_network_once_as_it_stands() -> None:
    def row(label: str, target: str = "infection", **maps: object) -> dict[str, Any]:
        return {"label": label, "target": target, "maps": maps}

    member: dict[str, Any] = {"run": "b", "steps": 3, "sizes": [1, 2]}
    rows = [
        row("published"),
        row("a, short", run="a", steps=5, sizes=[1, 2]),
        row("a", run="a", steps=9),
        row("a, sizes", run="a", steps=9, sizes=[1, 2]),
        row("a, one size", run="a", steps=9, sizes=[1]),
        row("a", target="ground glass", run="a", steps=9),
        row("both, sizes", members=[member, {"run": "a", "steps": 9, "sizes": [1, 2]}]),
        row("both", members=[member, {"run": "a", "steps": 9}]),
        row("b", **member),
    ]
    labels = [(found["label"], found["target"]) for found in final_rows(rows)]
    assert labels == [
        ("published", "infection"),
        ("a, sizes", "infection"),
        ("both, sizes", "infection"),
        ("b", "infection"),
        ("a", "ground glass"),
    ]
