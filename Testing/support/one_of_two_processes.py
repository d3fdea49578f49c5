"""One of the processes of a training, as ``torchrun`` starts them: ``FOLDER TASK FAMILY``.

The processes disagree on everything that a clock or a signal may make them disagree on. What the
process ends with, and with how many others, is left in ``FOLDER/RANK.json``.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from CovidLesionSegLib.engine.windowing import SliceRecipe
from Testing.support.tiny_volumes import tiny_config
from training.data.store import open_store
from training.lessons import Curriculum
from training.slices import SliceLesson
from training.splits import Split
from training.tasks import create_task
from training.train import Trainer, run_lesson

_SPLIT = Split("tiny", ("a", "b"), ("c",))


def main() -> int:
    """Train a tiny network on the CPU."""
    torch.set_num_threads(1)
    folder, task, family = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    rank = int(os.environ["RANK"])
    config = tiny_config(task, family, SliceRecipe(pixel_mm=6.0, size_multiple=32), steps=3)
    seconds = 0.0 if rank == 0 else 1000.0
    config = replace(config, optimisation=replace(config.optimisation, checkpoint_seconds=seconds))

    def open_lesson(rank: int) -> tuple[Split, Curriculum]:
        cases = open_store(folder / "data", ("tiny",), config.recipe, folder / "cache")
        lesson = SliceLesson(config, create_task(config), cases[:2], cases[2:], rank)
        return _SPLIT, Curriculum(lesson, {case.key: case.digest for case in cases})

    class Watched(Trainer):
        def save(self) -> None:
            super().save()
            values = [p.detach().double().sum().item() for p in self.state.model.parameters()]
            found = {"sum": sum(values), "processes": self._fabric.world_size}
            (folder / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")

    sys.modules["training.train"].__dict__["Trainer"] = Watched
    return 0 if run_lesson(config, open_lesson, folder / "run", "cpu", pretrained=False) else 1


if __name__ == "__main__":
    sys.exit(main())
