"""Losses of the boundary-aware 2D families: weighted IoU and BCE under deep supervision.

Inf-Net section III-D, equations 3 to 5. The published trainer passes an option to the
cross-entropy that PyTorch reads as "average first", so its cross-entropy is not weighted.
``bce_mode="released"`` reproduces that, for parity with published models; ``"intended"``
is the loss of the paper and the better choice for training, since it weighs the pixels
near a lesion's border, where the error is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from CovidLesionSegLib.nets.family import require_choice
from CovidLesionSegLib.nets.outputs import ModelOutput

BCE_MODES = ("released", "intended")
_WEIGHT_WINDOW = 31
_WEIGHT_GAIN = 5.0


def border_weight(mask: Tensor) -> Tensor:
    """Return ``1 + 5 |mean31(mask) - mask|``: 1 far from borders, up to 6 at them.

    Args:
        mask: Target in [0, 1], ``(B, 1, H, W)``.
    """
    size, pad = _WEIGHT_WINDOW, _WEIGHT_WINDOW // 2
    # A square mean is a mean of means: rows first, then columns, at a fifteenth of the cost.
    rows = F.avg_pool2d(mask, (1, size), stride=1, padding=(0, pad))
    local_mean = F.avg_pool2d(rows, (size, 1), stride=1, padding=(pad, 0))
    return 1 + _WEIGHT_GAIN * (local_mean - mask).abs()


def structure_loss(
    logits: Tensor, mask: Tensor, bce_mode: str = "intended", weight: Tensor | None = None
) -> Tensor:
    """Return weighted IoU plus binary cross-entropy, averaged over the batch.

    Args:
        logits: ``(B, 1, H, W)``.
        mask: Target in [0, 1] (soft targets allowed), ``(B, 1, H, W)``.
        bce_mode: ``"intended"`` weighs the cross-entropy like the IoU; ``"released"``
            takes its plain mean over the batch, as the published code does.
        weight: ``border_weight(mask)`` if it is known already.

    Returns:
        A scalar, in float32 at least.

    Raises:
        InputError: ``model-option-invalid`` for another ``bce_mode``.
    """
    require_choice("bce_mode", bce_mode, BCE_MODES)
    logits, mask = wide(logits), wide(mask)
    weight = border_weight(mask) if weight is None else weight
    if bce_mode == "released":
        bce = F.binary_cross_entropy_with_logits(logits, mask)
    else:
        pixelwise = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        bce = ((weight * pixelwise).sum((2, 3)) / weight.sum((2, 3))).mean()
    return bce + _weighted_iou_loss(torch.sigmoid(logits), mask, weight).mean()


def _weighted_iou_loss(probability: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    overlap = (weight * probability * mask).sum((2, 3))
    total = (weight * (probability + mask)).sum((2, 3))
    return 1 - (overlap + 1) / (total - overlap + 1)


def deep_structure_loss(
    output: ModelOutput, mask: Tensor, edge: Tensor, bce_mode: str = "intended"
) -> Tensor:
    """Return the total loss of Inf-Net and BSNet: every head, all with weight 1.

    The infection map and every side output are compared with the mask by
    ``structure_loss``, the boundary with the edge by cross-entropy. BSNet's authors
    released no loss; its heads are those of Inf-Net, and so is the loss.

    Args:
        output: Output of a binary family.
        mask: Lesion mask in [0, 1], ``(B, 1, H, W)``.
        edge: Lesion edge in [0, 1], ``(B, 1, H, W)``; not used without a boundary head.
        bce_mode: See ``structure_loss``.
    """
    weight = border_weight(wide(mask))
    maps = (output.infection, *output.sides.values())
    losses = [structure_loss(logits, mask, bce_mode, weight) for logits in maps]
    total = torch.stack(losses).sum()
    if output.boundary is None:
        return total
    return total + F.binary_cross_entropy_with_logits(wide(output.boundary), wide(edge))


def wide(values: Tensor) -> Tensor:
    """Sums over an image overflow in half precision."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
