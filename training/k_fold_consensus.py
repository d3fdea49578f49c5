"""Score the consensus by k-fold: ``python -m training.k_fold_consensus RUN... --data DIR``.

Takes one run per fold and family; the networks of a fold answer together, as the bundled ones do
as ``consensus``. Every network is calibrated as in `training.k_fold`, on the patients that the
other folds of its own family hold out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.locations import user_model_dir
from CovidLesionSegLib.weights.store import WeightsStore

from .command_line import command
from .export_weights import load_average
from .k_fold import (
    REPORT,
    Fold,
    add_common,
    calibration_from_others,
    check_folds,
    install_folds,
    open_folds,
    score_case,
    write_report,
)
from .volume_evaluation import Scores

CONSENSUS_REPORT = REPORT.with_name("k-fold-consensus.json")


def by_family(folds: Sequence[Fold]) -> dict[str, list[Fold]]:
    """Return the folds of every family, each in the order of their splits.

    Raises:
        InputError: ``folds-incomplete`` unless every family has the same splits; or what
            `check_folds` says of one of them.
    """
    families: dict[str, list[Fold]] = {}
    for fold in sorted(folds, key=lambda fold: fold.config.data.split):
        families.setdefault(fold.config.model.family, []).append(fold)
    if len(families) < 2:
        raise InputError(
            "folds-incomplete",
            "All runs are of one family, which makes no consensus.",
            "Give the runs of at least two families.",
        )
    splits = {tuple(fold.config.data.split for fold in members) for members in families.values()}
    if len(splits) > 1:
        raise InputError(
            "folds-incomplete",
            f"The runs of {', '.join(families)} are not of the same folds.",
            "Give one run for every fold of every family.",
        )
    for members in families.values():
        check_folds(members)
    return families


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, calibrate, score every fold, and write the report."""
    options = _parser().parse_args(arguments)
    families = by_family(open_folds(options))
    folder = options.work / "models"
    for family in families.values():
        calibrations = [calibration_from_others(family, i) for i in range(len(family))]
        install_folds(family, calibrations, folder)
    store = WeightsStore(folder, user_model_dir())
    cases: dict[str, Scores] = {}
    reports: dict[str, Any] = {}
    for members in zip(*families.values(), strict=True):
        model_id = "+".join(sorted(fold.config.name for fold in members))
        reports[members[0].config.data.split] = _fold_report(members, store)
        for key in members[0].held_out:
            cases[key] = score_case(key, model_id, store, options.data, options.work)
    runs = " ".join(run.as_posix() for run in options.runs)
    write_report(f"python -m training.k_fold_consensus {runs}", reports, cases, options.json)
    return 0


def _fold_report(members: Sequence[Fold], store: WeightsStore) -> dict[str, Any]:
    entries = {fold.config.name: store.find(fold.config.name).entry for fold in members}
    return {
        "held_out": list(members[0].held_out),
        "steps": {fold.config.name: load_average(fold.run, fold.config)[1] for fold in members},
        "thresholds": {name: entry.threshold for name, entry in entries.items()},
        "weights_sha256": {name: entry.sha256 for name, entry in entries.items()},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.k_fold_consensus", description=__doc__
    )
    parser.add_argument("runs", type=Path, nargs="+", help="one run per fold and family")
    add_common(parser)
    parser.add_argument(
        "--json", type=Path, default=CONSENSUS_REPORT, help="where to write the report"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
