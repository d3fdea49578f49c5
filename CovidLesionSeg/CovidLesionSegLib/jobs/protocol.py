"""What the worker says, one JSON object a line.

``{"event": "progress", "stage": "lungs", "fraction": 0.21}`` at every step and
``{"event": "alive"}`` every few seconds, then exactly one of
``{"event": "done", ...}``, ``{"event": "cancelled"}`` or
``{"event": "failed", "code": ..., "message": ..., "hint": ...}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from CovidLesionSegLib.errors import CovidLesionSegError

EVENTS = ("progress", "alive", "done", "cancelled", "failed")


@dataclass(frozen=True)
class Event:
    """One line of the worker.

    Attributes:
        kind: One of `EVENTS`.
        values: What comes with it; JSON-ready.
    """

    kind: str
    values: dict[str, Any]

    def to_line(self) -> str:
        """Return the line, with its newline."""
        return json.dumps({"event": self.kind, **self.values}, allow_nan=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Event | None:
        """Read a line; None for anything that is not an event.

        Libraries may print to the same stream, so a stranger's line is no error.
        """
        try:
            values = json.loads(line)
        except ValueError:
            return None
        if not isinstance(values, dict) or values.get("event") not in EVENTS:
            return None
        return cls(values.pop("event"), values)


def progress(stage: str, fraction: float) -> Event:
    """Return the event for a step of progress."""
    return Event("progress", {"stage": stage, "fraction": round(fraction, 4)})


def alive() -> Event:
    """Return the event that says no more than that the process lives."""
    return Event("alive", {})


def failed(error: CovidLesionSegError) -> Event:
    """Return the event for a failure that the user is to read."""
    return Event("failed", {"code": error.code, "message": error.message, "hint": error.hint})
