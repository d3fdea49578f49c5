from __future__ import annotations

import json

import pytest

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.jobs.protocol import Event, failed, progress


@pytest.mark.parametrize(
    "event",
    [
        progress("lungs", 0.123456),
        failed(InputError("a-b", "What.", "How.")),
        Event("cancelled", {}),
    ],
)
def test_events_survive_the_line(event: Event) -> None:
    line = event.to_line()
    assert line.endswith("\n")
    assert "\n" not in line[:-1]
    assert Event.from_line(line) == event


@pytest.mark.parametrize("line", ["", "hello", "[]", "3", '{"event": "dance"}', '{"a": 1}', "{"])
def test_strangers_lines_are_no_events(line: str) -> None:
    assert Event.from_line(line) is None


def test_a_failure_carries_what_the_user_reads() -> None:
    values = json.loads(failed(InputError("no-lung-found", "No lung.", "Look.")).to_line())
    assert values == {
        "event": "failed",
        "code": "no-lung-found",
        "message": "No lung.",
        "hint": "Look.",
    }
