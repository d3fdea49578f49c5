"""Weak training: lobes, candidates, scores, the loss, and exact resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import Lobe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.registry import create_from_config
from Testing.support.resuming import assert_resumes_exactly
from Testing.support.tiny_volumes import severity_config
from training.config import SeverityConfig, TrainingConfig
from training.data import lobes
from training.data.lobes import LobeCase, candidate_voxels, open_lobes
from training.data.volumes import find_volumes
from training.export_weights import export
from training.loop import Trainer
from training.run_folder import RunFolder
from training.severity import LobeSampler, SeverityLesson
from training.splits import Split

_SIZE = (16, 16, 16)
_SPLIT = Split("tiny", ("a", "b"), ("c",))


def _case(key: str, seed: int, scores: tuple[int, ...]) -> LobeCase:
    rng = np.random.default_rng(seed)
    shape = (len(scores), *_SIZE)
    inside = np.zeros(shape, dtype=bool)
    inside[:, 2:14, 2:14, 2:14] = True
    image = (rng.integers(0, 80, shape) * inside).astype(np.uint8)
    truth = np.zeros(shape, dtype=bool)
    for index, score in enumerate(scores):
        truth[index, 4 : 4 + 2 * score, 4:12, 4:12] = True
    image[truth] = 220
    everything = (slice(0, 16),) * 3
    names = tuple(Lobe)[: len(scores)]
    return LobeCase(
        key, names, scores, (everything,) * len(scores), image, inside, truth, truth, key
    )


@pytest.fixture
def lobe_cases() -> list[LobeCase]:
    return [_case("a", 1, (0, 1, 3)), _case("b", 2, (2, 0)), _case("c", 3, (3, 1))]


def _trainer(config: TrainingConfig, cases: list[LobeCase], out: Path) -> Trainer:
    run = RunFolder(out)
    run.open(config, _SPLIT, {case.key: case.digest for case in cases})
    lesson = SeverityLesson(config, cases[:2], cases[2:])
    return Trainer(config, lesson, run, Fabric(accelerator="cpu"), pretrained=False)


def test_a_resumed_run_equals_an_uninterrupted_one(
    lobe_cases: list[LobeCase], tmp_path: Path
) -> None:
    config = severity_config()
    assert_resumes_exactly(lambda run: _trainer(config, lobe_cases, run), tmp_path)
    tables = [RunFolder(tmp_path / name).read("validation") for name in ("whole", "parts")]
    assert tables[0] == tables[1]


def test_an_exported_map_is_no_slice_model(lobe_cases: list[LobeCase], tmp_path: Path) -> None:
    _trainer(severity_config(steps=1), lobe_cases, tmp_path / "run").run()
    entry, _ = export(RunFolder(tmp_path / "run"), [], "1")
    assert (entry.task, entry.family, dict(entry.recipe)) == ("severity", "dram", {})


@pytest.mark.parametrize("ours", [False, True])
def test_scores_alone_train_the_network(lobe_cases: list[LobeCase], ours: bool) -> None:
    torch.manual_seed(0)
    config, device = severity_config(ours=ours), torch.device("cpu")
    blind = [replace(case, truth=np.zeros_like(case.truth)) for case in lobe_cases]
    lesson = SeverityLesson(config, blind, [])
    model = create_from_config(config.model)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(12):
        optimiser.zero_grad()
        loss = lesson.loss(model.train(), step, device)
        Fabric(accelerator="cpu").backward(loss)
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-4:]) < 0.85 * np.mean(losses[1:4])
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_dense_crf_of_version_one_is_an_option(lobe_cases: list[LobeCase]) -> None:
    losses = []
    for weight in (0.0, 5.0):
        torch.manual_seed(0)
        config = severity_config(crf_weight=weight)
        model = create_from_config(config.model).eval()
        losses.append(SeverityLesson(config, lobe_cases, []).loss(model, 5, torch.device("cpu")))
    assert (losses[1] - losses[0]).item() > 1e-3


def test_every_score_is_drawn_equally_often(lobe_cases: list[LobeCase]) -> None:
    sampler = LobeSampler(lobe_cases, SeverityConfig(_SIZE), 200, seed=1)
    counts = np.bincount(sampler.draw(0).scores.numpy(), minlength=4)
    assert counts.min() > 30
    frequency = sampler.score_frequency
    assert frequency.sum() == pytest.approx(1.0)
    assert frequency[0] == pytest.approx(2 / 7)


def test_a_batch_depends_on_seed_and_step_only(lobe_cases: list[LobeCase]) -> None:
    samplers = [LobeSampler(lobe_cases, SeverityConfig(_SIZE), 4, seed=1) for _ in range(2)]
    first, second = (sampler.draw(7) for sampler in samplers)
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, samplers[0].draw(8).images)
    assert (first.images[first.inside == 0] == 0).all()


def test_candidates_are_the_dense_voxels_of_the_lobe() -> None:
    hu = np.full((4, 4, 4), -850, dtype=np.int16)
    hu[1:3] = -200
    lobe = np.ones(hu.shape, dtype=bool)
    lobe[2] = False
    found = candidate_voxels(hu, lobe)
    assert found[1].all()
    assert found.sum() == 16


def test_lobes_of_a_case_are_made_once_and_scored_by_the_table(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def halves(*_: object) -> NDArray[np.uint8]:
        calls.append("made")
        labels = np.zeros((10, 48, 56), dtype=np.uint8)
        labels[2:, 12:36, 10:24] = Lobe.RUL
        labels[2:, 12:36, 32:48] = Lobe.LUL
        return labels

    monkeypatch.setattr(lobes, "_engine_lobes", halves)
    files = find_volumes(tiny_data / "tiny")[:1]
    for _ in range(2):
        (case,) = open_lobes(files, SeverityConfig(_SIZE), tmp_path / "cache")
    assert calls == ["made"]
    assert case.lobes == (Lobe.RUL, Lobe.LUL)
    assert case.image.shape == (2, *_SIZE)
    assert case.scores[0] == 0
    assert case.scores[1] == 2
    assert not case.truth[0].any()
    assert (case.truth[1] & case.candidates[1]).sum() > 0.8 * case.truth[1].sum()
    assert case.image[1][case.truth[1]].mean() > case.image[1][case.inside[1]].mean() + 60
    assert (case.image[~case.inside] == 0).all()


def test_an_unknown_input_is_refused() -> None:
    with pytest.raises(InputError, match="tissue"):
        SeverityConfig(inputs="hearsay")


def test_section_and_task_go_together() -> None:
    values = severity_config().to_dict()
    assert TrainingConfig.from_dict(values) == severity_config()
    with pytest.raises(InputError) as caught:
        TrainingConfig.from_dict({**values, "task": "infection"})
    assert caught.value.code == "training-config-invalid"
