"""Small made-up models for the store."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from CovidLesionSegLib.weights.catalogue import CatalogueEntry, format_catalogue
from CovidLesionSegLib.weights.packing import pack_model

PackedModel = tuple[CatalogueEntry, bytes]


def toy_description(model_id: str = "toy", **changes: object) -> dict[str, Any]:
    """Return a complete catalogue entry without what follows from the file."""
    return {
        "id": model_id,
        "version": "1",
        "task": "infection",
        "family": "inf-net",
        "scale": "lite",
        "encoder": None,
        "options": {},
        "recipe": {},
        "dtype": "float16",
        "threshold": 0.5,
        "temperature": 1.0,
        "licence": "CC-BY-4.0",
        "training_data": "scans [1] of nobody",
        "split": "none",
        "citation": "none",
        "intended_use": "tests",
        "not_for": "patients",
        **changes,
    }


def toy_model(model_id: str = "toy", value: float = 1.0) -> PackedModel:
    """Return entry and file of a model with one tensor."""
    return pack_model(toy_description(model_id), {"weight": np.full((2, 3), value, np.float32)})


def write_shelf(folder: Path, *models: PackedModel) -> Path:
    """Write models as an installation or a hospital would."""
    (folder / "Weights").mkdir(parents=True)
    for entry, data in models:
        (folder / "Weights" / entry.file).write_bytes(data)
    entries = tuple(entry for entry, _ in models)
    (folder / "models.json").write_text(format_catalogue(entries), encoding="utf-8")
    return folder


def file_tree(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder: files with content, folders with None."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def forbid_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every attempt to use a network fail."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network connection was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
