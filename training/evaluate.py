"""Measure models.

``python -m training.evaluate volumes|lungs --data DIR --json FILE`` or
``python -m training.evaluate semiseg --predictions DIR --gt DIR --json FILE``.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Column, Table

from CovidLesionSegLib.engine.devices import resolve_device
from CovidLesionSegLib.engine.models import (
    DEFAULT_MODEL,
    LUNG_MODEL,
    open_infection_model,
    open_lung_model,
)
from CovidLesionSegLib.engine.slice_model import InfectionModel
from CovidLesionSegLib.engine.tissue_model import TissueModel
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.resources import resources_dir
from CovidLesionSegLib.weights.locations import shared_model_dirs, user_model_dir
from CovidLesionSegLib.weights.store import WeightsStore, default_store

from . import semiseg_evaluation, volume_evaluation
from .command_line import command
from .config import DataConfig, load_config
from .data.store import wanted_volumes
from .data.volumes import VolumeFiles, load_volume
from .predictions import PredictionFolder, predict_bare
from .splits import patients_of, split_of
from .tables import interval_text
from .volume_evaluation import Scores, infection_scores, lung_scores

_LOG = logging.getLogger("training")


def select_cases(
    data_dir: Path, split: str, keys: Sequence[str], data: DataConfig | None = None
) -> list[VolumeFiles]:
    """Return the validation cases of a split, or the named cases.

    Args:
        data_dir: Folder with one folder per source.
        split: Name of a split.
        keys: Cases instead.
        data: Sources and split file; those of the committed split by default.

    Raises:
        InputError: What `wanted_volumes` and `split_of` refuse, or ``split-without-validation``.
    """
    data = data or DataConfig()
    wanted = list(keys) or list(split_of(replace(data, split=split)).validation)
    if not wanted:
        raise InputError(
            "split-without-validation",
            f"The split {split!r} holds no patient out.",
            "Name cases with --cases, or patients under 'validation' in the split file.",
        )
    return wanted_volumes(data_dir, data.sources, wanted)


def patients_by_case(data: DataConfig | None = None) -> dict[str, str]:
    """Return the patient of every case of a split file, the committed one by default."""
    return patients_of(data or DataConfig())


def evaluate(
    task: str,
    files: Sequence[VolumeFiles],
    store: WeightsStore,
    model_id: str,
    device: str,
    predictions: PredictionFolder,
) -> tuple[dict[str, Scores], dict[str, str]]:
    """Score cases one by one.

    Args:
        task: ``"volumes"`` (lesions) or ``"lungs"``.
        files: The cases.
        store: Where the models are.
        model_id: Infection model, or several as `open_infection_model` takes them; not used
            for lungs.
        device: Torch device.
        predictions: Where predictions of lesions are kept.

    Returns:
        Scores by case and variant, and the digest of every weight file used.
    """
    lung_model = open_lung_model(device, store)
    digests = {lung_model.id: lung_model.sha256}
    cases: dict[str, Scores] = {}
    model: InfectionModel | TissueModel | None = None
    if task == "volumes":
        model = open_infection_model(model_id, None, device, store)
        digests.update(model.weights_sha256)
    for entry in files:
        volume = load_volume(entry)
        if model is None:
            cases[entry.key] = lung_scores(volume, lung_model)
        else:
            predicted = predictions.predict(volume.ct, model, lung_model)
            bare = None if isinstance(model, TissueModel) else predict_bare(volume.ct, model)
            cases[entry.key] = infection_scores(volume, predicted, bare)
        _LOG.info("%s: %s", entry.key, _brief(cases[entry.key]))
    return {key: scores for key, scores in cases.items() if scores}, digests


def print_table(cases: Mapping[str, Scores], summary: Mapping[str, Any]) -> None:
    """Print the scores of every case and variant."""
    for variant, figures in summary.items():
        table = _table(variant, "case", *figures)
        for key, scores in cases.items():
            table.add_row(key, *(f"{scores[variant][name]:.3f}" for name in figures))
        means = (interval_text(figures[name]) for name in figures)
        table.add_row("mean [95% interval]", *means, end_section=True)
        Console().print(table)


def _table(title: str, *heads: str) -> Table:
    """Return an empty table whose heads and numbers take two lines rather than lose their ends."""
    columns = (Column(head.replace("_", " "), overflow="fold") for head in heads)
    return Table(*columns, title=title, padding=(0, 0))


def _brief(scores: Scores) -> dict[str, float]:
    return {variant: round(values["dice"], 3) for variant, values in scores.items()}


def case_report(scores: Scores) -> dict[str, dict[str, float | None]]:
    """Round the scores of a case and replace NaN by null, which JSON knows."""
    return {
        variant: {n: None if math.isnan(v) else round(v, 5) for n, v in values.items()}
        for variant, values in scores.items()
    }


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure, print a table and write JSON."""
    options = _parser().parse_args(arguments)
    report = _semiseg(options) if options.task == "semiseg" else _volumes(options)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    for task, what in (("volumes", "lesions in whole CTs"), ("lungs", "lungs in whole CTs")):
        volumes = tasks.add_parser(task, help=what)
        volumes.add_argument("--data", type=Path, required=True, help="folder of the volume sets")
        volumes.add_argument(
            "--models", type=Path, help="folder with models.json, searched before the bundled ones"
        )
        volumes.add_argument("--model", default=DEFAULT_MODEL, help="id of the infection model")
        volumes.add_argument(
            "--config",
            type=Path,
            help="training config of other data: its sources, split file and split",
        )
        volumes.add_argument("--split", help="whose validation cases; the config's, or 'bundled'")
        volumes.add_argument("--cases", nargs="*", default=(), help="these cases instead")
        volumes.add_argument("--device", default="auto")
        volumes.add_argument("--predictions", type=Path, help="keep predictions in this folder")
        volumes.add_argument("--threads", type=int, default=0, help="CPU threads; 0: open")
    semiseg = tasks.add_parser("semiseg", help="maps of COVID-SemiSeg slices")
    semiseg.add_argument("--predictions", type=Path, required=True, help="folder of 8-bit maps")
    semiseg.add_argument("--gt", type=Path, required=True, help="folder of masks")
    for task_parser in tasks.choices.values():
        task_parser.add_argument("--json", type=Path, help="where to write every score")
    return parser


def _volumes(options: argparse.Namespace) -> dict[str, Any]:
    if options.threads:
        torch.set_num_threads(options.threads)
    store = default_store() if options.models is None else _store_with(options.models)
    data = DataConfig() if options.config is None else load_config(options.config).data
    split = options.split or data.split
    files = select_cases(options.data, split, options.cases, data)
    device = resolve_device(options.device)
    kept = PredictionFolder(options.predictions)
    cases, digests = evaluate(options.task, files, store, options.model, device, kept)
    summary = volume_evaluation.summarise(cases, patients_by_case(data))
    print_table(cases, summary)
    model = LUNG_MODEL if options.task == "lungs" else options.model
    return {
        "command": _command(options, split),
        "model": model,
        "weights_sha256": digests,
        "cases": {key: case_report(scores) for key, scores in cases.items()},
        "summary": summary,
    }


def _command(options: argparse.Namespace, split: str) -> str:
    """Return the command that measures the same, but for where data and models are."""
    words = ["python -m training.evaluate", options.task]
    if options.config is not None:
        words += ["--config", options.config.as_posix()]
    words += ["--cases", *options.cases] if options.cases else ["--split", split]
    if options.task != "lungs":
        words += ["--model", options.model]
    return " ".join(words)


def _store_with(folder: Path) -> WeightsStore:
    """Return a store in which the models of a folder come before the bundled ones.

    Raises:
        InputError: ``models-folder-missing``.
    """
    if not folder.is_dir():
        raise InputError(
            "models-folder-missing",
            f"There is no folder {folder.name!r} with models.",
            "Give the folder that export_weights --out wrote to.",
        )
    return WeightsStore(resources_dir(), user_model_dir(), (folder, *shared_model_dirs()))


def _semiseg(options: argparse.Namespace) -> dict[str, Any]:
    images = semiseg_evaluation.score_folder(options.predictions, options.gt)
    summary = semiseg_evaluation.summarise(list(images.values()))
    for protocol, scores in summary.items():
        table = _table(f"{protocol}, {len(images)} images", *scores)
        table.add_row(*(f"{value:.4f}" for value in scores.values()))
        Console().print(table)
    return {
        "command": "python -m training.evaluate semiseg",
        "predictions": options.predictions.name,
        "images": {stem: {"half": scores.half} for stem, scores in images.items()},
        "summary": summary,
    }


if __name__ == "__main__":
    sys.exit(main())
