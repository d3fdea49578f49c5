"""What `training.finding_rules` measured, in Markdown: its report, and the part of the README."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from CovidLesionSegLib.engine.postprocess import LARGE_SHARE, LEAST_DENSITY_RATIO
from CovidLesionSegLib.engine.surroundings import SURROUNDINGS_MM

from .tables import markdown_table

ENGINE_RULE = "density_ratio_unless_large"
FREE_DICE = 0.002
"""How far below the best a value's mean Dice may be for the patients it is chosen on."""

_ABOUT = (
    "What changes when connected findings are dropped that have less than a value of one property: "
    "contrast (mean HU less the median HU of the uncalled lung within "
    f"{SURROUNDINGS_MM:g} mm), density ratio (the same two, each plus 1000, divided), that ratio "
    f"but sparing findings that fill more than {100 * LARGE_SHARE:g}% of the lungs, peak or mean "
    "probability. On the held-out scans of the "
    "k-fold. The second table of a rule scores every scan with the strictest value whose mean "
    f"Dice on the other patients' scans with disease is within {FREE_DICE:g} of the best; nearly "
    "healthy scans decide nothing about any value."
)
_SHOWN = {
    "peak_probability": ("peak of probability", (0.9, 0.95, 0.98, 0.99)),
    "contrast_hu": ("contrast, HU", (90.0, 100.0, 110.0)),
    ENGINE_RULE: ("ratio of densities, sparing large findings", (1.25, 1.3, 1.4, 1.45)),
}


def report_text(report: Mapping[str, Any]) -> str:
    """Return the report in Markdown."""
    parts = [
        "# Rules over connected findings",
        f"{_ABOUT} Made by `{report['command']}`.",
    ]
    for rule, measured in report["rules"].items():
        parts += [f"## {rule}", _value_table(measured), _case_table(measured)]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def summary_text(report: Mapping[str, Any]) -> str:
    """Return the figures that speak for and against the engine's rule, in Markdown."""
    rules = report["rules"]
    first = rules[ENGINE_RULE]["values"][0]
    rows = [["no rule", "", _percents(first), f"{first['dice']:.4f}", ""]]
    for rule, (name, values) in _SHOWN.items():
        by_value = {row["value"]: row for row in rules[rule]["values"]}
        rows += [_shown_row(name, by_value[value]) for value in values]
    (healthy,) = (key for key in rules[ENGINE_RULE]["left_out"] if key not in _diseased(report))
    head = ("at least", "", f"`{healthy}`: infected %", "mean Dice of the others", "loses most")
    return f"{markdown_table(head, rows)}\n{_choice_text(report)}"


def _diseased(report: Mapping[str, Any]) -> list[str]:
    keys: list[str] = report["rules"][ENGINE_RULE]["diseased"]
    return keys


def _shown_row(name: str, row: Mapping[str, Any]) -> list[str]:
    loss = f"{row['largest_loss']:.4f}, `{row['loses_most']}`" if row["largest_loss"] > 0 else "-"
    return [name, f"{row['value']:g}", _percents(row), f"{row['dice']:.4f}", loss]


def _choice_text(report: Mapping[str, Any]) -> str:
    """Set what choosing without the patient gives beside the value in the engine."""
    measured = report["rules"][ENGINE_RULE]
    counted = Counter(case["value"] for case in measured["left_out"].values())
    choices = ", ".join(f"{value:g} for {counted[value]}" for value in sorted(counted))
    by_value = {row["value"]: row for row in measured["values"]}
    loss = max(0.0, by_value[LEAST_DENSITY_RATIO]["largest_loss"])
    agrees = "for some of them" if LEAST_DENSITY_RATIO in counted else "for none of them"
    return (
        f"Chosen without its patient (the strictest value within {FREE_DICE:g} of the best mean "
        f"Dice of the others), the ratio would be {choices} of the {sum(counted.values())} scans. "
        f"{LEAST_DENSITY_RATIO:g}, which the engine uses, is what this gives {agrees}; it costs no "
        f"scan more than {loss:.4f}."
    )


def _value_table(measured: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{row['value']:g}",
            f"{row['dice']:.4f}",
            f"{row['largest_loss']:.4f}",
            _percents(row),
        ]
        for row in measured["values"]
    ]
    head = ("at least", "mean Dice", "largest loss of a scan", "nearly healthy: infected %")
    return markdown_table(head, rows)


def _percents(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{percent:.2f}" for percent in row["healthy_percent"])


def _case_table(measured: Mapping[str, Any]) -> str:
    rows = [
        [
            key,
            f"{case['value']:g}",
            f"{case['dice_before']:.3f}",
            f"{case['dice']:.3f}",
            f"{case['percent_before']:.2f}",
            f"{case['percent']:.2f}",
        ]
        for key, case in measured["left_out"].items()
    ]
    head = ("scan", "value chosen without it", "Dice before", "after", "infected %", "after")
    return markdown_table(head, rows)
