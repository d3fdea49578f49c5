"""Reports with a part for every bundled model, each about exactly its weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.catalogue import CatalogueEntry
from CovidLesionSegLib.weights.store import default_store


def bundled_models(*tasks: str) -> list[CatalogueEntry]:
    """Return the bundled models for some tasks that run on a CT, in the catalogue's order."""
    return [
        model.entry
        for model in default_store().models()
        if model.origin == "bundled" and model.entry.task in tasks and model.entry.recipe
    ]


def bundled_infection_models() -> list[CatalogueEntry]:
    """Return the bundled models that find infection in a CT, by slices or by tissue."""
    return bundled_models("infection", "severity")


def check_weights(entry: CatalogueEntry, sha256: str | None, command: str) -> None:
    """Refuse a report about other weights than the entry's.

    Raises:
        InputError: ``scores-of-other-weights``.
    """
    if sha256 != entry.sha256:
        raise InputError(
            "scores-of-other-weights",
            f"The report holds scores of other weights than those of {entry.id!r}.",
            f"Run {command} on the exported file.",
        )


def still_valid(report: Path, entries: Sequence[CatalogueEntry]) -> dict[str, Any]:
    """Return what an earlier report says of exactly these weights, by model."""
    if not report.is_file():
        return {}
    models = json.loads(report.read_text(encoding="utf-8"))["models"]
    digests = {entry.id: entry.sha256 for entry in entries}
    return {name: found for name, found in models.items() if found["sha256"] == digests.get(name)}


def kept_beside(
    report: Path, entries: Sequence[CatalogueEntry], wanted: Collection[str], command: str
) -> dict[str, Any]:
    """Return what an earlier report keeps while only some models are measured anew.

    Args:
        report: The report.
        entries: The models that it is about.
        wanted: Ids of those that are measured anew; none stands for all.
        command: What made the report.

    Raises:
        InputError: ``model-unknown``, or ``scores-of-other-weights`` if another model has new
            weights since.
    """
    unknown = sorted(set(wanted) - {entry.id for entry in entries})
    if unknown:
        raise InputError(
            "model-unknown",
            f"This is not measured for {', '.join(unknown)}.",
            f"Choose of {', '.join(entry.id for entry in entries)}.",
        )
    if not wanted or not report.is_file():
        return {}
    models: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))["models"]
    others = [entry for entry in entries if entry.id not in wanted and entry.id in models]
    for entry in others:
        check_weights(entry, models[entry.id]["sha256"], command)
    return {entry.id: models[entry.id] for entry in others}


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Let a command measure some models only."""
    parser.add_argument(
        "--model", nargs="+", default=(), help="measure these alone; others keep their part"
    )


def measure_models(
    path: Path,
    head: Mapping[str, Any],
    entries: Sequence[CatalogueEntry],
    wanted: Collection[str],
    measure: Callable[[CatalogueEntry], Mapping[str, Any]],
) -> None:
    """Measure some models anew and write a report on them and on what is kept of the others.

    Args:
        path: The report, see `kept_beside`.
        head: What it says of all models, ``"command"`` at least.
        entries: The models that it is about, in its order.
        wanted: Ids of those to measure; none stands for all.
        measure: Returns the part of one model.

    Raises:
        InputError: See `kept_beside`.
    """
    parts = kept_beside(path, entries, wanted, head["command"])
    made = {e.id: measure(e) for e in entries if e.id in wanted or not wanted}
    write_report(path, head, {**parts, **made}, entries)


def write_report(
    path: Path, head: Mapping[str, Any], parts: Mapping[str, Any], order: Sequence[CatalogueEntry]
) -> None:
    """Write a report as JSON.

    Args:
        path: The file.
        head: What it says of all models.
        parts: What it says of each, by id.
        order: The models, in the order of their parts.
    """
    models = {entry.id: parts[entry.id] for entry in order if entry.id in parts}
    path.write_text(json.dumps({**head, "models": models}, indent=1) + "\n", encoding="utf-8")
