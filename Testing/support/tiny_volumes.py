"""Tiny synthetic chest CTs with masks, written as the development data is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from CovidLesionSegLib.engine.tissue import CHANNELS
from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.nets.config import ModelConfig, OptionValue
from training.config import (
    AugmentationConfig,
    DataConfig,
    OptimisationConfig,
    SeverityConfig,
    TrainingConfig,
)
from training.data.store import StoredCase
from training.loop import Trainer
from training.run_folder import RunFolder
from training.slices import SliceLesson
from training.splits import Split
from training.tasks import create_task

SPACING_MM_XYZ = (6.0, 6.0, 5.0)
SHAPE_ZYX = (10, 48, 56)
_SPLIT = Split("tiny", ("a", "b"), ("c",))


def write_image(path: Path, array: NDArray[np.generic], origin_x: float = 0.0) -> None:
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_MM_XYZ)
    image.SetOrigin((origin_x, 0.0, 0.0))
    sitk.WriteImage(image, str(path))


def make_arrays(seed: int) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.uint8]]:
    """CT, infection and lung mask: two lungs in a body, a dense lesion in one of them."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(SHAPE_ZYX)
    hu = np.full(SHAPE_ZYX, -1000, dtype=np.int16)
    hu[((y - 24) / 20.0) ** 2 + ((x - 28) / 25.0) ** 2 < 1] = 40
    lung = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    for centre in (16, 40):
        lung[((y - 24) / 12.0) ** 2 + ((x - centre) / 8.0) ** 2 < 1] = 1
    lung[:2] = 0
    hu[lung == 1] = -850
    infection = ((y - 28) ** 2 + (x - 40) ** 2 + (2 * (z - 5)) ** 2 < 30).astype(np.uint8)
    infection *= lung
    hu[infection == 1] = -300
    return (hu + rng.integers(-30, 30, SHAPE_ZYX)).astype(np.int16), infection, lung


def write_case(folder: Path, key: str, seed: int, unlabelled: Sequence[int] = ()) -> None:
    hu, infection, lung = make_arrays(seed)
    lung[list(unlabelled)] = 255
    folder.mkdir(parents=True, exist_ok=True)
    for role, array in (("ct", hu), ("infection", infection), ("lung", lung)):
        write_image(folder / f"{key}_{role}.nii.gz", array)


def tiny_config(task: str, family: str, recipe: SliceRecipe, steps: int = 4) -> TrainingConfig:
    return TrainingConfig(
        name="tiny",
        task=task,
        model=ModelConfig(family),
        recipe=recipe,
        data=DataConfig(("tiny",), "bundled", crop_size=64, batch_size=2),
        augmentation=AugmentationConfig(shift_pixels=4),
        optimisation=OptimisationConfig(steps=steps, warmup_steps=1, validate_every=2),
        card={
            "licence": "none",
            "training_data": "synthetic",
            "citation": "none",
            "intended_use": "tests",
            "not_for": "anything else",
        },
    )


def severity_config(steps: int = 3, crf_weight: float = 0.0, ours: bool = False) -> TrainingConfig:
    base = tiny_config("infection", "inf-net", SliceRecipe(), steps)
    return replace(
        base,
        task="severity",
        model=ModelConfig("dram", options={"width": 2, "attention_grid": 8}),
        severity=SeverityConfig(
            (16, 16, 16),
            candidates_only=ours,
            pseudo_rule="ranked" if ours else "threshold",
            pseudo_ramp_steps=1,
            crf_weight=crf_weight,
        ),
    )


def tissue_config(steps: int = 3) -> TrainingConfig:
    """A severity run of a voxelwise map of tissue channels."""
    base = severity_config(steps)
    options: dict[str, OptionValue] = {
        "body": "voxelwise",
        "inputs": len(CHANNELS),
        "width": 4,
        "attention": False,
    }
    severity = SeverityConfig((16, 16, 16), inputs="tissue", pseudo_ramp_steps=1)
    return replace(base, model=ModelConfig("dram", options=options), severity=severity)


def tiny_trainer(config: TrainingConfig, cases: list[StoredCase], out: Path) -> Trainer:
    """A trainer on two of three cases, validated on the third, from random weights."""
    run = RunFolder(out)
    run.open(config, _SPLIT, {case.key: case.digest for case in cases})
    fabric = Fabric(accelerator="cpu")
    lesson = SliceLesson(config, create_task(config), cases[:2], cases[2:])
    return Trainer(config, lesson, run, fabric, pretrained=False)
