"""The Markdown of `training.lesion_classes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from CovidLesionSegLib.engine.definitions import CONSOLIDATION_FROM_HU
from CovidLesionSegLib.engine.lesion_classes import SCALES_MM
from training.tables import interval_text, markdown_table

from .scale import AIR_HU, FAT_HU, SOFT_TISSUE_HU

_COLUMNS = {
    "ground_glass_dice": "ground glass Dice",
    "consolidation_dice": "consolidation Dice",
    "share_error": "error of the consolidated share, points",
}
_VOLUME_COLUMNS = {
    "voxel_percent": "consolidation by voxel, %",
    "smoothed_percent": "smoothed, %",
    "changed_percent": "voxels that change class, %",
}
_DIGITS = {"share_error": 1}


def report_text(report: Mapping[str, Any]) -> str:
    """Return the report for people."""
    return "\n".join(
        (
            "# Ground glass and consolidation against experts\n",
            _about(report),
            rules_table(report),
            _gains_about(),
            gains_table(report),
            "## Borders chosen on the other folds\n",
            choices_table(report),
            "## What smoothing would change in CTs\n",
            volumes_table(report),
            "## HU of what experts call each class\n",
            _percentile_table(report),
            "## The HU scale of the slices\n",
            _scale_text(report),
        )
    )


def rules_table(report: Mapping[str, Any]) -> str:
    """Return one row per rule with means and intervals over slices."""
    rows = [
        [_label(name), *(interval_text(rule[key], _DIGITS.get(key, 3)) for key in _COLUMNS)]
        for name, rule in report["rules"].items()
    ]
    return markdown_table(["rule", *_COLUMNS.values()], rows)


def gains_table(report: Mapping[str, Any]) -> str:
    """Return what each rule gains over the engine's on the same slices."""
    rows = [
        [_label(name), *(interval_text(rule[f"{k}_gain"], _DIGITS.get(k, 3)) for k in _COLUMNS)]
        for name, rule in report["rules"].items()
        if name != "engine"
    ]
    return markdown_table(["rule", *_COLUMNS.values()], rows)


def choices_table(report: Mapping[str, Any]) -> str:
    """Return border and smoothing of every fold."""
    folds = len(next(iter(report["choices"].values())))
    rows = [
        [name, *(f"{c['border_hu']:g} HU, {c['smoothing_mm']:g} mm" for c in chosen)]
        for name, chosen in report["choices"].items()
    ]
    return markdown_table(["rule", *(f"fold {n}" for n in range(folds))], rows)


def volumes_table(report: Mapping[str, Any]) -> str:
    """Return how much of the expert's infection of each CT is consolidation by either rule."""
    volumes = report["volumes"]
    rows = [
        [
            key,
            f"{case['infected_ml']:.0f}",
            *(f"{case[name]:.1f}" for name in _VOLUME_COLUMNS),
        ]
        for key, case in volumes["cases"].items()
    ]
    about = (
        f"Expert's infection; smoothing {volumes['smoothing_mm']:g} mm within each slice and a "
        f"border of {volumes['border_hu']:g} HU, the median of the folds. These CTs have no expert "
        "classes. The millilitres of coronacases are nominal.\n\n"
    )
    return about + markdown_table(["CT", "infected ml", *_VOLUME_COLUMNS.values()], rows)


def _label(name: str) -> str:
    if name == "engine":
        return f"engine: {CONSOLIDATION_FROM_HU} HU"
    return f"{CONSOLIDATION_FROM_HU} HU, {name}" if name.startswith("smoothed") else name


def _about(report: Mapping[str, Any]) -> str:
    return (
        f"{report['slices']} labelled slices of COVID-SemiSeg, inside the expert's infection. "
        "Dice is the mean over the slices in which the expert drew the class, with a 95% bootstrap "
        "interval over slices (their patients are not published). The share is the consolidated "
        "part of the infection. HU are estimated, see below; smoothing is a Gaussian of this "
        "standard deviation within the infection. *chosen*: the value with the best mean of both "
        "Dice on the other folds. *learned densities*: a small network, trained on the other "
        "folds, that sees a pixel's HU and their mean and deviation within the infection at four "
        f"scales up to {SCALES_MM[-1]:g} mm. *network*, if there is such a row: a convolutional "
        f"network likewise trained. Made by `{report['command']}`.\n"
    )


def _gains_about() -> str:
    return (
        "Difference to the engine's border on the same slices (95% interval of the mean "
        "difference; for the error of the share, less is better):\n"
    )


def _percentile_table(report: Mapping[str, Any]) -> str:
    table = report["hu_percentiles"]
    percents = list(next(iter(table.values())))
    rows = [
        [name.replace("_", " "), *(f"{levels[p]}" for p in percents)]
        for name, levels in table.items()
    ]
    return markdown_table(["class", *(f"{p}%" for p in percents)], rows)


def _scale_text(report: Mapping[str, Any]) -> str:
    scales = list(report["scales"].values())
    fat = [values["fat_hu"] for values in scales if values["fat_hu"] is not None]
    ends = [
        tuple(round(float(np.percentile([v[end] for v in scales], p))) for p in (10, 50, 90))
        for end in ("black_hu", "white_hu")
    ]
    words = [f"{middle} HU (10% to 90%: {low} to {high})" for low, middle, high in ends]
    return (
        f"Air in the airways is {AIR_HU:g} HU and the peak of muscle and blood "
        f"{SOFT_TISSUE_HU:g} HU. On the {len(fat)} slices where fat has a peak of its own, this "
        f"line puts fat at {np.mean(fat):.0f} HU on average (standard deviation "
        f"{np.std(fat):.0f}; {FAT_HU:g} is expected), so the grey values are linear in HU. Black "
        f"lies at {words[0]}, white at {words[1]}. Slices in which soft tissue is white have no "
        "scale and are left out.\n"
    )
