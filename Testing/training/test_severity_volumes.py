"""dRAM on whole CTs: back onto the grid, pseudo labels within the score, the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import Lobe
from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.nets.outputs import ModelOutput
from Testing.support.tiny_volumes import SHAPE_ZYX, severity_config, tissue_config
from training.config import TrainingConfig
from training.data import lobes
from training.data.lobes import LobeCase, open_lobes
from training.data.store import wanted_volumes
from training.data.volumes import find_volumes, load_volume
from training.run_folder import RunFolder
from training.severity_text import comparison_text
from training.severity_volumes import dense_tissue, final_mask, main, paste, within_score
from training.tasks import dice
from training.train import train

_SPLITS = {
    "patients": {"a": ["a"], "b": ["b"], "c": ["c"]},
    "splits": {"tiny": {"validation": ["c"]}},
}


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """Two boxes as lobes, instead of the engine's."""
    labels = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    labels[2:, 12:36, 10:24] = Lobe.RUL
    labels[2:, 12:36, 32:48] = Lobe.LUL
    monkeypatch.setattr(lobes, "_engine_lobes", lambda *_: labels)
    return labels


@pytest.fixture
def case(tiny_data: Path, tmp_path: Path, halves: NDArray[np.uint8]) -> LobeCase:
    del halves  # it has replaced the engine's lobes
    config = severity_config().severity
    assert config is not None
    (found,) = open_lobes(find_volumes(tiny_data / "tiny")[:1], config, tmp_path / "cache")
    return found


def test_maps_return_to_where_they_were_cut_out(case: LobeCase, halves: NDArray[np.uint8]) -> None:
    maps = np.ones(case.image.shape, dtype=np.float32)
    maps[1] = 0.25
    pasted = paste(maps, case, halves)
    assert (pasted[halves == Lobe.RUL] == 1.0).all()
    assert (pasted[halves == Lobe.LUL] == 0.25).all()
    assert (pasted[halves == 0] == 0.0).all()


def test_dense_tissue_covers_the_lesion(
    case: LobeCase, halves: NDArray[np.uint8], tiny_data: Path
) -> None:
    truth = load_volume(find_volumes(tiny_data / "tiny")[0]).infection == 1
    found = dense_tissue(case, halves)
    assert (found & truth).sum() > 0.75 * truth.sum()
    assert not found[halves == 0].any()


@pytest.mark.parametrize(("score", "expected"), [(0, 0), (1, 5), (2, 20), (3, 25)])
def test_pseudo_labels_keep_to_the_score(score: int, expected: int) -> None:
    """The map says 20 of 100 voxels: too many for score 1, too few for score 3."""
    probability = np.linspace(0.0, 1.0, 100, dtype=np.float32)
    dense = probability > 0.5
    probability[dense] = np.linspace(0.3, 0.5, 50)
    chosen = within_score(probability, dense, score)
    assert chosen.sum() == expected
    assert not chosen[~dense].any()
    assert expected == 0 or chosen[-expected:].all()


def test_the_final_network_is_cut_at_one_half_within_the_lobes(
    tiny_data: Path, halves: NDArray[np.uint8], recipe: SliceRecipe
) -> None:
    volume = load_volume(find_volumes(tiny_data / "tiny")[0])

    class Brightness(torch.nn.Module):
        """Says lesion where the middle slice is above -500 HU."""

        def forward(self, images: torch.Tensor) -> ModelOutput:
            level = images[:, 1:2] * 0.226 + 0.449
            return ModelOutput(level - 0.5, None, {})

    found = final_mask(Brightness(), recipe, volume, halves)
    expected = (volume.ct.hu > -500) & (halves > 0)
    assert dice(found, expected) > 0.95
    assert not found[halves == 0].any()


@pytest.mark.parametrize("make_config", [severity_config, tissue_config])
def test_a_run_is_scored_and_teaches_the_final_network(
    tiny_data: Path,
    tmp_path: Path,
    halves: NDArray[np.uint8],
    make_config: Callable[[int], TrainingConfig],
) -> None:
    split_file, cache = tmp_path / "splits.json", tmp_path / "cache"
    split_file.write_text(json.dumps(_SPLITS), encoding="utf-8")
    config = make_config(1)
    data = replace(config.data, split="tiny", split_file=str(split_file))
    assert train(replace(config, data=data), tiny_data, cache, tmp_path / "run", "cpu")
    assert RunFolder(tmp_path / "run").checkpoint.exists()
    common = ["--data", str(tiny_data), "--cache", str(cache)]
    report = tmp_path / "report.json"
    assert main(["evaluate", str(tmp_path / "run"), "--json", str(report), *common]) == 0
    (scores,) = json.loads(report.read_text(encoding="utf-8"))
    assert set(scores["cases"]) == {"c"}
    assert scores["cases"]["c"]["density"]["iou"] > 0.1
    assert "| c | tiny | " in report.with_suffix(".md").read_text(encoding="utf-8")
    out = tmp_path / "pseudo"
    assert main(["pseudo", str(tmp_path / "run"), "--out", str(out), *common]) == 0
    taught, watched = (
        [
            load_volume(wanted_volumes(folder.parent, (folder.name,), (key,))[0]).infection
            for folder in (out, tiny_data / "tiny")
        ]
        for key in ("a", "c")
    )
    assert np.array_equal(*watched)
    assert not np.array_equal(*taught)
    assert not taught[0][halves == Lobe.RUL].any()
    assert taught[0][halves == Lobe.LUL].any()


def test_the_readme_says_where_dense_tissue_alone_does_better() -> None:
    def scores(iou: float | None, found_ml: float) -> dict[str, Any]:
        rest = {"dice": iou, "same_scores": 1.0, "score_error": 0.0, "expert_ml": 0.4}
        return {"iou": iou, "infected_ml": found_ml, **rest}

    def case(dram: float | None, findings: float | None, density: float | None) -> dict[str, Any]:
        return {
            "dram": scores(dram, 129.0),
            "findings": scores(findings, 84.0),
            "density": scores(density, 900.0),
        }

    first = {"a": case(0.5, 0.3, 0.4), "b": case(0.2, 0.2, 0.6)}
    text = comparison_text([{"cases": first}, {"cases": {"c": case(None, None, None)}}])
    assert "ahead of it on 1 of 2 scans with disease, as users get it on 0" in text
    assert "furthest behind on `b`, 0.200 against 0.600" in text
    assert "`c`, where experts drew 0.4 ml, the map calls 129 ml" in text
    assert "leaves 84." in text
    assert "overlapping" in text
