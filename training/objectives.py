"""What each task is trained for and how a validation case is scored."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from CovidLesionSegLib.nets.outputs import ModelOutput


def lesion_rim(mask: Tensor) -> Tensor:
    """Return the boundary target of a mask: one pixel inside and one outside of its contour.

    Args:
        mask: ``(B, 1, H, W)`` in 0..1.

    Returns:
        float ``(B, 1, H, W)``, 0 or 1.
    """
    binary = (mask >= 0.5).to(mask.dtype)
    dilated = F.max_pool2d(binary, 3, stride=1, padding=1)
    eroded = -F.max_pool2d(-binary, 3, stride=1, padding=1)
    return dilated - eroded


def lung_loss(output: ModelOutput, labels: Tensor) -> Tensor:
    """Return cross entropy plus soft Dice of the lung classes.

    Args:
        output: Logits of background, right and left in ``infection``.
        labels: ``(B, 3, H, W)``: right, left and ignore, in 0..1.
    """
    right, left, ignore = labels.unbind(dim=1)
    valid = (ignore < 0.5).to(labels.dtype)
    target = torch.stack([(1.0 - right - left).clamp_min(0.0), right, left], dim=1)
    log_probability = F.log_softmax(output.infection.float(), dim=1)
    entropy = -(target * log_probability).sum(dim=1)
    cross_entropy = (entropy * valid).sum() / valid.sum().clamp_min(1.0)
    probability = log_probability.exp() * valid[:, None]
    target = target * valid[:, None]
    overlap = (probability * target).sum(dim=(0, 2, 3))[1:]
    total = (probability + target).sum(dim=(0, 2, 3))[1:]
    dice = (2.0 * overlap + 1.0) / (total + 1.0)
    return cross_entropy + (1.0 - dice).mean()
