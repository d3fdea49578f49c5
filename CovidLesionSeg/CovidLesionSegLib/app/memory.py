"""What the panel remembers of a user from one session to the next, in Slicer's settings."""

from __future__ import annotations

import json
from typing import Any

import slicer

_GROUP = "CovidLesionSeg"


def remember(name: str, value: Any) -> None:
    """Keep a value that JSON can hold.

    As text: Qt gives numbers and lists back as other types on other systems.
    """
    slicer.app.settings().setValue(f"{_GROUP}/{name}", json.dumps(value))


def recall(name: str, default: Any) -> Any:
    """Return what was kept, or the default where nothing was or somebody damaged it."""
    text = slicer.app.settings().value(f"{_GROUP}/{name}", "")
    try:
        return json.loads(str(text)) if text else default
    except ValueError:
        return default
