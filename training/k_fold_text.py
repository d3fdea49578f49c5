"""The report of `training.k_fold` in words and tables, for README and model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from .config import DataConfig
from .metrics import bootstrap_interval
from .splits import patients_of
from .tables import interval_text, markdown_table, number_text

Report = Mapping[str, Any]

_SHOWN = {
    "dice_diseased": "Dice, scans with disease",
    "nsd": "NSD, scans with disease",
    "percent_error": "error, points of lung",
}

_CONSENSUS_HEAD = ("consensus: Dice", "its error")

_ABOUT_CALIBRATION = (
    "What choosing temperature and threshold on the scored patients themselves would have "
    "changed (Dice of the bare network inside the lungs on scans with disease, and expected "
    "calibration error):"
)


def config_names(report: Report) -> set[str]:
    """Return the names of the configs whose runs are the folds."""
    return {PurePosixPath(fold["config"]).stem for fold in report["folds"].values()}


def k_fold_text(report: Report) -> str:
    """Return everything the report says."""
    rows = [
        [name, *(interval_text(_mean(report, name, score)) for score in _SHOWN)]
        for name in report["summary"]
    ]
    parts = [
        about(report),
        markdown_table(("variant", *_SHOWN.values()), rows),
        case_table(report),
        _ABOUT_CALIBRATION,
        _calibration_table(report),
    ]
    return "\n\n".join(part.rstrip() for part in parts)


def about(report: Report) -> str:
    """Say what was cross-validated and what it does not show."""
    folds = report["folds"]
    steps = ", ".join(f"{name}: {fold['steps']} steps" for name, fold in folds.items())
    return (
        f"All {len(report['cases'])} scans by k-fold over patients: each is scored by a network "
        f"trained without its patient ({steps}). Temperature and threshold of a fold were chosen "
        "on the patients that the *other* folds hold out, so no patient decides anything about "
        "the network that is scored on it. The lungs come from the bundled lung model, which was "
        "trained on the lungs of the scans marked \\*."
    )


def about_consensus(consensus: Report) -> str:
    """Say what the columns of the consensus are."""
    steps = [
        f"{name} {count}"
        for fold in consensus["folds"].values()
        for name, count in fold["steps"].items()
    ]
    return (
        "*Consensus*: the networks of a fold answer together, each calibrated in the same "
        f"way (steps: {', '.join(steps)})."
    )


def case_table(report: Report, consensus: Report | None = None) -> str:
    """Return a row per scan through the pipeline, and the mean.

    Args:
        report: Of one family.
        consensus: Of the consensus over the same folds, for two more columns.
    """
    rows = []
    for name, fold in report["folds"].items():
        for key in fold["held_out"]:
            scores = report["cases"][key]["pipeline"]
            star = "\\*" if key in report["lungs_trained_on"] else ""
            nsd = scores["nsd"] if _is_diseased(report, key) else None
            figures = [number_text(scores["dice_diseased"]), number_text(nsd)]
            percent = [number_text(scores[s], 1) for s in ("infected_percent", "percent_error")]
            rows.append([f"{key}{star}", name, *figures, *percent, *_further(consensus, key)])
    means = [interval_text(_mean(report, "pipeline", s)) for s in ("dice_diseased", "nsd")]
    error = interval_text(report["summary"]["pipeline"]["percent_error"], 1)
    rows.append(["**mean (95% interval)**", "", *means, "", error, *_further_means(consensus)])
    head = ("scan", "held out by", "Dice", "NSD", "infected %", "error, points of lung")
    return markdown_table((*head, *(() if consensus is None else _CONSENSUS_HEAD)), rows)


def _is_diseased(report: Report, key: str) -> bool:
    return report["cases"][key]["pipeline"]["dice_diseased"] is not None


def _mean(report: Report, variant: str, score: str) -> Mapping[str, float | None]:
    """Return mean and interval of a score; of the NSD over the scans with disease.

    As the Dice, it says next to nothing where hardly anything is to be found; the summary of the
    report has it over all scans.
    """
    if score != "nsd":
        figures: Mapping[str, float | None] = report["summary"][variant][score]
        return figures
    patients = patients_of(DataConfig())
    keys = [key for key in report["cases"] if _is_diseased(report, key)]
    values = [report["cases"][key][variant]["nsd"] for key in keys]
    found = bootstrap_interval(values, [patients.get(key, key) for key in keys])
    return dict(zip(("mean", "low", "high"), found, strict=True))


def _further(consensus: Report | None, key: str) -> list[str]:
    if consensus is None:
        return []
    scores = consensus["cases"][key]["pipeline"]
    return [number_text(scores["dice_diseased"]), number_text(scores["percent_error"], 1)]


def _further_means(consensus: Report | None) -> list[str]:
    if consensus is None:
        return []
    summary = consensus["summary"]["pipeline"]
    return [interval_text(summary["dice_diseased"]), interval_text(summary["percent_error"], 1)]


def _calibration_table(report: Report) -> str:
    diseased = [key for key in report["cases"] if _is_diseased(report, key)]
    rows = []
    for name, fold in report["folds"].items():
        dice = {
            side: [value for key, value in fold["dice_in_lungs"][side].items() if key in diseased]
            for side in ("used", "own")
        }
        error = fold["calibration_error"]
        rows.append(
            [
                name,
                f"{fold['temperature']:.2f}, {fold['threshold']:.2f}",
                f"{fold['own']['temperature']:.2f}, {fold['own']['threshold']:.2f}",
                *(f"{sum(values) / len(values):.3f}" for values in dice.values()),
                *(f"{error[side]:.4f}" for side in ("uncalibrated", "used", "own")),
            ]
        )
    head = ("fold", "T, threshold", "own", "Dice", "own", "ECE without T", "with T", "own")
    return markdown_table(head, rows)
