"""Make the bundled class network: ``python -m training.lesion_classes.head --data DIR``.

It is scored on every slice by a network trained on the other folds, and then trained on all. The
model card and the catalogue take their scores from the report. The card also takes from it how far
the probabilities can be believed and where the network fails; pictures of the failures go to a
folder that git ignores.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from CovidLesionSegLib.engine.definitions import CONSOLIDATION_FROM_HU
from CovidLesionSegLib.engine.lesion_classes import (
    BORDER_SCORES,
    OWN_SCORES,
    TASK,
    density_recipe,
)
from CovidLesionSegLib.weights.catalogue import CatalogueEntry
from CovidLesionSegLib.weights.packing import pack_model
from training.calibration import count_logits
from training.command_line import command
from training.config import TrainingConfig, load_config
from training.export_weights import RESOURCES, install
from training.metrics import bootstrap_interval
from training.reliability import CARDS, measured_sides, picture_name
from training.reliability import draw as draw_reliability
from training.semiseg.slices import CONSOLIDATION
from training.slice_pictures import PICTURES

from .failures import draw, worst_slices
from .learned import CONFIG, Logits, calls_by_logits, fitted, learned_logits, samples_of
from .rules import SCORES, Rule, calls_of
from .slices import ClassSlice, folds_of, read_class_slices

_LOG = logging.getLogger("training")
COMMAND = "python -m training.lesion_classes.head"
_NO_TEMPERATURE = 1.0
"""What the entry holds; none is fitted: the loss asks for probabilities, among other things."""


def head_of(slices: Sequence[ClassSlice], config: TrainingConfig) -> tuple[CatalogueEntry, bytes]:
    """Train on all slices and make catalogue entry and weights file.

    Args:
        slices: The slices.
        config: How to train, and the model's card.

    Returns:
        The entry, and the content of its file.
    """
    network = fitted([samples_of(item) for item in slices], config)
    description: dict[str, Any] = {
        "id": config.name,
        "version": "1",
        "task": TASK,
        **network.config.to_dict(),
        "recipe": density_recipe(),
        "dtype": "float16",
        "threshold": 0.5,
        "temperature": _NO_TEMPERATURE,
        **config.card,
        "split": f"{len(slices)} slices, five folds; scores are of networks trained on the other "
        "folds, the weights of all slices. The 48 test slices were not used.",
        "source": {"config": f"training/configs/{CONFIG.name}"},
    }
    return pack_model(
        description, {name: value.numpy() for name, value in network.state_dict().items()}
    )


def score_report(variants: Mapping[str, Rule], entry: CatalogueEntry) -> dict[str, Any]:
    """Return the scores in the form of `training.evaluate`: by slice, and their means.

    Args:
        variants: Calls by variant and slice, the same slices in each.
        entry: The model.
    """
    keys = sorted(variants[OWN_SCORES])
    cases = {
        key: {name: _rounded(rule[key].scores()) for name, rule in variants.items()} for key in keys
    }
    return {
        "command": COMMAND,
        "weights_sha256": {entry.id: entry.sha256},
        "cases": cases,
        "summary": {name: _means(rule, keys) for name, rule in variants.items()},
    }


def _means(rule: Rule, keys: Sequence[str]) -> dict[str, dict[str, float]]:
    summary = {}
    for name in SCORES:
        values = [rule[key].scores()[name] for key in keys]
        figures = bootstrap_interval([np.nan if v is None else v for v in values], keys)
        summary[name] = {
            n: round(value, 5) for n, value in zip(("mean", "low", "high"), figures, strict=True)
        }
    return summary


def _rounded(scores: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 5) for name, value in scores.items()}


def calibration(slices: Sequence[ClassSlice], logits: Logits) -> dict[str, Any]:
    """Measure how far P(consolidation) can be believed inside the expert's infection.

    Returns:
        See `training.reliability.measured_sides`; every slice has the same weight.
    """
    histograms = [
        count_logits(s.key, logits[s.key], s.classes[s.classes > 0] == CONSOLIDATION)
        for s in slices
    ]
    return measured_sides(histograms, None)


def report_doubts(
    slices: Sequence[ClassSlice],
    logits: Logits,
    variants: Mapping[str, Rule],
    title: str,
    pictures: Path,
    cards: Path,
) -> dict[str, Any]:
    """Measure and draw calibration and failures.

    Args:
        slices: The slices.
        logits: Of networks that had not seen them.
        variants: As of `score_report`.
        title: The model's id.
        pictures: Folder of the pictures of slices.
        cards: Folder of the reliability diagram.

    Returns:
        ``"calibration"`` and ``"failures"``, for the report.
    """
    measured = calibration(slices, logits)
    draw_reliability(measured, cards / picture_name(title), "consolidation")
    by_key = {item.key: item for item in slices}
    worst = worst_slices(slices, logits, variants[OWN_SCORES], variants[BORDER_SCORES])
    for wrong in worst:
        path = pictures / f"{title}-{wrong.key}.png"
        draw(by_key[wrong.key], logits[wrong.key], wrong, title, path)
    return {"calibration": measured, "failures": [asdict(wrong) for wrong in worst]}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, train, score and install."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with covid_semiseg")
    parser.add_argument("--out", type=Path, default=RESOURCES, help="folder with models.json")
    parser.add_argument("--json", type=Path, help="report; training/reports by default")
    parser.add_argument("--cards", type=Path, default=CARDS, help="folder of the diagram")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder of the pictures")
    options = parser.parse_args(arguments)
    config = load_config(CONFIG)
    slices = read_class_slices(options.data)
    entry, data = head_of(slices, config)
    logits = learned_logits(slices, folds_of(slices), config)
    variants = {
        OWN_SCORES: calls_by_logits(slices, logits),
        BORDER_SCORES: {s.key: calls_of(s.hu >= CONSOLIDATION_FROM_HU, s.classes) for s in slices},
    }
    doubts = report_doubts(slices, logits, variants, entry.id, options.pictures, options.cards)
    report = {**score_report(variants, entry), **doubts}
    path = options.json or CONFIG.parents[1] / "reports" / f"{entry.id}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _LOG.info("%s: %s", install(entry, data, options.out), report["summary"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
