"""From a config and the data folder to what a run learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from CovidLesionSegLib.errors import InputError

from .config import TrainingConfig
from .data.lobes import LobeCase, open_lobes
from .data.store import StoredCase, open_store, wanted_volumes
from .data.tissue_cases import TissueCase, open_tissue
from .loop import Lesson
from .relation import RelationLesson
from .severity import SeverityLesson
from .slices import SliceLesson
from .splits import Split
from .tasks import create_task
from .tissue_lesson import TissueLesson

Case = TypeVar("Case", StoredCase, LobeCase, TissueCase)


@dataclass(frozen=True)
class Curriculum:
    """A lesson and where it comes from.

    Attributes:
        lesson: What the trainer asks for losses and scores.
        digests: SHA-256 of the files of every case, by case.
    """

    lesson: Lesson
    digests: dict[str, str]


def open_curriculum(
    config: TrainingConfig, split: Split, data_dir: Path, cache_dir: Path, rank: int = 0
) -> Curriculum:
    """Open the cases of a run and make its lesson.

    Args:
        config: The run.
        split: Cases to train on and to validate on.
        data_dir: Folder with one folder per source.
        cache_dir: Folder of the prepared cases.
        rank: Process number in distributed training.

    Raises:
        InputError: Inconsistent data, or ``training-case-unknown``.
    """
    keys = (*split.training, *split.validation)
    if config.severity is not None and config.severity.inputs == "tissue":
        files = wanted_volumes(data_dir, config.data.sources, keys)
        tissue = open_tissue(files, cache_dir)
        return Curriculum(TissueLesson(config, *_sides(tissue, split), rank), _digests(tissue))
    if config.task == "severity":
        lobes = open_severity(config, data_dir, cache_dir, keys)
        sides = _sides(lobes, split)
        return Curriculum(SeverityLesson(config, *sides, rank), _digests(lobes))
    cases = open_store(data_dir, config.data.sources, config.recipe, cache_dir, keys)
    training, validation = _sides(cases, split)
    if config.relation is None:
        task = create_task(config)
        return Curriculum(SliceLesson(config, task, training, validation, rank), _digests(cases))
    others = _others(data_dir, config.relation.general_sources, keys)
    general = open_store(
        data_dir, config.relation.general_sources, config.recipe, cache_dir, others
    )
    lesson = RelationLesson(config, training, general, validation, rank)
    return Curriculum(lesson, _digests([*cases, *general]))


def open_severity(
    config: TrainingConfig, data_dir: Path, cache_dir: Path, keys: tuple[str, ...]
) -> list[LobeCase]:
    """Open the lobes of some cases of a run of the task ``"severity"``."""
    files = wanted_volumes(data_dir, config.data.sources, keys)
    if config.severity is None:
        raise TypeError("not a run of the task 'severity'")
    return open_lobes(files, config.severity, cache_dir)


def _sides(cases: Sequence[Case], split: Split) -> tuple[list[Case], list[Case]]:
    """Return the training and the validation cases."""
    training = [case for case in cases if case.key in split.training]
    return training, [case for case in cases if case.key in split.validation]


def _digests(cases: Sequence[Case]) -> dict[str, str]:
    return {case.key: case.digest for case in cases}


def _others(data_dir: Path, sources: tuple[str, ...], named: tuple[str, ...]) -> list[str]:
    """Return the cases of the general sources that a split names on neither of its sides."""
    found = [files.key for files in wanted_volumes(data_dir, sources)]
    others = [key for key in found if key not in named]
    if found and not others:
        raise InputError(
            "training-general-empty",
            f"The split names every case of {', '.join(sources)}; none is left for the general "
            "encoder.",
            "Choose other sources, or another split.",
        )
    return others
