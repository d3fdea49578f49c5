"""What a real Slicer offers, read from an inventory that lies beside the checkout, if it does."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]


def folder() -> Path | None:
    """Return the folder of the inventory, None when there is none."""
    variable = os.environ.get("COVID_LESION_SEG_SLICER_API")
    path = Path(variable or _REPOSITORY.parent / "shared" / "slicer_api")
    return path if path.is_dir() else None


@functools.cache
def read(name: str) -> Any:
    """Return one file of the inventory, empty when there is no inventory."""
    path = folder()
    return {} if path is None else json.loads((path / name).read_text(encoding="utf-8"))


@functools.cache
def widget_class(name: str) -> dict[str, Any] | None:
    """Return what is known about a Qt, ctk or qMRML class; None when nothing is."""
    for file in ("qt.json", "ctk.json", "slicer_widgets.json"):
        if name in read(file):
            entry: dict[str, Any] = read(file)[name]
            return entry
    return None


@functools.cache
def names(class_name: str) -> frozenset[str] | None:
    """Return the names that Python reaches on a class; None when it is not in the inventory."""
    entry = widget_class(class_name)
    return None if entry is None else frozenset(entry["names"])


@functools.cache
def signals(class_name: str) -> frozenset[str] | None:
    """Return the signatures of a class's signals; None when it is not in the inventory."""
    entry = widget_class(class_name)
    if entry is None or "signals" not in entry:
        return None
    return frozenset(signal.replace(" ", "") for signal in entry["signals"])
