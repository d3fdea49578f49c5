"""Collaborative training: what each step learns from, exact resume, and the ablation's table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.registry import create_from_config
from CovidLesionSegLib.nets.relation import RelationNet
from CovidLesionSegLib.resources import resources_dir
from CovidLesionSegLib.weights.loading import load_weights_file
from Testing.support.resuming import assert_resumes_exactly
from Testing.support.tiny_volumes import tiny_config
from training.config import RelationConfig, TrainingConfig, load_config
from training.data.store import StoredCase
from training.lessons import open_curriculum
from training.loop import Trainer, initial_network
from training.optimisation import image_encoders
from training.origin import general_cases
from training.relation import RelationLesson
from training.relation_report import VARIANTS, read_runs, report_text, summarise, variant_of
from training.run_folder import RunFolder
from training.splits import Split, load_split, split_of

_SPLIT = Split("tiny", ("a",), ("c",))
_DEVICE = torch.device("cpu")
_CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"


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


@pytest.mark.parametrize(("asked", "drawn"), [(0, 3), (2, 2)])
def test_the_general_batch_may_be_smaller(
    recipe: SliceRecipe,
    cases: list[StoredCase],
    monkeypatch: pytest.MonkeyPatch,
    asked: int,
    drawn: int,
) -> None:
    sizes: dict[str, int] = {}

    def watch(name: str) -> None:
        real = getattr(RelationNet, name)

        def watched(model: RelationNet, images: Tensor) -> object:
            sizes[name] = len(images)
            return real(model, images)

        monkeypatch.setattr(RelationNet, name, watched)

    watch("forward_general")
    watch("forward_with_features")
    _gradients(recipe, cases, RelationConfig(("other",), general_batch_size=asked), 0)
    assert sizes == {"forward_general": drawn, "forward_with_features": 3}


def test_cases_that_the_split_leaves_out_teach_the_general_encoder(
    recipe: SliceRecipe, tiny_data: Path, tmp_path: Path
) -> None:
    split_file = tmp_path / "split.json"
    patients = {key: [key] for key in ("a", "c")}
    splits = {"bundled": {"validation": ["c"]}}
    split_file.write_text(json.dumps({"patients": patients, "splits": splits}))
    config = _config(recipe, RelationConfig(("tiny",)))
    config = replace(config, data=replace(config.data, split_file=str(split_file)))
    split = split_of(config.data)
    taught = open_curriculum(config, split, tiny_data, tmp_path / "cache").digests
    assert list(taught) == ["a", "c", "b"]
    everything = Split("whole", ("a", "b"), ("c",))
    with pytest.raises(InputError) as caught:
        open_curriculum(config, everything, tiny_data, tmp_path / "cache")
    assert caught.value.code == "training-general-empty"


def test_the_shipped_split_holds_out_what_all_bundled_models_do() -> None:
    config = load_config(_CONFIGS / "relation-lite.json")
    bundled, split = load_split("bundled"), split_of(config.data)
    assert split.validation == bundled.validation
    assert set(split.training) < set(bundled.training)


def test_all_variants_differ_in_nothing_but_the_method() -> None:
    names = ("relation-lite", "relation-lite-single", "relation-lite-concatenation")
    configs = [load_config(_CONFIGS / f"{name}.json") for name in names]
    same = [(c.recipe, c.data, c.augmentation, c.optimisation) for c in configs]
    assert same[0] == same[1] == same[2]
    assert [variant_of(config) for config in configs] == [VARIANTS[i] for i in (2, 0, 1)]


def test_both_encoders_start_from_that_of_another_family(recipe: SliceRecipe) -> None:
    options = {"general_levels": 4}
    config = replace(
        _config(recipe, RelationConfig(("other",))), model=ModelConfig("relation", options=options)
    )
    path = resources_dir() / "Weights" / "inf-net-lite.safetensors"
    model = initial_network(config, pretrained=False, weights=path)
    (trained,) = image_encoders(load_weights_file(path)[0])
    for encoder in image_encoders(model):
        for name, value in encoder.state_dict().items():
            assert torch.equal(value, trained.state_dict()[name])


def test_an_unknown_relation_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        RelationConfig(relation="between")
    assert caught.value.code == "training-config-invalid"


def test_the_cases_of_the_general_encoder_are_named(recipe: SliceRecipe, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    config = _config(recipe, RelationConfig(("other",)))
    run.open(config, _SPLIT, {"a": "1", "c": "2", "p": "3", "q": "4"})
    assert general_cases(run, config, _SPLIT) == ["p", "q"]
    alone = tiny_config("infection", "inf-net", recipe)
    assert general_cases(run, alone, _SPLIT) == []


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
    text = report_text({"command": "c", "steps": 1, "healthy": [], "summary": summary})
    assert "is better than the single encoder" in text
    assert "| concatenation | 0.590 | 0.590 | 0.590 (0.580 to 0.600) |" in text
    single = read_runs([run for run in runs if run.name.endswith("fold-0")])
    without = summarise(single, ["q"])
    text = report_text({"command": "c", "steps": 1, "healthy": ["q"], "summary": without})
    assert "without the nearly healthy q, bare" in text
    assert "| variant | p | Dice" in text
    assert "| concatenation | 0.600 | 0.600" in text
    for healthy in (["p", "q"], ["x"]):
        with pytest.raises(InputError, match=r"not all were tested"):
            summarise(single, healthy)
    with pytest.raises(InputError) as caught:
        read_runs(runs[:-1])
    assert caught.value.code == "ablation-unusable"
