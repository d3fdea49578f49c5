"""The training loss of every slice family, under one signature."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.outputs import ModelOutput

from .co_supervision import co_supervision_loss
from .relation import collaborative_loss
from .structure import deep_structure_loss

SegmentationLoss = Callable[[ModelOutput, Tensor, Tensor], Tensor]

_LOSSES: dict[str, SegmentationLoss] = {
    "inf-net": deep_structure_loss,
    "bsnet": deep_structure_loss,
    "co-supervision": co_supervision_loss,
    "relation": collaborative_loss,
}


def segmentation_loss(family: str) -> SegmentationLoss:
    """Return the loss that supervises every head of a binary slice family.

    The loss takes the network's output, the lesion mask and the lesion edge, both in [0, 1]
    and ``(B, 1, H, W)``, and returns a scalar.

    Raises:
        InputError: ``model-family-unknown`` for a family that isn't trained on slices with
            a lesion mask.
    """
    if family not in _LOSSES:
        raise InputError(
            "model-family-unknown",
            f"The family {family!r} has no loss on lesion masks of slices.",
            f"Families with one: {', '.join(_LOSSES)}.",
        )
    return _LOSSES[family]
