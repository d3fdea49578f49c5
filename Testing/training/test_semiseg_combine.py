"""Maps averaged and sharpened: what may change, and what may not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from CovidLesionSegLib.errors import InputError
from Testing.support.tiny_slices import LABELLED, UNLABELLED, write_slices
from training.semiseg.combine import main as combine
from training.semiseg.curriculum import open_pseudo
from training.semiseg.maps import read_map, write_map
from training.semiseg.sharpness import TEMPERATURES, choose, choose_temperature, sharpened
from training.semiseg.slices import load_folds
from training.semiseg.table import own_rows

_LEVELS = np.arange(256, dtype=np.uint8)


def _maps(folder: Path, level: int, keys: tuple[str, ...], **about: object) -> Path:
    for key in keys:
        write_map(np.full((44, 40), level, dtype=np.uint8), folder, key)
    note = {"run": folder.parent.name, "steps": 7, **about}
    (folder / "maps.json").write_text(json.dumps(note), encoding="utf-8")
    return folder


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_sharpening_moves_no_pixel_across_a_half_and_keeps_their_order(temperature: float) -> None:
    sharp = sharpened(_LEVELS, temperature)
    assert np.array_equal(sharp >= 128, _LEVELS >= 128)
    assert (np.diff(sharp.astype(int)) >= 0).all()
    assert (sharp[0], sharp[255]) == (0, 255)


def test_a_temperature_divides_the_logits() -> None:
    assert np.array_equal(sharpened(_LEVELS, 1.0), _LEVELS)
    probability = 180 / 255
    odds = (probability / (1 - probability)) ** 2
    assert sharpened(_LEVELS, 0.5)[180] == round(255 * odds / (1 + odds))


def test_the_softest_temperature_that_is_good_enough_is_chosen() -> None:
    truth = np.zeros((32, 32), dtype=bool)
    truth[8:24, 8:24] = True
    soft = np.where(truth, 180, 70).astype(np.uint8)
    soft[0, 0], soft[16, 16] = 0, 255  # or the protocol would stretch two levels to 0 and 255
    binary = np.where(truth, 255, 0).astype(np.uint8)
    assert choose_temperature([binary], [truth])[0] == 1.0
    temperature, scores = choose_temperature([soft], [truth])
    assert temperature < 1.0
    assert scores[temperature] >= max(scores.values()) - 0.005
    assert all(
        score < max(scores.values()) - 0.005 for t, score in scores.items() if t > temperature
    )


def test_a_run_that_has_seen_the_fold_chooses_nothing(tmp_path: Path) -> None:
    maps = _maps(tmp_path / "run" / "labelled", 9, load_folds()[0], fold=None)
    with pytest.raises(InputError) as caught:
        choose(maps, 0, tmp_path)
    assert caught.value.code == "training-data-mismatch"


def test_a_consensus_is_the_mean_and_has_a_row(tmp_path: Path) -> None:
    keys = ("1", "2")
    one = _maps(tmp_path / "runs" / "one" / "test", 200, keys)
    two = _maps(tmp_path / "runs" / "two" / "test", 240, keys)
    report = tmp_path / "sharp.json"
    report.write_text(json.dumps({"temperature": 0.5}), encoding="utf-8")
    out = tmp_path / "runs" / "both" / "test"
    assert combine([str(one), str(two), "--out", str(out), "--sharpen", str(report)]) == 0
    assert np.unique(read_map(out, "2")) == sharpened(np.array([220], dtype=np.uint8), 0.5)
    # The table sharpens all rows alike, so what was sharpened before has none.
    assert [row.label for row in own_rows(tmp_path / "runs")] == ["one, 7 steps", "two, 7 steps"]
    assert combine([str(one), str(two), "--out", str(out)]) == 0
    assert own_rows(tmp_path / "runs")[0].label == "consensus of one, two"


def test_pseudo_labels_of_several_networks_can_be_trained_on(tmp_path: Path) -> None:
    write_slices(tmp_path / "data")
    one = _maps(tmp_path / "one" / "maps", 40, UNLABELLED)
    two = _maps(tmp_path / "two" / "maps", 60, UNLABELLED)
    assert combine([str(one), str(two), "--labels", "--out", str(tmp_path / "labels")]) == 0
    slices = open_pseudo(tmp_path / "labels", tmp_path / "data", 64, tmp_path / "cache")
    assert sorted(slices.keys) == sorted(UNLABELLED)
    assert np.abs(slices.masks.astype(int) - 50).max() <= 1
    assert not slices.edges.any()


def test_maps_of_different_slices_are_not_averaged(tmp_path: Path) -> None:
    one = _maps(tmp_path / "one" / "maps", 40, LABELLED)
    two = _maps(tmp_path / "two" / "maps", 40, LABELLED[:-1])
    assert combine([str(one), str(two), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
