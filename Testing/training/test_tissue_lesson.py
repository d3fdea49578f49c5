"""Weak training from blocks: what is drawn, what is learnt, and what is kept on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from CovidLesionSegLib.engine.models import LUNG_MODEL
from CovidLesionSegLib.engine.result import Lobe
from CovidLesionSegLib.engine.tissue import CHANNELS
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.registry import create_from_config
from CovidLesionSegLib.weights.store import default_store
from Testing.support.resuming import assert_resumes_exactly
from Testing.support.tiny_volumes import SHAPE_ZYX, tissue_config
from training.config import SeverityConfig
from training.data import lobe_version, lobes
from training.data.lobe_version import code_digest
from training.data.lobes import open_lobes
from training.data.tissue_cases import TissueCase, open_tissue
from training.data.volumes import find_volumes
from training.loop import Trainer
from training.run_folder import RunFolder
from training.splits import Split
from training.tissue_lesson import TissueLesson

_BLOCKS = 300
_SHARES = (0.0, 0.003, 0.03, 0.15, 0.4)


def _case(key: str, seed: int) -> TissueCase:
    """Lobes of which one channel tells the lesions; the others are noise."""
    rng = np.random.default_rng(seed)
    count = len(_SHARES) * _BLOCKS
    places = np.repeat(np.arange(len(_SHARES)), _BLOCKS).astype(np.uint8)
    truth = rng.random(count) < np.array(_SHARES)[places]
    tissue = rng.normal(0.0, 0.4, (len(CHANNELS), count)).astype(np.float32)
    tissue[9] += 3.0 * truth
    return TissueCase(key, (0, 0, 1, 2, 3), places, tissue, truth, key)


@pytest.fixture
def cases() -> list[TissueCase]:
    return [_case(key, seed) for seed, key in enumerate("abc")]


def test_scores_alone_teach_which_channel_tells_lesions(cases: list[TissueCase]) -> None:
    torch.manual_seed(0)
    config, device = tissue_config(), torch.device("cpu")
    blind = [replace(case, truth=np.zeros_like(case.truth)) for case in cases[:2]]
    lesson = TissueLesson(config, blind, cases[2:])
    model = create_from_config(config.model)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-2)
    before = lesson.validate(model, device)["c"]
    for step in range(80):
        optimiser.zero_grad()
        Fabric(accelerator="cpu").backward(lesson.loss(model, step, device))
        optimiser.step()
    assert lesson.validate(model, device)["c"] > max(0.8, before)


def test_a_step_depends_on_seed_and_step_only(cases: list[TissueCase]) -> None:
    config, device = tissue_config(), torch.device("cpu")
    model = create_from_config(config.model)
    first, second = (TissueLesson(config, cases, []) for _ in range(2))
    assert first.loss(model, 3, device).item() == second.loss(model, 3, device).item()
    assert first.loss(model, 3, device).item() != first.loss(model, 4, device).item()


def test_a_resumed_run_equals_an_uninterrupted_one(cases: list[TissueCase], tmp_path: Path) -> None:
    config = tissue_config(steps=3)

    def trainer(out: Path) -> Trainer:
        run = RunFolder(out)
        run.open(config, Split("tiny", ("a", "b"), ("c",)), {case.key: "" for case in cases})
        lesson = TissueLesson(config, cases[:2], cases[2:])
        return Trainer(config, lesson, run, Fabric(accelerator="cpu"), pretrained=False)

    assert_resumes_exactly(trainer, tmp_path)


def _labels() -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    labels[2:, 12:36, 10:24] = Lobe.RUL
    labels[2:, 12:36, 32:48] = Lobe.LUL
    return labels


def test_the_blocks_of_a_case_are_made_once(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobes, "_engine_lobes", lambda *_: _labels())
    files = find_volumes(tiny_data / "tiny")[:1]
    (made,) = open_tissue(files, tmp_path)
    monkeypatch.delattr("training.data.tissue_cases.load_volume")
    (read,) = open_tissue(files, tmp_path)
    assert np.array_equal(made.tissue, read.tissue)
    assert made.scores == read.scores == (0, 2)
    assert set(made.lobes) == {0, 1}
    assert not made.truth[made.lobes == 0].any()
    assert made.truth[made.lobes == 1].mean() > 0.04
    assert made.tissue.shape == (len(CHANNELS), made.truth.size)


@pytest.mark.parametrize("changed", ["lung network", "engine"])
def test_another_lung_network_or_engine_makes_lobes_and_all_of_them_anew(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Lobes once stayed in the cache when the lung network changed, and with them a model."""
    files = find_volumes(tiny_data / "tiny")[:1]
    config = SeverityConfig(size_zyx=(8, 8, 8))
    found = _labels()
    monkeypatch.setattr(lobes, "_engine_lobes", lambda *_: found)
    before = (open_lobes(files, config, tmp_path)[0], open_tissue(files, tmp_path)[0])
    found = np.where(_labels() == Lobe.LUL, np.uint8(Lobe.LLL), _labels())
    found[2:4] = 0
    kept = (open_lobes(files, config, tmp_path)[0], open_tissue(files, tmp_path)[0])
    assert kept[0].lobes == before[0].lobes
    assert np.array_equal(kept[1].tissue, before[1].tissue)
    if changed == "engine":
        monkeypatch.setattr(lobe_version, "code_digest", lambda _: "other code")
    else:
        entry = replace(default_store().find(LUNG_MODEL).entry, sha256="0" * 64)
        other = SimpleNamespace(find=lambda _: SimpleNamespace(entry=entry))
        monkeypatch.setattr(lobe_version, "default_store", lambda: other)
    assert open_lobes(files, config, tmp_path)[0].lobes == (Lobe.RUL, Lobe.LLL)
    assert open_tissue(files, tmp_path)[0].tissue.shape[1] < before[1].tissue.shape[1]


def test_every_module_counts_as_the_code_that_finds_lobes(tmp_path: Path) -> None:
    (tmp_path / "lobes.py").write_text("a = 1\n", encoding="utf-8")
    first = code_digest(tmp_path)
    assert code_digest(tmp_path) == first
    (tmp_path / "lungs.py").write_text("", encoding="utf-8")
    second = code_digest(tmp_path)
    (tmp_path / "lobes.py").write_text("a = 2\n", encoding="utf-8")
    assert len({first, second, code_digest(tmp_path)}) == 3


def test_a_case_without_lobes_is_refused(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobes, "_engine_lobes", lambda *_: np.zeros(SHAPE_ZYX, dtype=np.uint8))
    with pytest.raises(InputError) as caught:
        open_tissue(find_volumes(tiny_data / "tiny")[:1], tmp_path)
    assert caught.value.code == "training-case-without-lobes"
