"""What `training.severity_volumes` measured, in Markdown: its table, and a part of the README."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .evaluate import patients_by_case
from .tables import interval_text, markdown_table
from .volume_evaluation import summarise

COMMAND = "python -m training.severity_volumes"
LEAST_INFECTED_ML = 1.0
_COLUMNS = {"iou": "IoU", "dice": "Dice", "same_scores": "same scores", "infected_ml": "ml"}
_MEANS = {
    "dram": "the map at 0.5; where it was made of the windowed lobe, on dense tissue only",
    "findings": "the map as users get it: 3D step, and nothing hardly denser than the lung around",
    "density": "all dense tissue, without any network",
    "final": "slice network trained on the pseudo labels, at 0.5 within the lobes",
}


def report_table(reports: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown of some reports: every held-out case once, and the means."""
    cases = _cases(reports)
    names = [name for name in _MEANS if all(name in scores for scores in cases.values())]
    rows = [
        [key, report["split"], f"{scores['density']['expert_ml']:.0f}", *_cells(scores, names)]
        for report in reports
        for key, scores in report["cases"].items()
    ]
    summary = summarise(_with_nan(cases), patients_by_case())
    means = [_mean(summary[name], score) for name in names for score in _COLUMNS]
    rows.append(["**mean (95% over patients)**", "", "", *means])
    header = [
        "case",
        "split",
        "expert ml",
        *(f"{name} {what}" for name in names for what in _COLUMNS.values()),
    ]
    words = "; ".join(f"*{name}*: {_MEANS[name]}" for name in names)
    steps = ", ".join(f"{report['split']} {report['steps']}" for report in reports)
    return (
        "# dRAM from severity scores\n\nHeld-out cases; no expert mask was trained on. "
        f"{words}. Overlap is not scored below {LEAST_INFECTED_ML:g} ml of disease. "
        f"Steps: {steps}. Made by `{COMMAND}`.\n\n" + markdown_table(header, rows)
    )


def comparison_text(reports: Sequence[dict[str, Any]]) -> str:
    """Say how the map does beside dense tissue, which is what it has to beat.

    Args:
        reports: As `training.severity_volumes` wrote them, one per split.
    """
    cases = _cases(reports)
    means = summarise(_with_nan(cases), patients_by_case())
    iou = {key: {name: scores[name]["iou"] for name in means} for key, scores in cases.items()}
    scored = {key: values for key, values in iou.items() if values["density"] is not None}
    behind = min(scored, key=lambda key: scored[key]["dram"] - scored[key]["density"])
    ahead = {
        name: sum(values[name] > values["density"] for values in scored.values())
        for name in ("dram", "findings")
    }
    mean = {name: interval_text(figures["iou"]) for name, figures in means.items()}
    apart = means["dram"]["iou"]["low"] > means["density"]["iou"]["high"]
    return (
        f"The map is ahead of it on {ahead['dram']} of {len(scored)} scans with disease, as users "
        f"get it on {ahead['findings']}: mean IoU {mean['dram']} and {mean['findings']} against "
        f"{mean['density']} (95% over patients, "
        f"{'apart' if apart else 'overlapping'}). It is furthest behind on "
        f"`{behind}`, {scored[behind]['dram']:.3f} against {scored[behind]['density']:.3f}. In "
        + " and ".join(_nearly_healthy(cases))
        + "."
    )


def _nearly_healthy(cases: Mapping[str, Any]) -> list[str]:
    """Say of the scans without disease to speak of what is called in them."""
    return [
        f"`{key}`, where experts drew {scores['density']['expert_ml']:.1f} ml, the map calls "
        f"{scores['dram']['infected_ml']:.0f} ml, of which the rule over findings leaves "
        f"{scores['findings']['infected_ml']:.0f}"
        for key, scores in cases.items()
        if scores["density"]["iou"] is None
    ]


def _cases(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: scores for report in reports for key, scores in report["cases"].items()}


def _cells(scores: dict[str, dict[str, float | None]], names: Sequence[str]) -> list[str]:
    places = [(name, what) for name in names for what in _COLUMNS]
    return [_number(scores[name][what], what) for name, what in places]


def _number(value: float | None, what: str) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if what == "infected_ml" else f"{value:.3f}"


def _mean(figures: dict[str, dict[str, float]], what: str) -> str:
    mean, low, high = (_number(figures[what][name], what) for name in ("mean", "low", "high"))
    return "" if what == "infected_ml" else f"{mean} ({low} to {high})"


def _with_nan(cases: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        key: {
            name: {k: math.nan if v is None else v for k, v in figures.items()}
            for name, figures in scores.items()
        }
        for key, scores in cases.items()
    }
