"""Fixtures that every layer of tests shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Two pytest processes share two cores; must be set before torch is imported anywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


def _shared(name: str, variable: str) -> Path:
    folder = Path(os.environ.get(variable, REPOSITORY.parent / "shared" / name))
    if not folder.is_dir():
        pytest.skip(f"{name} is not beside the checkout; set {variable} to its folder")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Development data: real CT with expert masks."""
    return _shared("data", "COVID_LESION_SEG_DATA")


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Outputs of the published networks, losses and evaluation."""
    return _shared("golden", "COVID_LESION_SEG_GOLDEN")
