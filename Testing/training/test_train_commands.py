"""Every command refuses in plain words what another command trains."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from CovidLesionSegLib.errors import InputError
from training import train
from training.config import load_config
from training.lesion_classes import train as class_train
from training.semiseg import train as semiseg_train
from training.semiseg.batches import options_of

_CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
_REPORTS = _CONFIGS.parent / "reports"
_TRAIN, _CLASSES, _SEMISEG = train.main, class_train.main, semiseg_train.main
_HEAD = "python -m training.lesion_classes.head"


@pytest.mark.parametrize(
    ("command", "config", "hint"),
    [
        (_TRAIN, "density-classes-lite", _HEAD),
        (_CLASSES, "density-classes-lite", _HEAD),
        (_SEMISEG, "density-classes-lite", _HEAD),
        (_TRAIN, "lesion-classes-lite", "python -m training.lesion_classes.train"),
        (_CLASSES, "inf-net-lite", "python -m training.train"),
        (_CLASSES, "semiseg/inf-net-lite", "python -m training.semiseg.train"),
        (_CLASSES, "semiseg/multi-class-lite", "python -m training.semiseg.train"),
        (_SEMISEG, "lesion-classes-lite", "python -m training.lesion_classes.train"),
        (_SEMISEG, "dram-lite", "python -m training.train"),
    ],
)
def test_a_configuration_of_another_command_is_refused(
    command: Callable[[list[str]], int],
    config: str,
    hint: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, run = _CONFIGS / f"{config}.json", tmp_path / "run"
    places = ["--data", str(tmp_path), "--cache", str(tmp_path), "--out", str(run)]
    with caplog.at_level(logging.ERROR, "training"):
        assert command([str(path), *places, "--devices", "cpu"]) == 2
    name = load_config(path).name
    assert f"The configuration {name!r} is not for this command. Use {hint}." in caplog.text
    assert not (run / "config.json").exists()


@pytest.mark.parametrize("path", sorted(_CONFIGS.rglob("*.json")), ids=lambda path: path.stem)
def test_every_configuration_names_a_command_that_exists(path: Path, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    config = load_config(path)
    module = config.command.removeprefix("python -m ").replace(".", "/")
    assert (root / f"{module}.py").is_file()
    # The config of a run, with every default written out, is for the same command.
    written = tmp_path / "config.json"
    written.write_text(json.dumps(config.to_dict()))
    assert load_config(written).command == config.command


@pytest.mark.parametrize("name", ["README.md", "semiseg/README.md"])
def test_the_commands_name_configurations_that_exist(name: str) -> None:
    root = _CONFIGS.parents[1]
    text = (root / "training" / name).read_text(encoding="utf-8")
    named = set(re.findall(r"training/configs/[\w/-]+\.json", text))
    assert named
    assert [path for path in sorted(named) if not (root / path).is_file()] == []


def test_the_lung_network_is_made_in_two_parts_that_differ_as_told() -> None:
    first, second = (load_config(_CONFIGS / f"lung-unet-lite{part}.json") for part in ("-v1", ""))
    assert (first.model, first.recipe) == (second.model, second.recipe)
    assert (first.augmentation.consolidation, second.augmentation.consolidation) == (0.0, 0.5)
    assert (first.optimisation.steps, second.optimisation.steps) == (900, 300)
    text = (_CONFIGS.parent / "README.md").read_text(encoding="utf-8")
    assert "--weights runs/lung-v1/Weights/lung-unet-lite-v1.safetensors" in text


def test_the_measured_sharpness_is_that_of_a_committed_configuration() -> None:
    config = load_config(_CONFIGS / "semiseg" / "inf-net-lite-sharpness.json")
    for report in _REPORTS.glob("semiseg-sharpness*.json"):
        maps = json.loads(report.read_text(encoding="utf-8"))["maps"]
        assert (maps["steps"], maps["fold"]) == (
            config.optimisation.steps,
            options_of(config).fold,
        )


def test_who_wants_maps_of_another_run_gets_no_advice_on_training() -> None:
    with pytest.raises(InputError, match="'inf-net-lite' does not learn") as caught:
        options_of(load_config(_CONFIGS / "inf-net-lite.json"))
    assert "python -m" not in caught.value.hint
