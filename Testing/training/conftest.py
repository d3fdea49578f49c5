"""Fixtures of the training tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from CovidLesionSegLib.engine.windowing import SliceRecipe
from Testing.support.tiny_volumes import write_case
from training.data.store import StoredCase, open_store


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """A data folder with one source of three cases."""
    for seed, key in enumerate(("a", "b", "c")):
        write_case(tmp_path / "data" / "tiny", key, seed)
    return tmp_path / "data"


@pytest.fixture
def recipe() -> SliceRecipe:
    return SliceRecipe(pixel_mm=6.0, size_multiple=32)


@pytest.fixture
def cases(tiny_data: Path, recipe: SliceRecipe, tmp_path: Path) -> list[StoredCase]:
    return open_store(tiny_data, ("tiny",), recipe, tmp_path / "cache")
