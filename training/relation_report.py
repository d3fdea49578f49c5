"""Ablation of collaborative training: ``python -m training.relation_report RUN ... --json FILE``.

Reads the last validation of every run; a run counts only once it is complete, and the folds of
all variants must be the same.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CovidLesionSegLib.errors import InputError

from .command_line import command
from .config import TrainingConfig, load_config
from .metrics import bootstrap_interval
from .run_folder import RunFolder, sha256_of
from .tables import markdown_table

_LOG = logging.getLogger("training")
_COMMAND = "python -m training.relation_report"
VARIANTS = ("single encoder", "concatenation", "relation")
_ROW_ENTRIES = ("step", "mean")


def variant_of(config: TrainingConfig) -> str:
    """Return which row of the ablation a run belongs to."""
    if config.relation is None:
        raise _unusable(f"{config.name} is no run of the task 'relation'")
    if not config.relation.general_sources:
        return VARIANTS[0]
    return VARIANTS[1] if config.relation.relation == "none" else VARIANTS[2]


def read_runs(runs: Sequence[Path]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the Dice of every held-out case by variant and split.

    Raises:
        InputError: ``ablation-unusable`` for an incomplete run, or for variants that were not
            run on the same splits with the same number of steps.
    """
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in VARIANTS}
    steps = set()
    for path in runs:
        run = RunFolder.existing(path)
        config, rows = load_config(run.config), run.read("validation")
        if not rows or rows[-1]["step"] != config.optimisation.steps:
            raise _unusable(f"the run {path.name} is not complete")
        steps.add(config.optimisation.steps)
        scores = {key: value for key, value in rows[-1].items() if key not in _ROW_ENTRIES}
        found[variant_of(config)][config.data.split] = scores
    if len(steps) != 1 or len({frozenset(splits) for splits in found.values()}) != 1:
        raise _unusable("the variants differ in steps or splits")
    return found


def _unusable(reason: str) -> InputError:
    return InputError(
        "ablation-unusable",
        f"The runs can't be compared: {reason}.",
        "Give complete runs of every variant on the same splits.",
    )


def summarise(
    found: dict[str, dict[str, dict[str, float]]], healthy: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the mean Dice of every variant and its gain over the single encoder.

    Intervals are over patients; a patient that several splits test counts with all of them.

    Args:
        found: Dice by variant, split and case.
        healthy: Cases with hardly any lesion, whose Dice is noise; left out.

    Raises:
        InputError: ``ablation-unusable`` for a case to leave out that nobody was tested on.
    """
    tested = {key for cases in found[VARIANTS[0]].values() for key in cases}
    if not set(healthy) < tested:
        raise _unusable(f"of {', '.join(healthy)} not all were tested, or nothing else was")
    found = {
        name: {
            split: {key: value for key, value in cases.items() if key not in healthy}
            for split, cases in splits.items()
        }
        for name, splits in found.items()
    }
    baseline = _flat(found[VARIANTS[0]])
    summary: dict[str, Any] = {}
    for name in VARIANTS:
        scores = _flat(found[name])
        patients = [key for _, key in scores]
        gains = [scores[place] - baseline[place] for place in scores]
        summary[name] = {
            "dice": _interval(list(scores.values()), patients),
            "gain": _interval(gains, patients),
            "by_split": {
                split: round(float(np.mean(list(cases.values()))), 4)
                for split, cases in sorted(found[name].items())
            },
            "by_case": {
                key: round(value, 4) for (_, key), value in scores.items() if len(found[name]) == 1
            },
        }
    return summary


def _flat(splits: dict[str, dict[str, float]]) -> dict[tuple[str, str], float]:
    return {(split, key): v for split, cases in sorted(splits.items()) for key, v in cases.items()}


def _interval(values: Sequence[float], patients: Sequence[str]) -> dict[str, float]:
    figures = bootstrap_interval(values, patients)
    return {k: round(v, 4) for k, v in zip(("mean", "low", "high"), figures, strict=True)}


def verdict(summary: dict[str, Any]) -> str:
    """Say in a sentence whether the relation model is better than its single encoder."""
    gain = summary[VARIANTS[2]]["gain"]
    if gain["low"] > 0.0:
        return "The relation model is better than the single encoder on these scans."
    if gain["high"] < 0.0:
        return "The relation model is worse than the single encoder on these scans."
    return "The relation model is not shown to be better than the single encoder on these scans."


def report_text(report: dict[str, Any]) -> str:
    """Return the Markdown of a report."""
    summary = report["summary"]
    # A single split has room for its cases.
    shown = "by_case" if summary[VARIANTS[0]]["by_case"] else "by_split"
    parts = list(summary[VARIANTS[0]][shown])
    rows = [
        [
            name,
            *(f"{figures[shown][part]:.3f}" for part in parts),
            *(_interval_text(figures[what]) for what in ("dice", "gain")),
        ]
        for name, figures in summary.items()
    ]
    left_out = f", without the nearly healthy {', '.join(report['healthy'])}"
    header = ["variant", *parts, "Dice (95% over patients)", "gain over single encoder"]
    return (
        "# Collaborative training with lesions of another source\n\n"
        f"Mean Dice at 0.5 of held-out volumes{left_out if report['healthy'] else ''}, bare "
        f"network, {report['steps']} steps per run. "
        f"{verdict(summary)} Made by `{report['command']}`.\n\n" + markdown_table(header, rows)
    )


def _interval_text(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, compare the runs, write JSON and Markdown."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of all variants and splits")
    parser.add_argument("--json", type=Path, required=True, help="report; a table lies beside it")
    parser.add_argument(
        "--healthy", nargs="+", default=[], metavar="CASE", help="with hardly any lesion; left out"
    )
    options = parser.parse_args(arguments)
    found = read_runs(options.runs)
    digests = {run.name: sha256_of(RunFolder(run).checkpoint) for run in options.runs}
    report = {
        "command": _COMMAND,
        "steps": load_config(RunFolder(options.runs[0]).config).optimisation.steps,
        "checkpoints_sha256": digests,
        "cases": found,
        "healthy": options.healthy,
        "summary": summarise(found, options.healthy),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    options.json.with_suffix(".md").write_text(report_text(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
