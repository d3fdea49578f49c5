"""Random-selection propagation of Semi-Inf-Net (Fan et al., section III-E, algorithm 1).

``python -m training.semiseg.propagation CONFIG.json --start RUN --data DIR --out LABELS``

Unlabelled slices are labelled group by group; after each group the network is fine-tuned on
everything labelled so far, and labels the next one. As published: groups of 5, 9 epochs each,
maps stretched to the full range. The fast mode takes large groups and one epoch, or a single
group and none, which labels everything at once. A killed propagation goes on where it was and
ends with the same labels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from CovidLesionSegLib.errors import InputError
from training.command_line import command, load_config_for
from training.config import TrainingConfig
from training.loop import Trainer, initial_network
from training.processes import open_fabric, require_one_process
from training.run_folder import RunFolder, sha256_of, start_file
from training.semiseg_evaluation import stretch

from .batches import options_of
from .curriculum import split_of_fold
from .lesson import SemisegLesson
from .maps import own_size, to_size, write_label
from .prediction import SlicePredictor
from .slices import SliceSet, find_slices, layout_folders, open_layout, open_slices
from .train import add_common

_LOG = logging.getLogger("training")
_CONFIG_OF = "python -m training.semiseg.train"
"""The command whose configs it takes: a group is fine-tuned as a network is trained."""


@dataclass(frozen=True)
class PropagationConfig:
    """How labels spread.

    Attributes:
        group_size: Slices labelled between two fine-tunings (K in the paper, 5).
        epochs: Epochs of each fine-tuning; 0 for none. The published code runs 9.
        stretch: Whether maps are stretched to 0..1, as published. A slice without lesion then
            gets a lesion made of noise, so it is off unless asked for.
    """

    group_size: int = 5
    epochs: int = 9
    stretch: bool = False


class Propagation:
    """Labels the unlabelled slices.

    Args:
        config: Network and optimiser of the fine-tuning; its steps follow from the epochs.
        rules: How labels spread.
        start: Weights of a network trained on the labelled slices.
        places: Data folder, folder of the prepared slices, folder for the labels.
        fabric: Device, precision and processes.

    Raises:
        InputError: ``training-run-differs`` if the folder holds another propagation.
    """

    def __init__(
        self,
        config: TrainingConfig,
        rules: PropagationConfig,
        start: Path,
        places: tuple[Path, Path, Path],
        fabric: Fabric,
    ) -> None:
        self._config, self._rules, self._start, self._fabric = config, rules, start, fabric
        data_dir, self._cache, self._out = places
        self._size = options_of(config).size
        self._labelled = open_layout("labelled", data_dir, self._size, self._cache)
        self._split = split_of_fold(options_of(config).fold, self._labelled.keys)
        self._images = layout_folders("unlabelled", data_dir)
        keys = [files.key for files in find_slices(self._images)]
        order = np.random.default_rng([config.optimisation.seed, 3]).permutation(len(keys))
        size = rules.group_size
        self.groups = [[keys[i] for i in order[at : at + size]] for at in range(0, len(keys), size)]
        self._check_identity()

    @property
    def done(self) -> int:
        """Number of groups that are labelled and learnt from."""
        path = self._out / "progress.json"
        return int(json.loads(path.read_text(encoding="utf-8"))["done"]) if path.exists() else 0

    def run(self, should_stop: Callable[[int], bool] | None = None) -> bool:
        """Label all groups, or until told to stop.

        Args:
            should_stop: Called after every step of every fine-tuning.

        Returns:
            Whether every slice is labelled.
        """
        for group in range(self.done, len(self.groups)):
            self._label(group)
            if self._rules.epochs and not self._fine_tune(group, should_stop):
                return False
            self._finish(group)
            _LOG.info("Group %d of %d", group + 1, len(self.groups))
        return True

    def _check_identity(self) -> None:
        values: dict[str, Any] = {
            "config": self._config.to_dict(),
            "rules": asdict(self._rules),
            "start_sha256": sha256_of(self._start),
            "slices_sha256": hashlib.sha256(json.dumps(self.groups).encode()).hexdigest(),
        }
        path = self._out / "propagation.json"
        text = json.dumps(values, indent=1) + "\n"
        if path.exists() and _with_defaults(json.loads(path.read_text(encoding="utf-8"))) != values:
            raise InputError(
                "training-run-differs",
                f"The folder {self._out.name!r} holds labels of another propagation.",
                "Choose another output folder.",
            )
        self._out.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _run_folder(self, group: int) -> RunFolder:
        return RunFolder(self._out / "groups" / f"{group:04d}")

    def _weights(self, group: int) -> Path:
        """Return the weights that label a group: those after the group before it."""
        if group == 0 or not self._rules.epochs:
            return self._start
        return self._run_folder(group - 1).checkpoint

    def _label(self, group: int) -> None:
        keys = self.groups[group]
        if all((self._out / "Edge" / f"{key}.png").exists() for key in keys):
            return
        device = self._fabric.device
        model = initial_network(self._config, False, self._weights(group)).to(device)
        slices = open_slices("unlabelled", self._images, self._size, self._cache, keys)
        levels = SlicePredictor(model, self._config, device).levels(slices.images)[:, 0]
        by_key = {files.key: files for files in find_slices(self._images, keys)}
        for key, level in zip(slices.keys, levels, strict=True):
            if self._rules.stretch:
                level = (stretch(level) * 255.0).round().astype(np.uint8)
            write_label(to_size(level, own_size(by_key[key])), self._out, key)

    def _fine_tune(self, group: int, should_stop: Callable[[int], bool] | None) -> bool:
        parts = [(self._labelled, self._labelled.rows(self._split.training))]
        parts += [(part, np.arange(len(part.keys))) for part in self._pseudo(group)]
        lesson = SemisegLesson(self._config, parts)
        steps = self._rules.epochs * lesson.batches.epoch_steps
        optimisation = replace(self._config.optimisation, steps=steps)
        config = replace(self._config, optimisation=optimisation)
        run, weights = self._run_folder(group), self._weights(group)
        digests = {self._labelled.name: self._labelled.digest}
        run.open(config, self._split, digests, weights)
        return Trainer(config, lesson, run, self._fabric, weights=weights).run(should_stop)

    def _pseudo(self, last: int) -> list[SliceSet]:
        """Open what is labelled so far, one set per group: sets that grow would be copied."""
        folders = {**self._images, "masks": self._out / "GT", "edges": self._out / "Edge"}
        return [
            open_slices(f"group-{group}", folders, self._size, self._cache, self.groups[group])
            for group in range(last + 1)
        ]

    def _finish(self, group: int) -> None:
        partial = self._out / "progress.partial"
        partial.write_text(json.dumps({"done": group + 1}), encoding="utf-8")
        partial.replace(self._out / "progress.json")
        if group and self._rules.epochs:
            self._run_folder(group - 1).checkpoint.unlink(missing_ok=True)


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a folder says of its propagation, with options that have come since."""
    return {**values, "config": TrainingConfig.from_dict(values["config"]).to_dict()}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and propagate."""
    parser = argparse.ArgumentParser(prog="python -m training.semiseg.propagation")
    parser.add_argument("config", type=Path, help="JSON file, see training/configs/semiseg")
    parser.add_argument("--start", type=Path, required=True, help="run on the labelled slices")
    parser.add_argument("--out", type=Path, required=True, help="folder for the labels")
    rules = PropagationConfig()
    parser.add_argument("--group-size", type=int, default=rules.group_size)
    parser.add_argument("--epochs", type=int, default=rules.epochs, help="0: no fine-tuning")
    parser.add_argument("--stretch", action="store_true", help="as published")
    add_common(parser)
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    rules = PropagationConfig(options.group_size, options.epochs, options.stretch)
    told_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told_to_stop.set())
    config = load_config_for(_CONFIG_OF, options.config)
    start = start_file(options.start) or options.start
    places = (options.data, options.cache, options.out)
    fabric = open_fabric(options.devices, "32-true")
    require_one_process(fabric, "The propagation of labels")
    complete = Propagation(config, rules, start, places, fabric).run(
        lambda _: told_to_stop.is_set()
    )
    return 0 if complete else 130


if __name__ == "__main__":
    sys.exit(main())
