"""Relation consistency between two encoders, and its ramp.

The article's abstract asks that the relations between features agree across the two
encoders; the formula is that of sample-relation consistency (Liu et al., "Semi-supervised
Medical Image Classification with Relation-driven Self-ensembling Model", IEEE TMI 2020,
section III-B), applied to encoders instead of teacher and student.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from CovidLesionSegLib.nets.outputs import ModelOutput

from .dice import sample_dice_loss
from .structure import wide

_RAMP_STEEPNESS = 5.0


def relation_ramp(step: float, ramp_steps: float) -> float:
    """Return ``exp(-5 (1 - t/T)^2)``: from 0.0067 at step 0 to 1 at ``ramp_steps`` and later.

    Args:
        step: Current step or epoch t.
        ramp_steps: Length T of the ramp in the same unit; 0 for no ramp.
    """
    if ramp_steps <= 0:
        return 1.0
    remaining = 1 - min(max(step / ramp_steps, 0.0), 1.0)
    return math.exp(-_RAMP_STEEPNESS * remaining**2)


def relation_matrix(features: Tensor) -> Tensor:
    """Return the row-normalised Gram matrix of items.

    Args:
        features: ``(..., N, D)``, N items of D features.

    Returns:
        ``(..., N, N)`` with rows of length 1; it does not change with the features' scale.
    """
    gram = features @ features.transpose(-1, -2)
    return F.normalize(gram, dim=-1)


def sample_relation_loss(target: Tensor, general: Tensor) -> Tensor:
    """Return the squared difference of the relations between the samples of a batch.

    Args:
        target: Feature of the target encoder, ``(B, C, *spatial)``; pooled over space here.
        general: Feature of the general encoder, same shape.

    Returns:
        ``|R_t - R_g|^2 / B``; 0 for a single sample, which has no relations.
    """
    pooled = [wide(feature).flatten(2).mean(dim=2) for feature in (target, general)]
    return _difference(*pooled)


def voxel_relation_loss(target: Tensor, general: Tensor) -> Tensor:
    """Return the squared difference of the relations between the cells of each sample.

    The second reading of the article's abstract; it also works with one sample a batch.

    Args:
        target: Feature of the target encoder, ``(B, C, *spatial)``; memory grows with the
            square of the number of cells.
        general: Feature of the general encoder, same shape.
    """
    cells = [wide(feature).flatten(2).transpose(1, 2) for feature in (target, general)]
    return _difference(*cells)


def _difference(target: Tensor, general: Tensor) -> Tensor:
    """Return the mean over batch and rows of the squared row difference of the relations."""
    difference = relation_matrix(target) - relation_matrix(general)
    return difference.square().sum(dim=-1).mean()


def dice_entropy_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Return Dice plus cross-entropy, the segmentation loss of both streams.

    Args:
        logits: ``(B, 1, *spatial)``.
        mask: In [0, 1], same shape.
    """
    logits, mask = wide(logits), wide(mask)
    entropy = F.binary_cross_entropy_with_logits(logits, mask)
    return sample_dice_loss(torch.sigmoid(logits), mask) + entropy


def collaborative_loss(output: ModelOutput, mask: Tensor, edge: Tensor) -> Tensor:
    """Return the segmentation terms of both streams on one batch with a single mask.

    COVID lesions are lung lesions too, so the general stream may learn from them. With a
    separate non-COVID batch, take ``dice_entropy_loss`` of ``forward_general`` on that batch
    instead, and add ``relation_ramp`` times one of the relation losses.

    Args:
        output: Output of the relation family.
        mask: Lesion mask in [0, 1], of the maps' shape.
        edge: Not used; the family has no boundary head.
    """
    del edge
    maps = (output.infection, *output.sides.values())
    return torch.stack([dice_entropy_loss(logits, mask) for logits in maps]).sum()
