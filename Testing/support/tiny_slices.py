"""Tiny synthetic slices in the folders of COVID-SemiSeg."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from CovidLesionSegLib.nets.config import ModelConfig
from training.config import AugmentationConfig, DataConfig, OptimisationConfig, TrainingConfig
from training.semiseg.maps import edge_of
from training.semiseg.options import SemisegConfig
from training.semiseg.slices import LAYOUTS

LABELLED = ("0", "1", "2", "10")
UNLABELLED = ("u1", "u2", "u3", "u4")


def write_slices(data_dir: Path) -> None:
    """Write 4 labelled and 4 unlabelled slices of several sizes below ``covid_semiseg``."""
    rng = np.random.default_rng(0)
    for index, key in enumerate(LABELLED):
        shape = (40 + index, 48)
        y, x = np.indices(shape)
        classes = np.zeros(shape, dtype=np.uint8)
        classes[(y - 20) ** 2 + (x - 14) ** 2 < 60] = 1
        classes[(y - 20) ** 2 + (x - 14) ** 2 < 12] = 2
        gray = (rng.integers(20, 60, shape) + 80 * classes).astype(np.uint8)
        mask = np.where(classes > 0, 255, 0).astype(np.uint8)
        pictures = {"images": gray, "masks": mask, "edges": edge_of(mask), "classes": classes}
        for role, picture in pictures.items():
            _save(picture, data_dir / LAYOUTS["labelled"][role], key, palette=role == "classes")
    for key in UNLABELLED:
        gray = rng.integers(20, 200, (44, 40)).astype(np.uint8)
        _save(gray, data_dir / LAYOUTS["unlabelled"]["images"], key)


def _save(
    picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    folder: Path,
    key: str,
    palette: bool = False,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture)
    if palette:
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(folder / f"{key}.png")


def tiny_semiseg(
    stage: str = "infection",
    family: str = "inf-net",
    steps: int = 4,
    fold: int | None = None,
    loss: str = "intended",
    augment: bool = True,
    batch_size: int = 3,
    scales: tuple[float, ...] = (1.0, 1.5),
) -> TrainingConfig:
    """A run of seconds on slices of 64 pixels."""
    return TrainingConfig(
        name="tiny",
        task="semiseg",
        model=ModelConfig(family),
        data=DataConfig(batch_size=batch_size),
        semiseg=SemisegConfig(stage, fold, size=64, scales=scales, loss=loss, augment=augment),
        augmentation=AugmentationConfig(shift_pixels=4, rewindow=0.5),
        optimisation=OptimisationConfig(steps=steps, warmup_steps=1, validate_every=2),
    )
