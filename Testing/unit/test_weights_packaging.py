"""What a wheel carries."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "CovidLesionSeg"


def test_the_list_of_packages_equals_the_folders() -> None:
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    listed = settings["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(file.parent.relative_to(SOURCE).parts)
        for file in (SOURCE / "CovidLesionSegLib").rglob("__init__.py")
    }
    assert sorted(listed) == sorted({*folders, "CovidLesionSegLib.Resources"})


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {file.parent for file in (SOURCE / "CovidLesionSegLib").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []
