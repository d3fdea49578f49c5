"""Train on COVID-SemiSeg: ``python -m training.semiseg.train CONFIG.json --data DIR --out RUN``.

Starting the same command again continues the run at its last checkpoint.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from training.command_line import command, load_config_for
from training.config import TrainingConfig
from training.lessons import Curriculum
from training.run_folder import start_file
from training.splits import Split
from training.train import run_lesson

from .batches import options_of
from .curriculum import open_semiseg

_LOG = logging.getLogger("training")


def train(
    config: TrainingConfig,
    places: tuple[Path, Path, Path],
    devices: str,
    pseudo: Path | None = None,
    pretrained: bool | Path = True,
    weights: Path | None = None,
) -> bool:
    """Run or continue one training.

    Args:
        config: The run.
        places: Data folder, folder of the prepared slices, run folder.
        devices: Fabric's accelerator.
        pseudo: Folder of pseudo labels, see `training.semiseg.curriculum.open_pseudo`.
        pretrained: See `training.loop.initial_network`.
        weights: Weights file, or run folder whose averaged weights to start from.

    Returns:
        Whether the run is complete.
    """
    data_dir, cache_dir, out = places

    def open_lesson(rank: int) -> tuple[Split, Curriculum]:
        return open_semiseg(config, data_dir, cache_dir, pseudo, rank)

    return run_lesson(config, open_lesson, out, devices, pretrained, start_file(weights))


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command of this track has."""
    parser.add_argument("--data", type=Path, required=True, help="folder with covid_semiseg")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="prepared slices")
    parser.add_argument("--devices", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it open")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m training.semiseg.train", description=__doc__)
    parser.add_argument("config", type=Path, help="JSON file, see training/configs/semiseg")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--fold", type=int, help="hold this fold out, in place of the config's")
    parser.add_argument("--pseudo", type=Path, help="folder with pseudo labels")
    parser.add_argument("--weights", type=Path, help="run folder or .safetensors to start from")
    parser.add_argument(
        "--encoder-weights", type=Path, help="ImageNet weights of an encoder other than lite"
    )
    add_common(parser)
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    config = load_config_for(parser.prog, options.config)
    if options.fold is not None:
        semiseg = replace(options_of(config), fold=options.fold)
        config = replace(config, semiseg=semiseg)
    complete = train(
        config,
        (options.data, options.cache, options.out),
        options.devices,
        options.pseudo,
        options.encoder_weights or True,
        options.weights,
    )
    return 0 if complete else 130


if __name__ == "__main__":
    sys.exit(main())
