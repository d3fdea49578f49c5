"""One application for all host tests of a process; every test starts with an empty scene."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from Testing.support.review_result import reviewable_result
from Testing.support.vtk_errors import no_vtk_errors

if TYPE_CHECKING:
    from Testing.host.application import Host

_INSTALLED = all(importlib.util.find_spec(name) for name in ("slicer", "vtk", "PySide6"))
collect_ignore_glob = [] if _INSTALLED else ["test_*.py"]


def pytest_report_header() -> str:
    """Say whether these tests run."""
    return "Host tests: " + ("run" if _INSTALLED else "left out, no slicer-core or PySide6")


@pytest.fixture(scope="session")
def application() -> Host:
    from Testing.host.application import Host

    return Host()


@pytest.fixture
def host(application: Host) -> Iterator[Host]:
    """The application with an empty scene; slots and VTK must stay silent."""
    with no_vtk_errors():
        application.clear()
        application.work("plain")
        yield application
        application.panel.run.abandon()
        application.rest(0.05)
    assert not application.slotErrors, "\n".join(application.slotErrors)
    assert application.answers == []


@pytest.fixture
def ct(host: Host) -> Any:
    """The CT of the made-up result, chosen in the panel."""
    return host.addCt(reviewable_result().ct)
