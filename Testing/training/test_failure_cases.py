"""Failure cases: the right slices, described by what is wrong in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from CovidLesionSegLib.engine.windowing import SliceRecipe
from Testing.support.tiny_volumes import tiny_config, tiny_trainer
from training.card_sections import failure_section
from training.data.store import StoredCase
from training.data.volumes import LabelledVolume, find_volumes, load_volume
from training.export_weights import export
from training.failure_cases import draw, licence_of, worst_scans, worst_slices
from training.run_folder import RunFolder


def _volume(tiny_data: Path) -> LabelledVolume:
    return load_volume(find_volumes(tiny_data / "tiny")[0])


def _lungs(volume: LabelledVolume) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    assert volume.lung is not None
    return volume.lung


def test_the_worst_scans_come_first() -> None:
    cases = {key: {"pipeline": {"dice": d}} for key, d in (("a", 0.9), ("b", 0.1), ("c", 0.5))}
    assert worst_scans({"cases": cases}) == ["b", "c"]


def test_the_slice_with_the_largest_wrong_area_is_found(tiny_data: Path) -> None:
    volume = _volume(tiny_data)
    called = volume.infection == 1
    called[5] = False
    called[7, 30:36, 14:18] = True
    called[8, 30:32, 14:18] = True
    extra, missed = worst_slices(volume, called, _lungs(volume))
    assert (extra.kind, extra.index) == ("called, not drawn", 7)
    assert extra.area_cm2 == 6 * 4 * 0.36
    assert extra.dependent_percent == 100.0
    assert -900 < extra.mean_hu < -800
    assert -900 < extra.lung_hu < -800
    assert (missed.kind, missed.index) == ("drawn, not called", 5)
    assert -350 < missed.mean_hu < -250


def test_a_scan_without_a_failure_has_no_slice_to_show(tiny_data: Path) -> None:
    volume = _volume(tiny_data)
    assert worst_slices(volume, volume.infection == 1, _lungs(volume)) == []


def test_a_picture_is_small_and_shows_every_slice(tiny_data: Path, tmp_path: Path) -> None:
    volume = _volume(tiny_data)
    called, lungs = np.zeros(volume.ct.shape_zyx, bool), _lungs(volume)
    called[7, 26:36, 12:20] = True
    slices = worst_slices(volume, called, lungs)
    assert len(slices) == 2
    path = tmp_path / "new" / "picture.png"
    draw(volume, called, lungs, slices, "tiny", path)
    assert path.stat().st_size < 80_000
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    for outline in ((0, 208, 255), (255, 140, 0)):
        assert (np.abs(picture - outline).max(axis=2) < 60).sum() > 30


def test_sources_are_named() -> None:
    assert "CC BY-NC-SA" in licence_of("coronacases_003")
    assert "MedSeg" in licence_of("p9_6")
    assert licence_of("mine") == "your data"


def test_a_card_tells_the_failures_of_its_own_weights(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    entry, _ = export(RunFolder(tmp_path / "run"), [], "1")
    wrong = {
        "kind": "called, not drawn",
        "index": 4,
        "area_cm2": 12.34,
        "mean_hu": -700.0,
        "lung_hu": -790.0,
        "dependent_percent": 80.0,
    }
    scan = {"case": "p9_6", "slices_in_scan": 39, "dice": 0.004, "slices": [wrong]}
    report = {"command": "c", "models": {"tiny": {"sha256": entry.sha256, "scans": [scan]}}}
    text = failure_section(entry, report)
    assert "| p9_6 | 0.004 | 5 of 39 | called, not drawn | 12.3 | -700 | -790 | 80% |" in text
    assert failure_section(entry, {"command": "c", "models": {}}) == ""
