"""From a config and the data folder to the lesson of a COVID-SemiSeg run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from CovidLesionSegLib.errors import InputError
from training.config import TrainingConfig
from training.lessons import Curriculum
from training.splits import Split

from .batches import options_of
from .lesson import SemisegLesson
from .slices import LAYOUTS, SliceSet, load_folds, open_layout, open_slices


def split_of_fold(fold: int | None, keys: tuple[str, ...]) -> Split:
    """Return the labelled slices to train on and to validate on.

    Raises:
        InputError: ``split-unknown`` for a fold that does not exist.
    """
    if fold is None:
        return Split("all", keys, ())
    folds = load_folds()
    if not 0 <= fold < len(folds):
        raise InputError(
            "split-unknown", f"There is no fold {fold}.", f"Folds go from 0 to {len(folds) - 1}."
        )
    return Split(f"fold-{fold}", tuple(k for k in keys if k not in folds[fold]), folds[fold])


def open_pseudo(folder: Path, data_dir: Path, size: int, cache_dir: Path) -> SliceSet:
    """Open the unlabelled slices with the maps and edges of a folder as their labels.

    Args:
        folder: ``GT`` and ``Edge`` with one PNG per slice, of the slice's own size, as
            `training.semiseg.propagation` writes them.
        data_dir: Folder that contains ``covid_semiseg``.
        size: Height and width of the grid in pixels.
        cache_dir: Folder of the prepared slices.
    """
    images = data_dir / LAYOUTS["unlabelled"]["images"]
    folders = {"images": images, "masks": folder / "GT", "edges": folder / "Edge"}
    return open_slices("pseudo", folders, size, cache_dir)


def open_semiseg(
    config: TrainingConfig,
    data_dir: Path,
    cache_dir: Path,
    pseudo: Path | None = None,
    rank: int = 0,
) -> tuple[Split, Curriculum]:
    """Open the slices of a run and make its lesson.

    Args:
        config: The run.
        data_dir: Folder that contains ``covid_semiseg``.
        cache_dir: Folder of the prepared slices.
        pseudo: Folder of pseudo labels to train on beside the expert's, see `open_pseudo`.
        rank: Process number in distributed training.

    Raises:
        InputError: Inconsistent data, or ``split-unknown``.
    """
    options = options_of(config)
    labelled = open_layout("labelled", data_dir, options.size, cache_dir)
    split = split_of_fold(options.fold, labelled.keys)
    parts = [(labelled, labelled.rows(split.training))]
    digests = {labelled.name: labelled.digest}
    if pseudo is not None:
        extra = open_pseudo(pseudo, data_dir, options.size, cache_dir)
        parts.append((extra, np.arange(len(extra.keys))))
        digests[extra.name] = extra.digest
    watched = (labelled, labelled.rows(split.validation)) if split.validation else None
    lesson = SemisegLesson(config, parts, watched, rank)
    _check_epoch(config, lesson)
    return split, Curriculum(lesson, digests)


def _check_epoch(config: TrainingConfig, lesson: SemisegLesson) -> None:
    """Schedules that count epochs must count those of this data."""
    expected = config.optimisation.epoch_steps
    if config.optimisation.schedule != "cosine" and expected != lesson.batches.epoch_steps:
        raise InputError(
            "training-config-invalid",
            f"An epoch has {lesson.batches.epoch_steps} steps, the config says {expected}.",
            "Set optimisation.epoch_steps for this data and batch size.",
        )
