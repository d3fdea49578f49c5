"""Mini-batches of single slices, each at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from CovidLesionSegLib.engine.windowing import SliceRecipe, normalise
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.registry import input_contract
from training.augmentation import BatchAugmenter
from training.config import TrainingConfig
from training.data.sampling import SliceBatch

from .options import SemisegConfig
from .slices import CONSOLIDATION, GROUND_GLASS, SliceSet

_SIZE_MULTIPLE = 32


@dataclass(frozen=True)
class Batch:
    """Slices and everything known about them at one scale.

    Attributes:
        images: Normalised gray slices, ``(B, 3, H, W)``.
        mask: Lesion in 0..1, ``(B, 1, H, W)``.
        edge: Edge of the lesion in 0..1, as the data brings it, ``(B, 1, H, W)``.
        classes: Integer ``(B, H, W)``: 0, `GROUND_GLASS`, `CONSOLIDATION`.
    """

    images: Tensor
    mask: Tensor
    edge: Tensor
    classes: Tensor


def options_of(config: TrainingConfig) -> SemisegConfig:
    """Return the section ``semiseg`` of a run of this task.

    Raises:
        InputError: ``training-not-semiseg``.
    """
    if config.semiseg is None:
        raise InputError(
            "training-not-semiseg",
            f"{config.name!r} does not learn from the single slices of COVID-SemiSeg.",
            "Choose a configuration of training/configs/semiseg or lesion-classes-lite, or a "
            "run of one.",
        )
    return config.semiseg


def recipe_of(config: TrainingConfig) -> SliceRecipe:
    """Return the normalisation that the network expects.

    The window is nominal: it only gives the intensity augmentation, which is in HU, a scale.
    """
    contract = input_contract(config.model)
    return SliceRecipe(mean=contract.mean[0:3], std=contract.std[0:3])


def scaled_size(size: int, scale: float) -> int:
    """Return the size in pixels at a scale, a multiple of 32 as in the published trainer."""
    return max(1, round(size * scale / _SIZE_MULTIPLE)) * _SIZE_MULTIPLE


class SliceBatches:
    """Goes through slices epoch by epoch, as a function of seed, process and step alone.

    Consecutive steps show one mini-batch at every scale of the config. An epoch ends with a
    smaller batch if need be, as published.

    Args:
        config: The run.
        parts: Sets, and the rows of each that are trained on.
        rank: Process number in distributed training.
    """

    def __init__(
        self,
        config: TrainingConfig,
        parts: Sequence[tuple[SliceSet, NDArray[np.intp]]],
        rank: int = 0,
    ) -> None:
        self._options = options_of(config)
        self._parts = parts
        self._members = [(part, int(row)) for part, (_, rows) in enumerate(parts) for row in rows]
        self._batch_size = config.data.batch_size
        self._key = (config.optimisation.seed, rank)
        self._recipe = recipe_of(config)
        self._augment = BatchAugmenter(
            config.augmentation, self._recipe, self._options.size, swap_sides=False
        )

    @property
    def epoch_steps(self) -> int:
        """Optimiser steps of an epoch."""
        batches = -(-len(self._members) // self._batch_size)
        return batches * len(self._options.scales)

    def batch(self, step: int, device: torch.device) -> Batch:
        """Return the mini-batch of a step at the step's scale."""
        number, turn = divmod(step, len(self._options.scales))
        size = scaled_size(self._options.size, self._options.scales[turn])
        raw = self._raw(number)
        if self._options.augment:
            rng = np.random.default_rng([*self._key, 1, number])
            images, labels = self._augment(raw, rng, device, size)
        else:
            images, labels = self._resized(raw, size, device)
        mask, edge, ground_glass, consolidation = torch.split(labels, 1, dim=1)
        classes = torch.where(ground_glass >= 0.5, GROUND_GLASS, 0)
        classes = torch.where(consolidation >= 0.5, CONSOLIDATION, classes)
        layout = torch.channels_last
        return Batch(images.to(memory_format=layout), mask, edge, classes[:, 0])

    def _raw(self, number: int) -> SliceBatch:
        per_epoch = self.epoch_steps // len(self._options.scales)
        epoch, within = divmod(number, per_epoch)
        order = np.random.default_rng([*self._key, 0, epoch]).permutation(len(self._members))
        chosen = order[within * self._batch_size : (within + 1) * self._batch_size]
        samples = [self._sample(*self._members[index]) for index in chosen]
        images, labels = (np.stack(arrays) for arrays in zip(*samples, strict=True))
        return SliceBatch(images, labels)

    def _sample(self, part: int, row: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        slices, _ = self._parts[part]
        gray = np.asarray(slices.images[row], dtype=np.float32)
        classes = slices.classes[row]
        labels = (
            slices.masks[row] / np.float32(255.0),
            slices.edges[row] / np.float32(255.0),
            classes == GROUND_GLASS,
            classes == CONSOLIDATION,
        )
        return np.stack([gray] * 3), np.stack(labels).astype(np.float32)

    def _resized(self, raw: SliceBatch, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Resize with aligned corners, masks and edges too, as published."""
        images, labels = (
            F.interpolate(
                torch.from_numpy(planes).to(device),
                (size, size),
                mode="bilinear",
                align_corners=True,
            )
            for planes in (raw.images, raw.labels)
        )
        return normalise(images, self._recipe), labels
