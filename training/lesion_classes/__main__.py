"""Ground glass and consolidation against experts: ``python -m training.lesion_classes ...``.

On the labelled slices of COVID-SemiSeg, inside the expert's infection: what the engine's HU border
says, what other borders and a smoothing within the infection would, and what networks trained on
the other folds do (``--runs``, one per fold of `training.lesion_classes.train`). The official test
slices are not used. Border and smoothing that a slice is scored with are chosen on the other folds.
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
from training.command_line import command
from training.config import load_config
from training.metrics import bootstrap_interval
from training.run_folder import RunFolder, sha256_of
from training.semiseg.slices import CONSOLIDATION, GROUND_GLASS

from .learned import CONFIG, learned_calls
from .network import network_calls
from .rules import (
    SCORES,
    SMOOTHINGS_MM,
    BorderRule,
    Calls,
    Rule,
    border_rules,
    chosen_rule,
    mean_dice,
)
from .slices import ClassSlice, folds_of, read_class_slices
from .text import report_text
from .volumes import compare_volumes, usual_choice

_LOG = logging.getLogger("training")
REPORT = Path(__file__).parents[1] / "reports" / "lesion-classes.json"
ENGINE, BEST_RULE = "engine", "chosen border and smoothing"
_PERCENTILES = (10, 25, 50, 75, 90)


def summary(rule: Rule, engine: Rule) -> dict[str, Any]:
    """Return means over slices with intervals, and those of the differences to the engine."""
    result: dict[str, Any] = {}
    keys = sorted(rule)
    for name in SCORES:
        values = [_score(rule[key], name) for key in keys]
        differences = [_score(rule[key], name) - _score(engine[key], name) for key in keys]
        result[name] = _figure(values, keys)
        result[f"{name}_gain"] = _figure(differences, keys)
    return result


def _score(calls: Calls, name: str) -> float:
    value = calls.scores()[name]
    return float("nan") if value is None else value


def _figure(values: Sequence[float], keys: Sequence[str]) -> dict[str, float]:
    # Patients of the slices are not published: the interval takes each slice for one.
    figures = bootstrap_interval(values, keys)
    return {n: round(v, 5) for n, v in zip(("mean", "low", "high"), figures, strict=True)}


def evaluate(slices: Sequence[ClassSlice], runs: Sequence[Path] = ()) -> dict[str, Any]:
    """Score all rules.

    Args:
        slices: The slices.
        runs: Run folders of the class network, one per fold.

    Raises:
        InputError: ``training-folds-incomplete`` unless the runs hold out every fold once.
    """
    folds = folds_of(slices)
    borders = border_rules(slices)
    engine = borders[0.0, CONSOLIDATION_FROM_HU]
    plain = {name: rule for name, rule in borders.items() if name[0] == 0.0}
    rules: dict[str, Rule] = {ENGINE: engine}
    choices: dict[str, list[dict[str, float]]] = {}
    for sigma in SMOOTHINGS_MM[1:]:
        rules[f"smoothed {sigma:g} mm"] = borders[sigma, CONSOLIDATION_FROM_HU]
    rules["chosen border"], choices["chosen border"] = chosen_rule(plain, folds)
    rules[BEST_RULE], choices[BEST_RULE] = chosen_rule(borders, folds)
    rules["learned densities"] = learned_calls(slices, folds, load_config(CONFIG))
    if runs:
        rules["network"] = network_calls(slices, runs)
    return {
        "slices": len(slices),
        "hu_percentiles": hu_percentiles(slices),
        "choices": choices,
        "mean_dice_by_border": curves(borders, sorted(engine)),
        "rules": {name: summary(rule, engine) for name, rule in rules.items()},
        "scales": {item.key: scale_values(item) for item in slices},
    }


def hu_percentiles(slices: Sequence[ClassSlice]) -> dict[str, dict[str, int]]:
    """Return percentiles of the HU of each class; every slice has the same weight."""
    result = {}
    for name, value in (("ground_glass", GROUND_GLASS), ("consolidation", CONSOLIDATION)):
        samples = [item.hu[item.classes == value] for item in slices]
        # As many quantiles of each slice, so that large lesions do not speak for all.
        drawn = [np.quantile(hu, np.linspace(0.005, 0.995, 100)) for hu in samples if hu.size]
        levels = np.percentile(np.concatenate(drawn), _PERCENTILES)
        result[name] = {
            str(p): round(float(level)) for p, level in zip(_PERCENTILES, levels, strict=True)
        }
    return result


def curves(borders: Mapping[BorderRule, Rule], keys: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the mean Dice over all slices by smoothing and border."""
    result: dict[str, dict[str, float]] = {}
    for (sigma, border), rule in borders.items():
        result.setdefault(f"{sigma:g}", {})[str(border)] = round(mean_dice(rule, keys), 5)
    return result


def scale_values(item: ClassSlice) -> dict[str, float | None]:
    """Return how the grey values of a slice became HU."""
    scale = item.scale
    low, high = scale.window_hu
    values = {
        "air": scale.air,
        "fat": scale.fat,
        "soft_tissue": scale.soft_tissue,
        "black_hu": low,
        "white_hu": high,
        "fat_hu": scale.fat_hu,
        "pixel_mm": item.pixel_mm,
    }
    return {name: None if value is None else round(value, 3) for name, value in values.items()}


def _command_text(runs: Sequence[Path]) -> str:
    text = "python -m training.lesion_classes --data DATA"
    return f"{text} --runs {' '.join(run.as_posix() for run in runs)}" if runs else text


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, score and write."""
    parser = argparse.ArgumentParser(prog="python -m training.lesion_classes", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with covid_semiseg and volumes"
    )
    parser.add_argument("--runs", type=Path, nargs="*", default=(), help="one run per fold")
    parser.add_argument("--json", type=Path, default=REPORT, help="report; a table lies beside it")
    options = parser.parse_args(arguments)
    report = evaluate(read_class_slices(options.data), options.runs)
    choice = usual_choice(report["choices"][BEST_RULE])
    volumes = compare_volumes(options.data, *choice)
    runs = {run.name: sha256_of(RunFolder(run).checkpoint) for run in options.runs}
    head = {"command": _command_text(options.runs), "checkpoints_sha256": runs}
    report = {**head, **report}
    report["volumes"] = volumes
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    options.json.with_suffix(".md").write_text(report_text(report), encoding="utf-8")
    _LOG.info("%s", options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
