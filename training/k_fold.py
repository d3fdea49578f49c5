"""Score a model by k-fold over patients: ``python -m training.k_fold RUN... --data DIR``.

Takes one run per fold, each with its own held-out patients. No held-out patient decides
anything about the network that is scored on it: temperature and threshold of a fold come from
the held-out patients of the *other* folds, as the networks that had not seen them answer. What
they would be if chosen on the fold's own patients, as for the bundled models, is reported too.

Parts that are done are kept in the work folder and not done again: empty its `predictions` and
`scores` after a change of the engine.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from CovidLesionSegLib.engine.models import LUNG_MODEL, member_ids
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.locations import user_model_dir
from CovidLesionSegLib.weights.store import WeightsStore, default_store

from .calibration import (
    Calibration,
    LogitHistogram,
    calibrate,
    collect,
    dice_at,
    load_histograms,
    save_histograms,
)
from .command_line import command
from .config import TrainingConfig, load_config
from .evaluate import case_report, evaluate, select_cases
from .evaluate import patients_by_case as patients_of
from .export_weights import export, install, load_average, validation_cases
from .predictions import PredictionFolder
from .reliability import expected_calibration_error
from .run_folder import RunFolder, sha256_of
from .splits import split_of
from .volume_evaluation import Scores, summarise

_LOG = logging.getLogger("training")
_HERE = Path(__file__).parent
REPORT = _HERE / "reports" / "k-fold.json"
_LUNG_CONFIG = _HERE / "configs" / f"{LUNG_MODEL}.json"
WORK = Path("runs/k-fold")


@dataclass(frozen=True, eq=False)
class Fold:
    """One run and what its network answers for the patients it has not seen.

    Attributes:
        run: The run folder.
        config: Its configuration.
        histograms: Logits of its held-out cases.
    """

    run: RunFolder
    config: TrainingConfig
    histograms: list[LogitHistogram]

    @property
    def held_out(self) -> tuple[str, ...]:
        """Cases the network was not trained on."""
        return split_of(self.config.data).validation


def check_folds(folds: Sequence[Fold]) -> None:
    """Refuse folds that do not belong together.

    Raises:
        InputError: ``folds-too-few``; ``folds-overlap`` for a patient held out twice.
    """
    if len(folds) < 2:
        raise InputError(
            "folds-too-few", "One fold is no cross-validation.", "Give one run folder per fold."
        )
    patient = patients_of()
    seen: set[str] = set()
    for fold in folds:
        patients = {patient.get(case, case) for case in fold.held_out}
        if patients & seen:
            raise InputError(
                "folds-overlap",
                f"More than one run holds out {', '.join(sorted(patients & seen))}.",
                "Give runs whose splits hold out different patients.",
            )
        seen |= patients


def calibration_from_others(folds: Sequence[Fold], index: int) -> Calibration:
    """Choose temperature and threshold of a fold on what the other folds hold out."""
    others = [h for i, fold in enumerate(folds) if i != index for h in fold.histograms]
    return calibrate(others)


def open_fold(path: Path, data_dir: Path, cache_dir: Path, work: Path) -> Fold:
    """Open a run and collect the logits of its held-out cases, or take the kept ones."""
    run = RunFolder.existing(path)
    config = load_config(run.config)
    model, _ = load_average(run, config)
    kept = work / "logits" / f"{path.name}-{sha256_of(run.checkpoint)[:16]}.json"
    if not kept.exists():
        cases = validation_cases(config, data_dir, cache_dir)
        save_histograms(kept, collect(model, cases, config.recipe, torch.device("cpu")))
    return Fold(run, config, load_histograms(kept))


def fold_report(fold: Fold, calibration: Calibration, sha256: str) -> dict[str, Any]:
    """Describe a fold: what it holds out, and how its probabilities were calibrated.

    Dice is that of the bare network inside the lungs on the network's own grid, by the
    threshold in use and by the one chosen on the held-out cases themselves; the difference
    is how much choosing on the patients that are scored flatters.
    """
    own = calibrate(fold.histograms)
    _, step = load_average(fold.run, fold.config)
    used = {
        h.key: round(dice_at(h, calibration.threshold, calibration.temperature), 5)
        for h in fold.histograms
    }
    return {
        "config": f"training/configs/{fold.config.name}.json",
        "steps": step,
        "weights_sha256": sha256,
        "held_out": list(fold.held_out),
        "temperature": calibration.temperature,
        "threshold": calibration.threshold,
        "calibrated_on": list(calibration.dice),
        "own": {"temperature": own.temperature, "threshold": own.threshold},
        "dice_in_lungs": {
            "used": used,
            "own": {key: round(value, 5) for key, value in own.dice.items()},
        },
        "calibration_error": {
            "uncalibrated": expected_calibration_error(fold.histograms, 1.0),
            "used": expected_calibration_error(fold.histograms, calibration.temperature),
            "own": expected_calibration_error(fold.histograms, own.temperature),
        },
    }


def score_case(key: str, model_id: str, store: WeightsStore, data_dir: Path, work: Path) -> Scores:
    """Score a held-out case by `training.evaluate`, or take the scores that are kept.

    Args:
        key: The case.
        model_id: A model, or several joined by ``+``.
        store: Where they are.
        data_dir: Folder of the volume sets.
        work: Where predictions and scores are kept.
    """
    used = (*member_ids(model_id, store), LUNG_MODEL)
    digests = [store.find(model).entry.sha256[:16] for model in used]
    kept = work / "scores" / f"{'-'.join([key, *digests])}.json"
    if not kept.exists():
        files = select_cases(data_dir, "bundled", [key])
        predictions = PredictionFolder(work / "predictions")
        cases, _ = evaluate("volumes", files, store, model_id, "cpu", predictions)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(cases[key]), encoding="utf-8")
    scores: Scores = json.loads(kept.read_text(encoding="utf-8"))
    return scores


def install_folds(
    folds: Sequence[Fold], calibrations: Sequence[Calibration], folder: Path
) -> list[str]:
    """Write every fold's model, and the bundled lung model, into a folder of models.

    Returns:
        The digests of the folds' weight files.
    """
    bundled = default_store()
    lungs = bundled.find(LUNG_MODEL)
    install(lungs.entry, bundled.read(lungs), folder)
    digests = []
    for fold, calibration in zip(folds, calibrations, strict=True):
        entry, data = export(fold.run, [], "1", calibration)
        install(entry, data, folder)
        digests.append(entry.sha256)
    return digests


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, calibrate, score every fold, and write the report."""
    options = _parser().parse_args(arguments)
    folds = open_folds(options)
    check_folds(folds)
    calibrations = [calibration_from_others(folds, index) for index in range(len(folds))]
    digests = install_folds(folds, calibrations, options.work / "models")
    store = WeightsStore(options.work / "models", user_model_dir())
    cases: dict[str, Scores] = {}
    reports: dict[str, Any] = {}
    for fold, calibration, digest in zip(folds, calibrations, digests, strict=True):
        reports[fold.config.data.split] = fold_report(fold, calibration, digest)
        for key in fold.held_out:
            cases[key] = score_case(key, fold.config.name, store, options.data, options.work)
    command_text = f"python -m training.k_fold {' '.join(r.as_posix() for r in options.runs)}"
    write_report(command_text, reports, cases, options.json)
    return 0


def open_folds(options: argparse.Namespace) -> list[Fold]:
    """Open every run of a command line that `add_common` has read."""
    if options.threads:
        torch.set_num_threads(options.threads)
    return [open_fold(run, options.data, options.cache, options.work) for run in options.runs]


def write_report(
    command_text: str, folds: Mapping[str, Any], cases: Mapping[str, Scores], path: Path
) -> None:
    """Write scores and what made them as JSON.

    Args:
        command_text: The command.
        folds: What is to be said of every fold, by split.
        cases: Scores by case and variant.
        path: The file.
    """
    report = {
        "command": command_text,
        "lungs_trained_on": list(split_of(load_config(_LUNG_CONFIG).data).training),
        "folds": folds,
        "cases": {key: case_report(scores) for key, scores in cases.items()},
        "summary": summarise(cases, patients_of()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _LOG.info("%s", path.name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.k_fold", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="one run folder per fold")
    add_common(parser)
    parser.add_argument("--json", type=Path, default=REPORT, help="where to write the report")
    return parser


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every cross-validation takes."""
    parser.add_argument("--data", type=Path, required=True, help="folder of the volume sets")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="prepared slices")
    parser.add_argument("--work", type=Path, default=WORK, help="models, predictions and scores")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: open")


if __name__ == "__main__":
    sys.exit(main())
