"""The training loop: exact resume, what it writes, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.outputs import ModelOutput
from Testing.support.tiny_volumes import tiny_config, tiny_trainer
from training.config import OptimisationConfig, TrainingConfig, load_config
from training.data.store import StoredCase
from training.ema import WeightAverage
from training.loop import Trainer
from training.objectives import lesion_rim, lung_loss
from training.optimisation import learning_rate_factor
from training.run_folder import RunFolder, sha256_of
from training.splits import Split


@pytest.mark.parametrize(("task", "family"), [("lungs", "lung-unet"), ("infection", "inf-net")])
def test_a_resumed_run_equals_an_uninterrupted_one(
    task: str, family: str, recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config(task, family, recipe, steps=4)
    whole = tiny_trainer(config, cases, tmp_path / "whole")
    assert whole.run()
    stopped = tiny_trainer(config, cases, tmp_path / "parts")
    assert not stopped.run(lambda step: step == 3)
    resumed = tiny_trainer(config, cases, tmp_path / "parts")
    assert resumed.state.step == 3
    assert resumed.run()
    for module in ("model", "average"):
        expected = _state(whole, module)
        found = _state(resumed, module)
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    tables = [RunFolder(tmp_path / name).read("validation") for name in ("whole", "parts")]
    assert tables[0] == tables[1]


def _state(trainer: Trainer, module: str) -> dict[str, torch.Tensor]:
    state = trainer.state
    found = state.average.module if module == "average" else state.model
    return dict(found.state_dict())


def test_a_run_leaves_its_records(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=2)
    tiny_trainer(config, cases, tmp_path / "run").run()
    run = RunFolder(tmp_path / "run")
    assert load_config(run.config) == config
    assert [row["step"] for row in run.read("training")] == [2]
    assert set(run.read("validation")[0]) == {"step", "mean", "c"}
    assert (run.path / "curves.png").stat().st_size > 1000
    provenance = (run.path / "provenance.json").read_text(encoding="utf-8")
    assert all(case.digest in provenance for case in cases)


def test_a_run_without_validation_draws_its_loss(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=1)
    tiny_trainer(config, cases[:2], tmp_path / "run").run()
    assert RunFolder(tmp_path / "run").read("validation") == []
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000


def test_a_run_is_not_continued_with_another_config(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    longer = replace(config, optimisation=replace(config.optimisation, steps=2))
    assert tiny_trainer(longer, cases, tmp_path / "run").run()
    other = replace(config, optimisation=replace(config.optimisation, learning_rate=1.0))
    with pytest.raises(InputError) as caught:
        tiny_trainer(other, cases, tmp_path / "run")
    assert caught.value.code == "training-run-differs"


@pytest.mark.parametrize("changed", ["file", "case", "weights"])
def test_a_run_is_not_continued_with_other_data_or_from_other_weights(
    changed: str, recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    run, split = RunFolder(tmp_path / "run"), Split("tiny", ("a", "b"), ("c",))
    digests = {case.key: case.digest for case in cases}
    before = run.provenance.read_text(encoding="utf-8")
    start = tmp_path / "start.safetensors"
    start.write_bytes(b"weights")
    if changed == "file":
        arguments, named = (split, {**digests, "b": "0" * 64}, None), "other files of b"
    elif changed == "case":
        arguments, named = (replace(split, training=("a",)), digests, None), "other training cases"
    else:
        arguments, named = (split, digests, start), "other weights"
    with pytest.raises(InputError, match=named) as caught:
        run.open(config, *arguments)
    assert caught.value.code == "training-run-differs"
    assert run.provenance.read_text(encoding="utf-8") == before


def test_a_continued_run_remembers_what_it_was_started_from(
    recipe: SliceRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe)
    run, split = RunFolder(tmp_path / "run"), Split("tiny", ("a", "b"), ("c",))
    start = tmp_path / "start.safetensors"
    start.write_bytes(b"weights")
    run.open(config, split, {"a": "1"}, start)
    first = json.loads(run.provenance.read_text(encoding="utf-8"))
    assert first["initial_weights_sha256"] == sha256_of(start)
    run.checkpoint.touch()
    for code in ("later", "later", "latest"):
        monkeypatch.setattr("training.run_folder._code_version", lambda code=code: code)
        run.open(config, split, {"a": "1"})
    last = json.loads(run.provenance.read_text(encoding="utf-8"))
    assert [part["code"] for part in last.pop("continued_with")] == ["later", "latest"]
    assert last == first


def test_configs_in_the_repository_are_complete() -> None:
    folder = Path(__file__).resolve().parents[2] / "training" / "configs"
    for path in folder.glob("*.json"):
        config = load_config(path)
        assert config.name == path.stem
        assert TrainingConfig.from_dict(config.to_dict()) == config
        assert {"licence", "training_data", "citation"} <= set(config.card)
        assert config.data.crop_size % config.recipe.size_multiple == 0


def test_a_misspelt_config_entry_is_refused() -> None:
    values = tiny_config("lungs", "lung-unet", SliceRecipe()).to_dict()
    values["data"]["batchsize"] = 3
    with pytest.raises(InputError) as caught:
        TrainingConfig.from_dict(values)
    assert "batchsize" in caught.value.message


def test_learning_rate_warms_up_holds_and_falls_to_zero() -> None:
    config = OptimisationConfig(steps=100, warmup_steps=10, hold_share=0.5)
    factors = [learning_rate_factor(step, config) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10:50] == [1.0] * 40
    assert factors[75] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)


def test_average_follows_quickly_at_first_and_slowly_later() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    average = WeightAverage(layer, 0.99)
    torch.nn.init.ones_(layer.weight)
    average.update(layer, 1)
    early = average.module.state_dict()["weight"].item()
    assert early == pytest.approx(1 - 2 / 11)
    average.update(layer, 10_000)
    assert average.module.state_dict()["weight"].item() == pytest.approx(early + 0.01 * (1 - early))


def test_lung_loss_ignores_what_is_not_labelled() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(1, 3, 8, 8))).float().requires_grad_()
    labels = torch.zeros(1, 3, 8, 8)
    labels[:, 0, :4] = 1
    labels[:, 2, :, 4:] = 1
    loss = lung_loss(ModelOutput(logits, None, {}), labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[..., 4:].abs().max() == 0
    assert (gradient[..., :4].abs().sum(dim=1) > 0).all()


def test_lesion_rim_is_one_pixel_inside_and_one_outside() -> None:
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 3:6, 3:6] = 1
    rim = lesion_rim(mask)
    expected = torch.zeros(1, 1, 9, 9)
    expected[..., 2:7, 2:7] = 1
    expected[..., 4, 4] = 0
    assert torch.equal(rim, expected)
    assert lesion_rim(torch.zeros(1, 1, 9, 9)).max() == 0
