"""Train the class network for CTs: ``python -m training.lesion_classes.train CONFIG --data DIR``.

It learns ground glass and consolidation from the slices of COVID-SemiSeg in HU, clinical
orientation and estimated size, with the expert's infection as its prior, every second time with
mistakes as a network makes them. Starting the same command again continues the run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from training.command_line import command, load_config_for
from training.config import TrainingConfig
from training.lessons import Curriculum
from training.semiseg.batches import options_of
from training.semiseg.curriculum import split_of_fold
from training.semiseg.lesson import SemisegLesson
from training.semiseg.train import add_common
from training.splits import Split
from training.train import run_lesson

from .slices import class_slice_set


def open_classes(
    config: TrainingConfig, data_dir: Path, cache_dir: Path, rank: int = 0
) -> tuple[Split, Curriculum]:
    """Open the slices of a run and make its lesson.

    Slices without a HU scale leave their fold.

    Args:
        config: The run.
        data_dir: Folder that contains ``covid_semiseg``.
        cache_dir: Folder of the prepared slices.
        rank: Process number in distributed training.

    Raises:
        InputError: Inconsistent data, or ``split-unknown``.
    """
    options = options_of(config)
    slices = class_slice_set(data_dir, config.recipe, options.size, cache_dir)
    split = split_of_fold(options.fold, slices.keys)
    validation = tuple(key for key in split.validation if key in slices.keys)
    split = replace(split, validation=validation)
    watched = (slices, slices.rows(validation)) if validation else None
    lesson = SemisegLesson(config, [(slices, slices.rows(split.training))], watched, rank)
    return split, Curriculum(lesson, {slices.name: slices.digest})


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m training.lesion_classes.train", description=__doc__
    )
    parser.add_argument("config", type=Path, help="JSON file")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--fold", type=int, help="hold this fold out")
    add_common(parser)
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    config = load_config_for(parser.prog, options.config)
    semiseg = replace(options_of(config), fold=options.fold)
    config = replace(config, semiseg=semiseg)

    def open_lesson(rank: int) -> tuple[Split, Curriculum]:
        return open_classes(config, options.data, options.cache, rank)

    complete = run_lesson(config, open_lesson, options.out, options.devices)
    return 0 if complete else 130


if __name__ == "__main__":
    sys.exit(main())
