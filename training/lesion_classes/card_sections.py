"""Sections of the class network's card, from the report of `training.lesion_classes.head`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from CovidLesionSegLib.weights.catalogue import CatalogueEntry
from training.card_sections import bins_table, diagram
from training.reliability import AS_GIVEN
from training.tables import markdown_table

from .failures import SOURCE

Report = Mapping[str, Any]


def class_sections(entry: CatalogueEntry, report: Report) -> list[str]:
    """Return calibration and failure cases; nothing for the report of another network.

    Args:
        entry: The model.
        report: As `training.lesion_classes.head` wrote it, on exactly these weights.
    """
    if "failures" not in report:
        return []
    return [_calibration(entry, report), _failures(report)]


def _calibration(entry: CatalogueEntry, report: Report) -> str:
    measured = report["calibration"]
    errors = list(measured[AS_GIVEN]["cases"].values())
    return (
        "## Calibration\n\n"
        "P(consolidation) against the expert's class, pixels inside the expert's infection, by "
        f"networks trained on the other folds; made by `{report['command']}`. ECE: expected "
        "calibration error over ten bins, every slice with the same weight; errors of opposite "
        "sign cancel between slices. No temperature was fitted. No user is given this "
        "probability: `covid-lesion-seg classes` calls one class or the other and writes the calls "
        "only, so this tells how sure the network is, not how sure a result is.\n\n"
        f"{diagram(entry, 'consolidation')}\n\n"
        f"ECE {measured[AS_GIVEN]['calibration_error']:.4f} over all {len(errors)} slices; of a "
        f"slice by itself {np.median(errors):.4f} (median), {max(errors):.4f} at worst.\n\n"
        f"{bins_table(measured)}"
    ).rstrip()


def _failures(report: Report) -> str:
    head = (
        "slice",
        "worst in",
        "wrong, %",
        "consolidation called ground glass, %",
        "ground glass called consolidation, %",
        "consolidation by the expert, %",
        "mean HU of what is wrong so",
        "wrong by the border in HU, %",
    )
    rows = [
        [
            wrong["key"],
            wrong["kind"],
            f"{wrong['wrong_percent']:.1f}",
            f"{wrong['missed_percent']:.1f}",
            f"{wrong['false_percent']:.1f}",
            f"{wrong['drawn_percent']:.1f}",
            f"{wrong['wrong_hu']:.0f}",
            f"{wrong['border_wrong_percent']:.1f}",
        ]
        for wrong in report["failures"]
    ]
    return (
        "## Failure cases\n\n"
        "The slices of whose infection most is called the other class, in each direction, by "
        "networks that had not seen them. Percent of the expert's infection: the slices carry no "
        "pixel size. HU are estimated.\n\n"
        f"{markdown_table(head, rows)}\n"
        f"Pictures with both outlines: `{report['command']} --data DATA` draws them; they hold "
        f"pixels of the data, which is no part of this project. {SOURCE}."
    )
