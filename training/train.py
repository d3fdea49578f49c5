"""Train a model: ``python -m training.train CONFIG.json --data DIR --out RUN``.

Starting the same command again continues the run at its last checkpoint. Several processes
(``torchrun``) and devices are Lightning Fabric's business.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .command_line import command, load_config_for
from .config import TrainingConfig
from .lessons import Curriculum, open_curriculum
from .loop import Trainer
from .processes import first_then_others, open_fabric, require_one_process
from .run_folder import RunFolder, start_file
from .splits import Split, split_of

_LOG = logging.getLogger("training")


def train(
    config: TrainingConfig,
    data_dir: Path,
    cache_dir: Path,
    out: Path,
    devices: str,
    weights: Path | None = None,
) -> bool:
    """Run or continue one training.

    The signals that ask a process to end lead to a checkpoint first.

    Args:
        config: The run.
        data_dir: Folder with the development data.
        cache_dir: Folder of the prepared slices.
        out: Run folder.
        devices: Fabric's accelerator: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        weights: A model to continue from; None starts from ImageNet.

    Returns:
        Whether the run is complete.

    Raises:
        InputError: What `open_curriculum`, `start_file` and `run_lesson` refuse.
    """
    split = split_of(config.data)

    def open_lesson(rank: int) -> tuple[Split, Curriculum]:
        return split, open_curriculum(config, split, data_dir, cache_dir, rank)

    return run_lesson(config, open_lesson, out, devices, weights=start_file(weights))


def run_lesson(
    config: TrainingConfig,
    open_lesson: Callable[[int], tuple[Split, Curriculum]],
    out: Path,
    devices: str,
    pretrained: bool | Path = True,
    weights: Path | None = None,
) -> bool:
    """Run or continue a training on whatever a lesson teaches.

    Args:
        config: The run.
        open_lesson: Given the number of the process, returns split and lesson. The first process
            asks before the others, so that it alone prepares what is missing.
        out: Run folder.
        devices: Fabric's accelerator.
        pretrained: See `training.loop.initial_network`.
        weights: A model to continue from.

    Returns:
        Whether the run is complete.

    Raises:
        InputError: What `open_fabric`, `require_one_process` and `RunFolder.open` refuse.
    """
    fabric = open_fabric(devices, config.optimisation.precision, out)

    if config.relation is not None:
        # Two passes a step, each through a part of the network: what is averaged over processes
        # has to be one.
        require_one_process(fabric, "Collaborative training")

    def open_run() -> tuple[Curriculum, RunFolder]:
        split, curriculum = open_lesson(fabric.global_rank)
        run = RunFolder(out)
        if fabric.is_global_zero:
            run.open(config, split, curriculum.digests, weights)
        return curriculum, run

    curriculum, run = first_then_others(fabric, open_run)
    trainer = Trainer(config, curriculum.lesson, run, fabric, pretrained, weights)
    told_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told_to_stop.set())
    columns = (TextColumn(config.name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = fabric.is_global_zero and sys.stderr.isatty()
    with Progress(*columns, disable=not shown) as progress:
        bar = progress.add_task("", total=config.optimisation.steps, completed=trainer.state.step)

        def should_stop(step: int) -> bool:
            progress.update(bar, completed=step)
            return told_to_stop.is_set()

        return trainer.run(should_stop)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("config", type=Path, help="JSON file, see training/configs")
    parser.add_argument("--data", type=Path, required=True, help="folder with the volume sets")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="prepared slices")
    parser.add_argument("--split", help="another split of the config's split file")
    parser.add_argument(
        "--weights",
        type=Path,
        help="model to continue from (.safetensors; of another family, its encoder), or run folder",
    )
    parser.add_argument("--devices", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it open")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    config = load_config_for(parser.prog, options.config)
    if options.split:
        config = replace(config, data=replace(config.data, split=options.split))
    places = (options.data, options.cache, options.out)
    complete = train(config, *places, options.devices, options.weights)
    return 0 if complete else 130


if __name__ == "__main__":
    sys.exit(main())
