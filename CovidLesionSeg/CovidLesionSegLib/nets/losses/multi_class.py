"""Targets and loss of the ground-glass / consolidation network.

The published trainer writes its one-hot target with a wrong index, so that its third
channel holds the background of the neighbouring pixel. Here the target is right, with the
channel order that the published code intends: ground glass, consolidation, background.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BACKGROUND, GROUND_GLASS, CONSOLIDATION = 0, 1, 2


def class_targets(labels: Tensor) -> Tensor:
    """Turn a label map into one target channel per class.

    Args:
        labels: Integer ``(B, H, W)``: 0 background, 1 ground glass, 2 consolidation.

    Returns:
        float32 ``(B, 3, H, W)`` of 0 and 1 in the order of the network's channels: ground
        glass, consolidation, background.
    """
    order = (GROUND_GLASS, CONSOLIDATION, BACKGROUND)
    return torch.stack([labels == value for value in order], dim=1).float()


def multi_class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean binary cross-entropy over the three class channels.

    Inf-Net section III-F trains each class against the rest.

    Args:
        logits: ``(B, 3, H, W)``.
        labels: Integer ``(B, H, W)``, see ``class_targets``.
    """
    targets = class_targets(labels)
    return F.binary_cross_entropy_with_logits(logits.float(), targets)
