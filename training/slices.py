"""What slice models learn from: 2.5D slices of the store, augmented batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from CovidLesionSegLib.nets.outputs import ModelOutput

from .augmentation import BatchAugmenter
from .config import TrainingConfig
from .consolidation import with_consolidation
from .data.sampling import SliceSampler
from .data.store import StoredCase
from .tasks import Task


class SliceSource:
    """Augmented batches of one set of cases, as a function of seed, process and step.

    Args:
        config: The run.
        cases: Where the slices come from.
        rank: Process number in distributed training.
        stream: Tells sources of one run apart, so that they draw independently.
    """

    def __init__(
        self, config: TrainingConfig, cases: Sequence[StoredCase], rank: int, stream: int = 0
    ) -> None:
        target = "lungs" if config.task == "lungs" else "infection"
        seed = config.optimisation.seed + stream
        self._sampler = SliceSampler(cases, target, config.data, config.augmentation, seed, rank)
        self._recipe = config.recipe
        self._consolidation = config.augmentation.consolidation if target == "lungs" else 0.0
        self._augment = BatchAugmenter(
            config.augmentation,
            config.recipe,
            config.data.crop_size,
            swap_sides=config.task == "lungs",
        )

    def batch(self, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return images ``(B, 3, H, W)`` and labels ``(B, classes, H, W)`` of a step."""
        rng = self._sampler.augmentation_generator(step)
        raw = with_consolidation(self._sampler.draw(step), self._consolidation, self._recipe, rng)
        images, labels = self._augment(raw, rng, device)
        return images.to(memory_format=torch.channels_last), labels


class SliceLesson:
    """Supervised training on slices.

    Args:
        config: The run.
        task: Loss and quick validation.
        training: Training cases.
        validation: Validation cases.
        rank: Process number in distributed training.
    """

    def __init__(
        self,
        config: TrainingConfig,
        task: Task,
        training: Sequence[StoredCase],
        validation: Sequence[StoredCase],
        rank: int = 0,
    ) -> None:
        self._task = task
        self._validation = validation
        self._source = SliceSource(config, training, rank)

    def loss(self, model: nn.Module, step: int, device: torch.device) -> Tensor:
        """Return the task's loss on the batch of a step."""
        images, labels = self._source.batch(step, device)
        output: ModelOutput = model(images)
        return self._task.loss(output, labels)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the task's score of every validation case."""
        return self._task.validate(model, self._validation, device) if self._validation else {}
