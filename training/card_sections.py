"""Sections of the model cards that come from reports of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from CovidLesionSegLib.weights.catalogue import CatalogueEntry

from .failure_cases import COMMAND as FAILURE_COMMAND
from .failure_cases import licence_of
from .half_precision import COMMAND as HALF_PRECISION_COMMAND
from .k_fold_text import config_names, k_fold_text
from .model_reports import check_weights
from .reliability import AS_GIVEN, SIDES, picture_name
from .tables import markdown_table, number_text

Report = Mapping[str, Any]

NEARLY_HEALTHY_PERCENT = 0.3
"""Less of a nearly healthy scan's lungs is what a bundled model should call infected."""


def half_precision_section(promised: Mapping[str, Mapping[str, float]]) -> str:
    """Say what half precision changes."""
    rows = [
        [
            name,
            f"{figures['mean_difference']:g}",
            f"{figures['largest_difference']:g}",
            f"{figures['changed_percent']:g}%",
        ]
        for name, figures in promised.items()
    ]
    head = (
        "by autocast",
        "mean difference of probabilities",
        "largest",
        "pixels decided otherwise",
    )
    return (
        "## Half precision\n\n"
        f"On slices of real CT no further from float32 than this (`{HALF_PRECISION_COMMAND}`).\n\n"
        f"{markdown_table(head, rows)}"
    ).rstrip()


def _measured(entry: CatalogueEntry, report: Report) -> Report | None:
    """Return what a report says of a model, None without; refuse that of other weights."""
    measured: Report | None = report["models"].get(entry.id)
    if measured is not None:
        check_weights(entry, measured["sha256"], report["command"])
    return measured


def nearly_healthy_section(report: Report) -> str:
    """Say what of nearly healthy lungs a model calls infected; empty without such a scan."""
    lines = []
    for key, variants in report["cases"].items():
        scores = variants.get("pipeline")
        if scores is None or scores["dice_diseased"] is not None:
            continue
        percent, drawn = scores["infected_percent"], nearly_healthy_truth(scores)
        verdict = "keeps" if percent < NEARLY_HEALTHY_PERCENT else "**misses**"
        lines.append(
            f"{percent:.2f}% of the lungs of {key}, where experts drew {drawn:.2f}%, are called "
            f"infected. Less than {NEARLY_HEALTHY_PERCENT:g}% is asked of a bundled model, which "
            f"this one {verdict}."
        )
    return "\n\n".join(["## Nearly healthy lungs", *lines]) if lines else ""


def nearly_healthy_truth(scores: Report) -> float:
    """Return what experts drew in percent of the lungs, of a scan that a model overcalls."""
    return float(abs(scores["infected_percent"] - scores["percent_error"]))


def calibration_section(entry: CatalogueEntry, report: Report, scores: Report | None = None) -> str:
    """Say how far the probabilities of a model can be believed; empty without figures.

    Args:
        entry: The model.
        report: As `training.reliability` wrote it.
        scores: What `training.evaluate` measured on exactly these weights, or None.

    Raises:
        InputError: ``scores-of-other-weights``.
    """
    measured = _measured(entry, report)
    if measured is None:
        return ""
    about = "The temperature was chosen on these patients."
    if AS_GIVEN in measured:
        about = (
            "Counted on the map that the engine makes, which is 0 outside the lungs that it "
            "finds, and before its rule over findings (Scores and Failure cases are after it). No "
            "temperature was fitted: the map is evidence, not a measured frequency.\n\n"
            f"{_plainly(measured[AS_GIVEN])}{_worst_case(measured[AS_GIVEN], scores)}"
        )
    return (
        "## Calibration\n\n"
        f"Pixels inside the lungs of the held-out patients, made by `{report['command']}`. ECE: "
        "expected calibration error over ten bins, every case with the same weight; "
        f"errors of opposite sign cancel between cases. {about}\n\n"
        f"{diagram(entry, 'infection')}\n\n{_errors_table(measured)}\n{bins_table(measured)}"
    ).rstrip()


def _plainly(given: Report) -> str:
    """Say in words what the bins of a map without a temperature hold."""
    bins = given["bins"]
    upper = [value for value in bins["observed"][5:9] if value is not None]
    shares = np.array(bins["share"])
    apart = [
        0.0 if p is None else abs(p - o)
        for p, o in zip(bins["probability"], bins["observed"], strict=True)
    ]
    rest = float(shares[1:] @ apart[1:] / max(shares[1:].sum(), 1e-12))
    plainly = ""
    if upper:
        low, high = (f"{100 * share:.0f}" for share in (min(upper), max(upper)))
        plainly = f"Plainly: of pixels given 0.5 to 0.9, {low} to {high}% are infection, by bin. "
    return (
        f"{plainly}{100 * shares[0]:.0f}% of the pixels are given less than 0.1, "
        f"which alone keeps the ECE of all small; over the others it is {rest:.3f}."
    )


def _worst_case(given: Report, scores: Report | None) -> str:
    """Set the case with the largest error beside what the engine calls infected in it."""
    if scores is None:
        return ""
    worst = max(given["cases"], key=given["cases"].__getitem__)
    infected = scores["cases"][worst]["pipeline"]["infected_percent"]
    return (
        f" {worst} has the largest error, {given['cases'][worst]:.4f}, beside {infected:.2f}% "
        "infected in the scores, which are after that rule."
    )


def diagram(entry: CatalogueEntry, what: str) -> str:
    """Show the reliability diagram of a model; ``what`` its probability is of."""
    return f"![Observed share of {what} against probability]({picture_name(entry.id)})"


def _errors_table(measured: Report) -> str:
    sides = {name: measured[name] for name in SIDES if name in measured}
    head = ("case", "ECE") if AS_GIVEN in sides else ("case", "ECE before temperature", "after")
    rows = [
        [key, *(f"{side['cases'][key]:.4f}" for side in sides.values())]
        for key in next(iter(sides.values()))["cases"]
    ]
    rows.append(["**all**", *(f"{side['calibration_error']:.4f}" for side in sides.values())])
    return markdown_table(head, rows)


def bins_table(measured: Report) -> str:
    """Return the bins of a model as it is used, in Markdown."""
    bins = measured[AS_GIVEN if AS_GIVEN in measured else "after"]["bins"]
    rows = [
        [
            f"{index / len(bins['share']):.1f} to {(index + 1) / len(bins['share']):.1f}",
            f"{100 * share:.2f}",
            number_text(bins["probability"][index]),
            number_text(bins["observed"][index]),
        ]
        for index, share in enumerate(bins["share"])
    ]
    return markdown_table(("probability", "pixels, %", "mean probability", "observed"), rows)


def failure_section(entry: CatalogueEntry, report: Report) -> str:
    """Say where a model fails worst; empty without figures.

    Raises:
        InputError: ``scores-of-other-weights``.
    """
    measured = _measured(entry, report)
    if measured is None:
        return ""
    head = (
        "scan",
        "Dice",
        "slice from the feet",
        "wrong",
        "cm²",
        "mean HU",
        "other lung, HU",
        "in the posterior half",
    )
    rows = [
        [
            scan["case"],
            number_text(scan["dice"]),
            f"{wrong['index'] + 1} of {scan['slices_in_scan']}",
            wrong["kind"],
            f"{wrong['area_cm2']:.1f}",
            f"{wrong['mean_hu']:.0f}",
            f"{wrong['lung_hu']:.0f}",
            f"{wrong['dependent_percent']:.0f}%",
        ]
        for scan in measured["scans"]
        for wrong in scan["slices"]
    ]
    sources = sorted({f"{scan['case']}: {licence_of(scan['case'])}" for scan in measured["scans"]})
    return (
        "## Failure cases\n\n"
        "The two held-out scans with the lowest Dice, and in each the axial slice with the "
        "largest area that the model calls and experts did not draw, and the reverse.\n\n"
        f"{markdown_table(head, rows)}\n"
        f"Pictures with both outlines: `{FAILURE_COMMAND} --data DATA` draws them; they hold "
        f"pixels of the data, which is no part of this project. {'; '.join(sources)}."
    )


def k_fold_section(entry: CatalogueEntry, report: Report) -> str:
    """Say how models trained like this one do on all patients; empty for another config."""
    if entry.id not in config_names(report):
        return ""
    return f"## Cross-validation by patient\n\n{k_fold_text(report)}"
