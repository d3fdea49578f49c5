"""The tasks that slice models are trained for: loss and quick validation of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.nets.losses.by_family import segmentation_loss
from CovidLesionSegLib.nets.outputs import ModelOutput

from .config import TrainingConfig
from .data.store import StoredCase
from .data.volumes import NOT_LABELLED
from .objectives import lesion_rim, lung_loss
from .prediction import predict_stack

_VALIDATION_STEP_MM = 5.0


class Task(Protocol):
    """What a loop needs to know about a task."""

    def loss(self, output: ModelOutput, labels: Tensor) -> Tensor:
        """Return the training loss of a batch."""

    def validate(
        self, model: nn.Module, cases: Sequence[StoredCase], device: torch.device
    ) -> dict[str, float]:
        """Return one score per case, higher is better."""


class LungTask:
    """Background, right and left lung.

    Args:
        recipe: The run's preprocessing.
    """

    def __init__(self, recipe: SliceRecipe) -> None:
        self._recipe = recipe

    def loss(self, output: ModelOutput, labels: Tensor) -> Tensor:
        """Return cross entropy plus soft Dice."""
        return lung_loss(output, labels)

    def validate(
        self, model: nn.Module, cases: Sequence[StoredCase], device: torch.device
    ) -> dict[str, float]:
        """Return the mean Dice of right and left lung per case, on labelled pixels."""
        return {case.key: self._score(model, case, device) for case in cases}

    def _score(self, model: nn.Module, case: StoredCase, device: torch.device) -> float:
        labelled = (case.lungs != NOT_LABELLED).any(axis=(1, 2))
        indices = _every(np.flatnonzero(labelled), case)
        spacing_z = case.spacing_mm_zyx[0]
        logits = predict_stack(model, case.image, spacing_z, self._recipe, device, indices)
        classes, truth = logits.argmax(axis=1), case.lungs[indices]
        valid = truth != NOT_LABELLED
        return float(np.mean([dice((classes == c) & valid, truth == c) for c in (1, 2)]))


class InfectionTask:
    """Lesion or not, with the boundary and all side outputs supervised.

    Args:
        recipe: The run's preprocessing.
        family: Family of the network, which decides the loss.
    """

    def __init__(self, recipe: SliceRecipe, family: str) -> None:
        self._recipe = recipe
        self._loss = segmentation_loss(family)

    def loss(self, output: ModelOutput, labels: Tensor) -> Tensor:
        """Return the family's loss on the soft mask and its rim."""
        return self._loss(output, labels, lesion_rim(labels))

    def validate(
        self, model: nn.Module, cases: Sequence[StoredCase], device: torch.device
    ) -> dict[str, float]:
        """Return the Dice at 0.5 per case, on the recipe's grid and without lungs."""
        return {case.key: self._score(model, case, device) for case in cases}

    def _score(self, model: nn.Module, case: StoredCase, device: torch.device) -> float:
        indices = _every(np.arange(len(case.image)), case)
        spacing_z = case.spacing_mm_zyx[0]
        logits = predict_stack(model, case.image, spacing_z, self._recipe, device, indices)
        return dice(logits[:, 0] > 0, case.infection[indices] >= 128)


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the Dice coefficient; 1 if both masks are empty."""
    total = int(predicted.sum()) + int(truth.sum())
    return 2.0 * int((predicted & truth).sum()) / total if total else 1.0


def _every(indices: NDArray[np.intp], case: StoredCase) -> NDArray[np.intp]:
    """Thin the slices of a case out to one in 5 mm, which is enough to watch a run."""
    return indices[:: max(1, round(_VALIDATION_STEP_MM / case.spacing_mm_zyx[0]))]


def create_task(config: TrainingConfig) -> Task:
    """Return the task of a run."""
    if config.task == "lungs":
        return LungTask(config.recipe)
    return InfectionTask(config.recipe, config.model.family)
