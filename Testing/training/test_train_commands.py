"""Every command refuses in plain words what another command trains."""

from __future__ import annotations

import json
import logging
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


def test_who_wants_maps_of_another_run_gets_no_advice_on_training() -> None:
    with pytest.raises(InputError, match="'inf-net-lite' does not learn") as caught:
        options_of(load_config(_CONFIGS / "inf-net-lite.json"))
    assert "python -m" not in caught.value.hint
