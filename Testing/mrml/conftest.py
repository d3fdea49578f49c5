"""Fixtures of the tests that need the MRML classes of slicer-core."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from Testing.support.vtk_errors import no_vtk_errors

if TYPE_CHECKING:
    from CovidLesionSegLib.mrml.headless import HeadlessApplication


_INSTALLED = importlib.util.find_spec("slicer") is not None

# There are no wheels for every platform; where there is none, the header of the run says so.
collect_ignore_glob = [] if _INSTALLED else ["test_*.py"]


def pytest_report_header() -> str:
    """Say whether these tests run."""
    return "MRML tests: " + ("slicer-core found" if _INSTALLED else "left out, no slicer-core")


@pytest.fixture(autouse=True)
def _vtk_errors_fail() -> Iterator[None]:
    with no_vtk_errors():
        yield


@pytest.fixture
def application() -> HeadlessApplication:
    """A fresh application without windows."""
    from CovidLesionSegLib.mrml.headless import HeadlessApplication

    return HeadlessApplication.start()
