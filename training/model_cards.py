"""Write model cards and the scores of the catalogue: ``python -m training.model_cards``.

Both are made of the catalogue's entries and of the reports that `training.evaluate` and
`training.half_precision` left in `training/reports`; no number in them is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.catalogue import CatalogueEntry, format_catalogue, read_catalogue

from .command_line import command
from .export_weights import RESOURCES
from .half_precision import COMMAND as HALF_PRECISION_COMMAND
from .half_precision import REPORT as HALF_PRECISION_REPORT

_LOG = logging.getLogger("training")
_HERE = Path(__file__).parent
REPORTS = _HERE / "reports"
CARDS = _HERE / "cards"

HALF_PRECISION = "half_precision"
"""Name of the tolerance among the scores of a catalogue entry."""

_VARIANTS = {
    "pipeline": "as users run it: the engine's lungs, input cropped to them, 3D step",
    "expert-lungs": "bare network, cut to the expert's lungs where they are drawn",
    "no-lungs": "bare network over the whole slice",
    "network": "bare network",
    "engine": "network corrected by the CT, as users run it",
    "classical": "the CT alone, without the network",
}


def with_scores(entry: CatalogueEntry, report: Mapping[str, Any]) -> CatalogueEntry:
    """Return the entry with what `training.evaluate` measured.

    Raises:
        InputError: ``scores-of-other-weights`` if the report is about another file.
    """
    if report["weights_sha256"].get(entry.id) != entry.sha256:
        raise InputError(
            "scores-of-other-weights",
            f"The report holds scores of other weights than those of {entry.id!r}.",
            "Run training.evaluate on the exported file.",
        )
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
    if found["sha256"] != entry.sha256:
        raise InputError(
            "scores-of-other-weights",
            f"The half-precision report is about other weights than those of {entry.id!r}.",
            f"Run {report['command']} on the exported file.",
        )
    scores = {**entry.card.scores, HALF_PRECISION: found["tolerance"]}
    return replace(entry, card=replace(entry.card, scores=scores))


def card_text(entry: CatalogueEntry, report: Mapping[str, Any] | None) -> str:
    """Return the Markdown of one card.

    Args:
        entry: The model.
        report: What `training.evaluate` measured on exactly these weights, or None.
    """
    sections = [f"# {entry.id}", _facts(entry), _use(entry)]
    sections += [_scores(report)] if report is not None else ["Not measured yet."]
    promised = entry.card.scores.get(HALF_PRECISION)
    sections += [_half_precision(promised)] if promised is not None else []
    return "\n\n".join(sections) + "\n"


def _facts(entry: CatalogueEntry) -> str:
    window = entry.recipe.get("window_hu")
    rows = {
        "task": entry.task,
        "network": f"{entry.family}, {entry.scale}, {entry.encoder}",
        "input": f"window {window} HU, {entry.recipe.get('pixel_mm')} mm pixels, "
        f"neighbouring slices {entry.recipe.get('context_mm')} mm away",
        "threshold, temperature": f"{entry.threshold}, {entry.temperature}",
        "file": f"{entry.file}, {entry.bytes:,} bytes, {entry.dtype}",
        "sha256": f"`{entry.sha256}`",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


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
    parts = [f"## Scores\n\nMade by `{report['command']}`; 95% intervals over patients."]
    for variant, figures in report["summary"].items():
        names = list(figures)
        lines = [
            f"### {variant}: {_VARIANTS[variant]}\n",
            f"| case | {' | '.join(name.replace('_', ' ') for name in names)} |",
            f"|---|{'---|' * len(names)}",
        ]
        for case, scores in report["cases"].items():
            cells = (_number(scores[variant][name]) for name in names)
            lines.append(f"| {case} | {' | '.join(cells)} |")
        means = (_interval(figures[name]) for name in names)
        lines.append(f"| **mean** | {' | '.join(means)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _half_precision(promised: Mapping[str, Mapping[str, float]]) -> str:
    lines = [
        "## Half precision\n",
        f"On slices of real CT no further from float32 than this (`{HALF_PRECISION_COMMAND}`).\n",
        "| by autocast | mean difference of probabilities | largest | pixels decided otherwise |",
        "|---|---|---|---|",
    ]
    for name, figures in promised.items():
        lines.append(
            f"| {name} | {figures['mean_difference']:g} | {figures['largest_difference']:g} "
            f"| {figures['changed_percent']:g}% |"
        )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(figure: Mapping[str, float | None]) -> str:
    if figure["mean"] is None:
        return "-"
    return f"{figure['mean']:.3f} ({_number(figure['low'])} to {_number(figure['high'])})"


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Write the card of every model, and its scores where it has a report."""
    parser = argparse.ArgumentParser(prog="python -m training.model_cards", description=__doc__)
    parser.add_argument("--catalogue", type=Path, default=RESOURCES / "models.json")
    parser.add_argument("--reports", type=Path, default=REPORTS)
    parser.add_argument("--out", type=Path, default=CARDS)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    entries = []
    half_precision = json.loads(HALF_PRECISION_REPORT.read_text(encoding="utf-8"))
    for entry in read_catalogue(options.catalogue):
        path = options.reports / f"{entry.id}.json"
        report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        scored = entry if report is None else with_scores(entry, report)
        entries.append(with_half_precision(scored, half_precision))
        card = options.out / f"{entry.id}.md"
        card.write_text(card_text(entries[-1], report), encoding="utf-8")
        _LOG.info("%s", card.name)
    options.catalogue.write_text(format_catalogue(tuple(entries)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
