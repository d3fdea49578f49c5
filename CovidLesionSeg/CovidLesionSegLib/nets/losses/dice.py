"""Dice losses on probabilities.

``batch_dice_loss`` is the one of the published co-supervision code. It pools the sums over
the whole batch and has no smoothing: for a batch without lesion it is constant, so healthy
slices teach nothing, and a large lesion outweighs the small ones beside it.
``sample_dice_loss`` takes each image by itself and smooths, so that every false positive on
a healthy slice has a gradient; it is the one to train with.
"""

from __future__ import annotations

from torch import Tensor

_MINIMUM_TOTAL = 1e-5


def batch_dice_loss(probability: Tensor, target: Tensor) -> Tensor:
    """Return ``1 - 2 sum(p g) / sum(p + g)`` over batch and space, averaged over channels.

    Args:
        probability: ``(B, C, *spatial)`` in [0, 1].
        target: Of the same shape, in [0, 1].
    """
    axes = (0, *range(2, probability.dim()))
    overlap = (probability * target).sum(axes)
    total = (probability + target).sum(axes)
    return 1 - (2 * overlap / total.clamp(min=_MINIMUM_TOTAL)).mean()


def sample_dice_loss(probability: Tensor, target: Tensor, smoothing: float = 1.0) -> Tensor:
    """Return ``1 - (2 sum(p g) + s) / (sum(p + g) + s)`` per image, averaged.

    Args:
        probability: ``(B, C, *spatial)`` in [0, 1].
        target: Of the same shape, in [0, 1].
        smoothing: s, in pixels.
    """
    overlap = (probability * target).flatten(2).sum(dim=2)
    total = (probability + target).flatten(2).sum(dim=2)
    return (1 - (2 * overlap + smoothing) / (total + smoothing)).mean()
