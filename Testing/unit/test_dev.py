"""The set-up of the environment, without setting one up."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """dev.py on an empty folder; what it would run is recorded in ``calls``."""
    spec = importlib.util.spec_from_file_location("dev_under_test", REPOSITORY / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.calls = []
    monkeypatch.setattr(module, "ENVIRONMENT", tmp_path / ".venv")

    def create(folder: Path, **_options: object) -> None:
        module.calls.append("create")
        module.environment_python().parent.mkdir(parents=True, exist_ok=True)
        module.environment_python().write_text("")
        (folder / "covid-lesion-seg.stamp").unlink(missing_ok=True)

    def run(*command: object, folder: Path = REPOSITORY) -> None:
        module.calls.append(" ".join(str(word) for word in command[1:]))
        module.last_folder = folder

    monkeypatch.setattr(module.venv, "create", create)
    monkeypatch.setattr(module, "run", run)
    return module


def test_the_second_call_reuses_the_environment(dev: Any) -> None:
    dev.prepare("tests")
    assert dev.calls[0] == "create"
    assert any("torch" in call for call in dev.calls)
    assert any(".[tests]" in call for call in dev.calls)
    dev.calls.clear()
    dev.prepare("tests")
    dev.prepare("mrml")  # which the tests' environment contains
    assert dev.calls == []


def test_the_demo_environment_grows_into_the_tests(dev: Any) -> None:
    dev.prepare("mrml")
    dev.calls.clear()
    dev.prepare("tests")
    assert "create" not in dev.calls
    assert any(".[tests]" in call for call in dev.calls)


def test_changed_pins_install_again_also_when_they_change_back(
    dev: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = tmp_path / "constraints.txt"
    monkeypatch.setattr(dev, "CONSTRAINTS", pins)
    for text in ("a==1", "a==2", "a==1"):
        pins.write_text(text)
        dev.calls.clear()
        dev.prepare("tests")
        assert any(".[tests]" in call for call in dev.calls), text


def test_a_failed_set_up_is_done_again(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good = dev.run

    def fail(*_command: object, **_options: object) -> None:
        raise SystemExit(1)

    monkeypatch.setattr(dev, "run", fail)
    with pytest.raises(SystemExit):
        dev.prepare("tests")
    monkeypatch.setattr(dev, "run", good)
    dev.calls.clear()
    dev.prepare("tests")
    assert dev.calls[0] == "create"  # what is half made is made anew


def test_another_python_gets_its_own_environment(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dev.prepare("tests")
    dev.calls.clear()
    monkeypatch.setattr(dev.sys, "version_info", (3, 12, 0))
    dev.prepare("tests")
    assert dev.calls[0] == "create"


def test_an_old_python_is_told_so(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev.sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit, match=r"3\.10 to 3\.13"):
        dev.prepare("tests")


def test_the_demo_runs_where_the_user_stands(
    dev: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dev.demo(["--ct", "ct.nii.gz"])
    assert dev.calls[-1] == "-m CovidLesionSegLib.cli demo --ct ct.nii.gz"
    assert dev.last_folder == tmp_path
