"""``covid-lesion-seg models``, apart from ``import``."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from CovidLesionSegLib.commands import console, models
from CovidLesionSegLib.errors import InputError, WeightsMismatchError
from CovidLesionSegLib.resources import resources_dir
from CovidLesionSegLib.weights.packing import pack_model
from CovidLesionSegLib.weights.store import WeightsStore
from Testing.support.models import toy_description

Command = Callable[..., tuple[int, str]]


def described(model_id: str) -> dict[str, Any]:
    return toy_description(model_id, encoder="efficientnet-lite0", scores={"dice": 0.7})


@pytest.fixture
def library(tmp_path: Path) -> WeightsStore:
    library = WeightsStore(None, tmp_path / "user")
    for model_id in ("first", "second"):
        library.add(*pack_model(described(model_id), {"a": np.zeros(3, np.float32)}))
    return library


@pytest.fixture
def command(
    library: WeightsStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.setattr(models, "default_store", lambda: library)
    monkeypatch.setenv("COLUMNS", "160")
    parser = argparse.ArgumentParser()
    models.add_parser(parser.add_subparsers())

    def call(*words: str) -> tuple[int, str]:
        args = parser.parse_args(["models", *words])
        return args.func(args), capsys.readouterr().out

    return call


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def out() -> Console:
        return Console(
            markup=False, highlight=False, soft_wrap=True, force_terminal=True, color_system=None
        )

    monkeypatch.setattr(console, "out", out)


def test_list_shows_every_model(command: Command) -> None:
    code, text = command("list")
    assert code == 0
    for word in ("first", "second", "inf-net (lite)", "user", "CC-BY-4.0", "1 kB"):
        assert word in text


def test_list_puts_research_models_last(command: Command, library: WeightsStore) -> None:
    early = {**described("a-study"), "role": "research"}
    library.add(*pack_model(early, {"a": np.zeros(3, np.float32)}))
    listed = json.loads(command("list", "--json")[1])
    assert [model["id"] for model in listed] == ["first", "second", "a-study"]
    assert [model["role"] for model in listed] == ["clinical", "clinical", "research"]
    last = command("list")[1].rstrip().splitlines()[-1]
    assert "a-study" in last
    assert "infection (research)" in last


def test_list_has_a_line_per_model_where_no_terminal_is(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = WeightsStore(resources_dir(), tmp_path / "nobody")
    monkeypatch.setattr(models, "default_store", lambda: bundled)
    monkeypatch.setenv("COLUMNS", "40")
    header, *lines = command("list")[1].splitlines()
    assert header.split() == ["id", "task", "network", "size", "origin", "licence"]
    found = {line.split()[0]: line for line in lines}
    assert len(found) == len(lines)
    assert set(found) == {model.entry.id for model in bundled.models()}
    for model in bundled.models():
        line, licence = found[model.entry.id], model.entry.card.licence.partition(" (")[0]
        assert line.endswith(f"  {model.origin}  {licence}")
        assert f"  {model.entry.family} ({model.entry.scale})  " in line


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("width", [80, 90, 100, 160])
def test_list_breaks_no_word(
    width: int, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = WeightsStore(resources_dir(), tmp_path / "nobody")
    monkeypatch.setattr(models, "default_store", lambda: bundled)
    monkeypatch.setenv("COLUMNS", str(width))
    text = command("list")[1]
    assert max(map(len, text.splitlines())) <= width
    shown = set(text.split())
    for model in bundled.models():
        entry, licence = model.entry, model.entry.card.licence.partition(" (")[0]
        assert {entry.id, entry.task, entry.family, *licence.split()} <= shown


@pytest.mark.usefixtures("terminal")
def test_list_shows_all_where_no_word_fits(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    letters = "".join(command("list")[1].split())
    assert "second" in letters
    assert "CC-B" in letters


def test_list_as_json(command: Command, library: WeightsStore) -> None:
    code, text = command("list", "--json")
    assert code == 0
    listed = json.loads(text)
    assert [model["id"] for model in listed] == ["first", "second"]
    assert listed[0]["path"] == str(library.find("first").path)
    assert listed[0]["sha256"] == library.find("first").entry.sha256


def test_show_shows_the_card(command: Command) -> None:
    code, text = command("show", "second")
    assert code == 0
    for word in ("scans [1] of nobody", "patients", "CC-BY-4.0", '{"dice": 0.7}'):
        assert word in text
    assert json.loads(command("show", "second", "--json")[1])["not_for"] == "patients"


def test_show_of_an_unknown_model(command: Command) -> None:
    with pytest.raises(InputError, match="first, second"):
        command("show", "third")


def test_verify_of_intact_models(command: Command) -> None:
    code, text = command("verify", "--json")
    assert code == 0
    assert [row["status"] for row in json.loads(text)] == ["ok", "ok"]


def test_verify_names_the_damaged_model_and_fails(command: Command, library: WeightsStore) -> None:
    library.find("second").path.write_bytes(b"short")
    code, text = command("verify")
    assert code == 3
    assert "weights-incomplete" in text
    assert command("verify", "first")[0] == 0
    code, text = command("verify", "--json")
    assert code == 3
    assert [row["status"] for row in json.loads(text)] == ["ok", "weights-incomplete"]


def test_a_damaged_catalogue_is_reported(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings = io.StringIO()
    monkeypatch.setattr(sys, "stderr", warnings)
    (tmp_path / "user" / "first" / "models.json").write_text("{", encoding="utf-8")
    assert [model["id"] for model in json.loads(command("list", "--json")[1])] == ["second"]
    assert "Warning: The model catalogue" in warnings.getvalue()
    code, text = command("verify", "--json")
    assert code == 3
    assert [row["status"] for row in json.loads(text)] == ["ok", "catalogue-unreadable"]


def test_remove(command: Command, library: WeightsStore) -> None:
    code, text = command("remove", "first")
    assert (code, text) == (0, "Removed 'first'.\n")
    assert [model.entry.id for model in library.models()] == ["second"]
    assert json.loads(command("remove", "second", "--json")[1]) == {"removed": "second"}


def test_an_action_is_required(command: Command) -> None:
    with pytest.raises(SystemExit):
        command()


def test_import_of_our_own_file(
    command: Command, library: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Building the network needs torch; Testing/nets does that.
    monkeypatch.setattr("CovidLesionSegLib.weights.importer.build_network", lambda *_: None)
    path = tmp_path / "x.safetensors"
    path.write_bytes(pack_model(described("third"), {"a": np.ones(3, np.float32)})[1])
    code, text = command("import", str(path))
    assert code == 0
    assert text == "Imported CovidLesionSeg weights as 'third'.\n"
    code, text = command("import", str(path), "--id", "fourth", "--json")
    assert json.loads(text)["id"] == "fourth"
    assert {model.entry.id for model in library.models()} == {"first", "second", "third", "fourth"}


def test_import_as_json_names_every_entry_that_does_not_fit(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    missing, shapes = tuple(f"layer.{index}" for index in range(25)), "a (1,) instead of (2,)"

    def misfit(*_: object) -> None:
        raise WeightsMismatchError(
            "the network", missing, ("surplus",), ("a (1,) instead of (2,)",)
        )

    monkeypatch.setattr("CovidLesionSegLib.weights.importer.build_network", misfit)
    path = tmp_path / "x.safetensors"
    path.write_bytes(pack_model(described("third"), {"a": np.ones(3, np.float32)})[1])
    with pytest.raises(WeightsMismatchError, match=r"25 missing.* and 15 more.*surplus") as caught:
        command("import", str(path), "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["missing"] == list(missing)
    assert report["unexpected"] == ["surplus"]
    assert report["misshaped"] == [shapes]
    restored = pickle.loads(pickle.dumps(caught.value))
    assert (str(restored), restored.missing) == (str(caught.value), missing)
