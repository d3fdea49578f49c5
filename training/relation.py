"""What the relation network learns from: lesions of the target, and those of other sources.

Zhang et al., IEEE JBHI 25(11), 2021: the general encoder learns lesions of any kind, the target
encoder those of the target, and a loss keeps the relations between features alike in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from CovidLesionSegLib.nets.losses.relation import (
    dice_entropy_loss,
    relation_ramp,
    sample_relation_loss,
    voxel_relation_loss,
)

from .config import RelationConfig, TrainingConfig
from .data.store import StoredCase
from .slices import SliceSource
from .tasks import InfectionTask

_CONSISTENCY = {"sample": sample_relation_loss, "voxel": voxel_relation_loss}
_METHODS = ("forward_general", "forward_with_features")


class RelationLesson:
    """Collaborative training; without a general encoder, its single-encoder baseline.

    The first ``general_steps`` train the general stream alone. After them every step takes a
    batch of the target and, with a general encoder, one of the other sources.

    Args:
        config: A run of the task ``"relation"``.
        target: Training cases of the target.
        general: Training cases of the other sources.
        validation: Validation cases of the target.
        rank: Process number in distributed training.
    """

    def __init__(
        self,
        config: TrainingConfig,
        target: Sequence[StoredCase],
        general: Sequence[StoredCase],
        validation: Sequence[StoredCase],
        rank: int = 0,
    ) -> None:
        self._relation = config.relation or RelationConfig()
        self._validation = validation
        self._task = InfectionTask(config.recipe, config.model.family)
        self._target = SliceSource(config, target, rank)
        self._general = _general_source(config, self._relation, general, rank)

    def loss(self, model: nn.Module, step: int, device: torch.device) -> Tensor:
        """Return the segmentation losses of both streams and the ramped relation loss."""
        streams = _streams_of(model)
        joint_step = step - self._relation.general_steps
        losses: list[Tensor] = []
        if self._general is not None:
            images, labels = self._general.batch(step, device)
            losses.append(dice_entropy_loss(streams.forward_general(images), labels))
        if joint_step >= 0:
            losses.append(self._joint_loss(streams, step, joint_step, device))
        return torch.stack(losses).sum()

    def _joint_loss(self, streams: Any, step: int, joint_step: int, device: torch.device) -> Tensor:
        images, labels = self._target.batch(step, device)
        output, features = streams.forward_with_features(images)
        loss = dice_entropy_loss(output.infection, labels)
        if not features.general or self._relation.relation == "none":
            return loss
        consistency = _CONSISTENCY[self._relation.relation](*features.related)
        ramp = relation_ramp(joint_step, self._relation.ramp_steps)
        return loss + self._relation.weight * ramp * consistency

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the Dice at 0.5 of every validation case, see `InfectionTask`."""
        return self._task.validate(model, self._validation, device) if self._validation else {}


def _general_source(
    config: TrainingConfig, relation: RelationConfig, cases: Sequence[StoredCase], rank: int
) -> SliceSource | None:
    if not cases:
        return None
    batch_size = relation.general_batch_size or config.data.batch_size
    data = replace(config.data, batch_size=batch_size)
    return SliceSource(replace(config, data=data), cases, rank, stream=1)


def _streams_of(model: nn.Module) -> Any:
    """Return the network; Fabric is told to treat the streams' methods as it does ``forward``."""
    mark = getattr(model, "mark_forward_method", None)
    if mark is not None:
        for name in _METHODS:
            mark(name)
    return model
