"""What a person may get wrong at the commands is told in words, and leaves nothing behind."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from Testing.support.tiny_volumes import tiny_config
from training import evaluate, export_weights, train
from training.config import DataConfig, TrainingConfig
from training.data.sampling import SliceSampler
from training.data.store import StoredCase
from training.run_folder import start_file
from training.semiseg import combine, sharpness


@pytest.mark.parametrize(
    ("section", "values", "reason"),
    [
        ("data", {"batch_size": 0}, "batch_size is 0, and at least 1"),
        ("data", {"batch_size": True}, "batch_size is True"),
        ("data", {"crop_size": 100}, "no multiple of 32"),
        ("data", {"foreground_share": 1.5}, "foreground_share is 1.5, and not within"),
        ("data", {"sources": "ward"}, "sources is 'ward'"),
        ("data", {"sources": [3]}, "sources is"),
        ("augmentation", {"flip_x": 2}, "flip_x is 2"),
        ("augmentation", {"scale": [1.2, 0.8]}, "no range"),
        ("optimisation", {"steps": "10"}, "steps is '10'"),
        ("optimisation", {"steps": 0}, "steps is 0"),
        ("optimisation", {"steps": 1.5}, "steps is 1.5"),
        ("optimisation", {"validate_every": 0}, "validate_every is 0"),
        ("optimisation", [], "no section"),
    ],
)
def test_a_value_that_can_not_be_is_refused(section: str, values: Any, reason: str) -> None:
    config = tiny_config("infection", "inf-net", SliceRecipe()).to_dict()
    changed = {**config[section], **values} if isinstance(values, dict) else values
    with pytest.raises(InputError, match=reason) as caught:
        TrainingConfig.from_dict({**config, section: changed})
    assert caught.value.code == "training-config-invalid"


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """Run a command that has to fail with the code of a user's error; returns what it said."""

    def run(command: Callable[[list[str]], int], *arguments: object) -> str:
        with caplog.at_level(logging.ERROR, "training"):
            assert command([str(argument) for argument in arguments]) == 2
        return caplog.text

    return run


def _config(folder: Path) -> Path:
    split = folder / "split.json"
    content = {
        "patients": {"P1": ["a", "b"], "P2": ["c"]},
        "splits": {"ours": {"validation": ["P2"]}},
    }
    split.write_text(json.dumps(content), encoding="utf-8")
    config = tiny_config("lungs", "lung-unet", SliceRecipe(pixel_mm=6.0, size_multiple=32))
    data = replace(config.data, split="ours", split_file=str(split))
    path = folder / "config.json"
    path.write_text(json.dumps(replace(config, data=data).to_dict()), encoding="utf-8")
    return path


@pytest.mark.parametrize("start", ["absent.safetensors", "empty-run"])
def test_weights_to_start_from_have_to_be_there(
    start: str, tiny_data: Path, told: Callable[..., str]
) -> None:
    (tiny_data / "empty-run").mkdir()
    places = ("--data", tiny_data, "--out", tiny_data / "run", "--cache", tiny_data / "cache")
    said = told(train.main, _config(tiny_data), *places, "--weights", tiny_data / start)
    assert "There are no weights in" in said
    assert not (tiny_data / "run").exists()


def test_a_run_folder_stands_for_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").touch()
    assert start_file(tmp_path) == tmp_path / "last.ckpt"
    assert start_file(None) is None


def test_the_run_folder_can_not_be_a_file(tiny_data: Path, told: Callable[..., str]) -> None:
    config = _config(tiny_data)
    places = ("--data", tiny_data, "--cache", tiny_data / "cache", "--devices", "cpu")
    said = told(train.main, config, *places, "--out", config)
    assert "The folder 'config.json' can't be made" in said


def test_a_run_that_never_was_is_not_exported(tmp_path: Path, told: Callable[..., str]) -> None:
    said = told(export_weights.main, tmp_path / "absent", "--data", tmp_path)
    assert "There is no run in 'absent'" in said
    assert not (tmp_path / "absent").exists()


def test_reports_that_are_not_there_are_named(tmp_path: Path, told: Callable[..., str]) -> None:
    (tmp_path / "maps").mkdir()
    maps = ("--fold", "0", "--data", tmp_path, "--json", tmp_path / "x.json")
    assert "maps.json can't be used" in told(sharpness.main, tmp_path / "maps", *maps)
    out = ("--out", tmp_path / "out", "--sharpen", tmp_path / "sharp.json")
    assert "sharp.json can't be used" in told(combine.main, tmp_path / "maps", *out)
    (tmp_path / "sharp.json").write_text("{}", encoding="utf-8")
    assert "it lacks temperature" in told(combine.main, tmp_path / "maps", *out)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, told: Callable[..., str]) -> None:
    folders = ("--predictions", tmp_path / "absent", "--gt", tmp_path)
    said = told(evaluate.main, "semiseg", *folders)
    assert "absent: No such file or directory" in said.replace("\n", "")


def test_cases_that_teach_nothing_are_refused(cases: list[StoredCase]) -> None:
    config = tiny_config("lungs", "lung-unet", SliceRecipe())
    unlabelled = [replace(case, lungs=case.lungs * 0 + 255) for case in cases]
    with pytest.raises(InputError, match="to learn lungs from"):
        SliceSampler(unlabelled, "lungs", DataConfig(), config.augmentation, seed=1)
