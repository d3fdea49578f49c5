"""Files are complete or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.errors import CovidLesionSegError


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "lobes.csv"
    for text in ("old", "new"):
        with atomic_path(target) as partial:
            assert partial.name.endswith("lobes.csv")
            partial.write_text(text)

    assert target.read_text() == "new"
    assert _names(target.parent) == ["lobes.csv"]


def _fail(target: Path, failure: BaseException) -> None:
    with atomic_path(target) as partial:
        partial.write_text("half")
        raise failure


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ValueError()])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "lobes.csv"
    target.write_text("old")

    with pytest.raises(type(failure)):
        _fail(target, failure)

    assert target.read_text() == "old"
    assert _names(tmp_path) == ["lobes.csv"]


def test_a_full_disk_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(CovidLesionSegError) as caught:
        _fail(tmp_path / "lobes.csv", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    assert caught.value.code == "output-not-written"
    assert "lobes.csv" in caught.value.message
    assert "No space left" in caught.value.message
    assert _names(tmp_path) == []


def test_a_folder_that_is_a_file_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")

    with pytest.raises(CovidLesionSegError) as caught, atomic_path(tmp_path / "out" / "lobes.csv"):
        pass

    assert caught.value.code == "output-not-written"
