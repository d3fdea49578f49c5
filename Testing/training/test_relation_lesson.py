"""Collaborative training: what each step learns from, exact resume, and the ablation's table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.registry import create_from_config
from Testing.support.resuming import assert_resumes_exactly
from Testing.support.tiny_volumes import tiny_config
from training.config import RelationConfig, TrainingConfig
from training.data.store import StoredCase
from training.loop import Trainer
from training.relation import RelationLesson
from training.relation_report import VARIANTS, read_runs, report_text, summarise
from training.run_folder import RunFolder
from training.splits import Split

_SPLIT = Split("tiny", ("a",), ("c",))
_DEVICE = torch.device("cpu")


def _config(recipe: SliceRecipe, relation: RelationConfig, steps: int = 3) -> TrainingConfig:
    model = ModelConfig("relation", options={"collaborative": bool(relation.general_sources)})
    base = tiny_config("infection", "relation", recipe, steps)
    # Batch normalisation makes two samples opposites, whose relations always agree.
    data = replace(base.data, batch_size=3)
    return replace(base, task="relation", model=model, relation=relation, data=data)


def _lesson(config: TrainingConfig, cases: list[StoredCase]) -> RelationLesson:
    general = cases[1:2] if config.relation and config.relation.general_sources else []
    return RelationLesson(config, cases[:1], general, cases[2:])


def _trainer(config: TrainingConfig, cases: list[StoredCase], out: Path) -> Trainer:
    run = RunFolder(out)
    run.open(config, _SPLIT, {case.key: case.digest for case in cases})
    fabric = Fabric(accelerator="cpu")
    return Trainer(config, _lesson(config, cases), run, fabric, pretrained=False)


def test_a_resumed_run_equals_an_uninterrupted_one(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    relation = RelationConfig(("other",), general_steps=1, ramp_steps=2)
    config = _config(recipe, relation)
    assert_resumes_exactly(lambda run: _trainer(config, cases, run), tmp_path)


def _gradients(
    recipe: SliceRecipe, cases: list[StoredCase], relation: RelationConfig, step: int
) -> tuple[float, set[str]]:
    torch.manual_seed(0)
    config = _config(recipe, relation)
    model = create_from_config(config.model).train()
    loss = _lesson(config, cases).loss(model, step, _DEVICE)
    Fabric(accelerator="cpu").backward(loss)
    learning = {
        name.split(".")[0]
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().max() > 0
    }
    return loss.item(), learning


def test_the_first_steps_teach_the_general_stream_alone(
    recipe: SliceRecipe, cases: list[StoredCase]
) -> None:
    relation = RelationConfig(("other",), general_steps=5)
    assert _gradients(recipe, cases, relation, 4)[1] == {"general", "general_decoder"}
    everything = {"target", "decoder", "general", "general_decoder"}
    assert _gradients(recipe, cases, relation, 5)[1] == everything


@pytest.mark.parametrize("kind", ["sample", "voxel"])
def test_the_relation_loss_grows_with_its_ramp(
    recipe: SliceRecipe, cases: list[StoredCase], kind: str
) -> None:
    def loss(weight: float, ramp_steps: int) -> float:
        relation = RelationConfig(("other",), relation=kind, weight=weight, ramp_steps=ramp_steps)
        return _gradients(recipe, cases, relation, 2)[0]

    bare, early, late = loss(0.0, 0), loss(50.0, 100), loss(50.0, 0)
    assert bare < early < late


def test_the_baseline_has_one_encoder_and_one_source(
    recipe: SliceRecipe, cases: list[StoredCase]
) -> None:
    assert _gradients(recipe, cases, RelationConfig(), 0)[1] == {"target", "decoder"}


def test_an_unknown_relation_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        RelationConfig(relation="between")
    assert caught.value.code == "training-config-invalid"


def _finished(
    folder: Path, recipe: SliceRecipe, relation: RelationConfig, split: str, dice: float
) -> Path:
    config = _config(recipe, relation, steps=1)
    config = replace(config, data=replace(config.data, split=split))
    run = RunFolder(folder)
    run.open(config, _SPLIT, {})
    run.append("validation", {"step": 1, "mean": dice, "p": dice, "q": dice - 0.02})
    return folder


def test_the_table_compares_the_same_folds_and_says_what_it_shows(
    recipe: SliceRecipe, tmp_path: Path
) -> None:
    variants = (
        RelationConfig(),
        RelationConfig(("other",), relation="none"),
        RelationConfig(("other",)),
    )
    runs = [
        _finished(tmp_path / f"{number}-{split}", recipe, relation, split, 0.5 + 0.1 * number)
        for number, relation in enumerate(variants)
        for split in ("fold-0", "fold-1")
    ]
    summary = summarise(read_runs(runs))
    assert summary[VARIANTS[2]]["gain"] == {"mean": 0.2, "low": 0.2, "high": 0.2}
    text = report_text({"command": "c", "steps": 1, "summary": summary})
    assert "is better than the single encoder" in text
    assert "| concatenation | 0.590 | 0.590 | 0.590 (0.580 to 0.600) |" in text
    with pytest.raises(InputError) as caught:
        read_runs(runs[:-1])
    assert caught.value.code == "ablation-unusable"
