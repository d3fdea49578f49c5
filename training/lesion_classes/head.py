"""Make the bundled class network: ``python -m training.lesion_classes.head --data DIR``.

It is scored on every slice by a network trained on the other folds, and then trained on all. The
report is what the model card and the catalogue take their scores from.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
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
from training.command_line import command
from training.config import TrainingConfig, load_config
from training.export_weights import RESOURCES, install
from training.metrics import bootstrap_interval

from .learned import CONFIG, fitted, learned_calls, samples_of
from .rules import SCORES, Rule, calls_of
from .slices import ClassSlice, folds_of, read_class_slices

_LOG = logging.getLogger("training")
_COMMAND = "python -m training.lesion_classes.head"


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
        "temperature": 1.0,
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
        "command": _COMMAND,
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


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, train, score and install."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with covid_semiseg")
    parser.add_argument("--out", type=Path, default=RESOURCES, help="folder with models.json")
    parser.add_argument("--json", type=Path, help="report; training/reports by default")
    options = parser.parse_args(arguments)
    config = load_config(CONFIG)
    slices = read_class_slices(options.data)
    entry, data = head_of(slices, config)
    variants = {
        OWN_SCORES: learned_calls(slices, folds_of(slices), config),
        BORDER_SCORES: {s.key: calls_of(s.hu >= CONSOLIDATION_FROM_HU, s.classes) for s in slices},
    }
    report = score_report(variants, entry)
    path = options.json or CONFIG.parents[1] / "reports" / f"{entry.id}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _LOG.info("%s: %s", install(entry, data, options.out), report["summary"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
