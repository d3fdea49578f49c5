"""Write model cards and the scores of the catalogue: ``python -m training.model_cards``.

Both are made of the catalogue's entries and of the reports in `training/reports`; no number in
them is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from CovidLesionSegLib.engine.lesion_classes import BORDER_SCORES, OWN_SCORES, TASK
from CovidLesionSegLib.weights.catalogue import CatalogueEntry, format_catalogue, read_catalogue

from .card_sections import (
    calibration_section,
    failure_section,
    half_precision_section,
    k_fold_section,
    nearly_healthy_section,
)
from .command_line import command
from .export_weights import RESOURCES
from .failure_cases import REPORT as FAILURES
from .half_precision import REPORT as HALF_PRECISION_REPORT
from .k_fold import REPORT as K_FOLD
from .lesion_classes.card_sections import class_sections
from .model_reports import check_weights
from .reliability import CARDS, draw, picture_name
from .reliability import REPORT as RELIABILITY
from .tables import interval_text, number_text

_LOG = logging.getLogger("training")
_HERE = Path(__file__).parent
REPORTS = _HERE / "reports"

HALF_PRECISION = "half_precision"
"""Name of the tolerance among the scores of a catalogue entry."""

_VARIANTS = {
    "pipeline": "as users run it: the engine's lungs, input cropped to them, 3D step",
    "expert-lungs": "bare network, cut to the expert's lungs where they are drawn",
    "no-lungs": "bare network over the whole slice",
    "network": "bare network",
    "engine": "network corrected by the CT, as users run it",
    "classical": "the CT alone, without the network",
    OWN_SCORES: "inside the expert's infection, by networks trained on the other folds",
    BORDER_SCORES: "by the engine's border, on the same slices",
}


def with_scores(entry: CatalogueEntry, report: Mapping[str, Any]) -> CatalogueEntry:
    """Return the entry with what `training.evaluate` measured.

    Raises:
        InputError: ``scores-of-other-weights`` if the report is about another file.
    """
    check_weights(entry, report["weights_sha256"].get(entry.id), "training.evaluate")
    scores = {"command": report["command"], **report["summary"]}
    return replace(entry, card=replace(entry.card, scores=scores))


def with_half_precision(entry: CatalogueEntry, report: Mapping[str, Any]) -> CatalogueEntry:
    """Return the entry with the tolerance that `training.half_precision` states for it.

    An entry that the report does not hold stays as it is.

    Raises:
        InputError: ``scores-of-other-weights`` if the report is about another file.
    """
    found = report["models"].get(entry.id)
    if found is None:
        return entry
    check_weights(entry, found["sha256"], report["command"])
    scores = {**entry.card.scores, HALF_PRECISION: found["tolerance"]}
    return replace(entry, card=replace(entry.card, scores=scores))


def card_text(
    entry: CatalogueEntry, report: Mapping[str, Any] | None, further: Sequence[str] = ()
) -> str:
    """Return the Markdown of one card.

    Args:
        entry: The model.
        report: What `training.evaluate` measured on exactly these weights, or None.
        further: Sections from other reports; empty ones are left out.
    """
    sections = [f"# {entry.id}", _facts(entry), _use(entry)]
    sections += [_scores(report)] if report is not None else ["Not measured yet."]
    sections += [section for section in further if section]
    promised = entry.card.scores.get(HALF_PRECISION)
    sections += [half_precision_section(promised)] if promised is not None else []
    return "\n\n".join(sections) + "\n"


def further_sections(entry: CatalogueEntry, report: Mapping[str, Any] | None) -> list[str]:
    """Return what the committed reports on calibration, failures and folds say of a model.

    Args:
        entry: The model.
        report: As of `card_text`; that of a network for classes holds these sections itself.
    """
    makers: dict[Path, Callable[[CatalogueEntry, Mapping[str, Any]], str]] = {
        K_FOLD: k_fold_section,
        RELIABILITY: partial(calibration_section, scores=report),
        FAILURES: failure_section,
    }
    sections = [make(entry, _read(path)) for path, make in makers.items() if path.exists()]
    if report is None:
        return sections
    return [nearly_healthy_section(report), *sections, *class_sections(entry, report)]


def drawn_part(entry: CatalogueEntry, report: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the part of a committed report that a model's reliability diagram shows, or None.

    Args:
        entry: The model.
        report: As of `further_sections`.
    """
    if report is not None and "calibration" in report:
        part: Mapping[str, Any] = report["calibration"]
        return part
    return _read(RELIABILITY)["models"].get(entry.id) if RELIABILITY.exists() else None


def _draw_diagram(entry: CatalogueEntry, report: Mapping[str, Any] | None, folder: Path) -> None:
    part = drawn_part(entry, report)
    if part is not None:
        what = "consolidation" if entry.task == TASK else "infection"
        draw(part, folder / picture_name(entry.id), what)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _facts(entry: CatalogueEntry) -> str:
    rows = {
        "task": entry.task,
        "network": ", ".join(filter(None, (entry.family, entry.scale, entry.encoder))),
        "input": _input_text(entry.recipe),
        "threshold, temperature": f"{entry.threshold}, {entry.temperature}",
        "file": f"{entry.file}, {entry.bytes:,} bytes, {entry.dtype}",
        "sha256": f"`{entry.sha256}`",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


def _input_text(recipe: Mapping[str, Any]) -> str:
    if "block_mm" in recipe:
        return f"what the HU of a block of {recipe['block_mm']:g} mm and of its lobe are like"
    if "scales_mm" in recipe:
        scales = ", ".join(f"{scale:g}" for scale in recipe["scales_mm"])
        return f"HU, and their mean and deviation within the infection at {scales} mm"
    return (
        f"window {recipe.get('window_hu')} HU, {recipe.get('pixel_mm')} mm pixels, "
        f"neighbouring slices {recipe.get('context_mm')} mm away"
    )


def _use(entry: CatalogueEntry) -> str:
    card = entry.card
    return "\n\n".join(
        [
            f"**For.** {card.intended_use}",
            f"**Not for.** {card.not_for}",
            f"**Trained on.** {card.training_data}",
            f"**Split.** {card.split}",
            f"**Licence of the weights.** {card.licence}",
            f"**Cite.** {card.citation}",
        ]
    )


def _scores(report: Mapping[str, Any]) -> str:
    over = "slices" if OWN_SCORES in report["summary"] else "patients"
    parts = [f"## Scores\n\nMade by `{report['command']}`; 95% intervals over {over}."]
    for variant, figures in report["summary"].items():
        names = list(figures)
        lines = [
            f"### {variant}: {_VARIANTS[variant]}\n",
            f"| case | {' | '.join(name.replace('_', ' ') for name in names)} |",
            f"|---|{'---|' * len(names)}",
        ]
        for case, scores in report["cases"].items():
            cells = (number_text(scores[variant][name]) for name in names)
            lines.append(f"| {case} | {' | '.join(cells)} |")
        means = (interval_text(figures[name]) for name in names)
        lines.append(f"| **mean** | {' | '.join(means)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Write the card of every model, and its scores where it has a report."""
    parser = argparse.ArgumentParser(prog="python -m training.model_cards", description=__doc__)
    parser.add_argument("--catalogue", type=Path, default=RESOURCES / "models.json")
    parser.add_argument("--reports", type=Path, default=REPORTS)
    parser.add_argument("--out", type=Path, default=CARDS)
    parser.add_argument(
        "--diagrams", action="store_true", help="draw the reliability diagrams anew as well"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    entries = []
    half_precision = _read(HALF_PRECISION_REPORT)
    for entry in read_catalogue(options.catalogue):
        path = options.reports / f"{entry.id}.json"
        report = _read(path) if path.exists() else None
        scored = entry if report is None else with_scores(entry, report)
        entries.append(with_half_precision(scored, half_precision))
        card = options.out / f"{entry.id}.md"
        further = further_sections(entries[-1], report)
        card.write_text(card_text(entries[-1], report, further), encoding="utf-8")
        if options.diagrams:
            _draw_diagram(entry, report, options.out)
        _LOG.info("%s", card.name)
    options.catalogue.write_text(format_catalogue(tuple(entries)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
