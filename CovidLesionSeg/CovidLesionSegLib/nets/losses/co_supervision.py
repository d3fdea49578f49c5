"""Joint loss of the co-supervision network: edge, semantic and fusion terms.

Three modes:

* ``"intended"``: the article's three terms with the weights of the older code, on smoothed
  Dice per image plus cross-entropy, because the published Dice has no gradient on slices
  without lesion (see ``dice``).
* ``"old"``: the loss of the older code; the same terms and weights on the published Dice.
* ``"released"``: the loss of the released code, which compares every side output with the
  edge, also those that the article supervises with the mask. For comparison only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from CovidLesionSegLib.nets.family import require_choice
from CovidLesionSegLib.nets.outputs import ModelOutput

from .dice import batch_dice_loss, sample_dice_loss
from .structure import wide

CO_SUPERVISION_MODES = ("intended", "old", "released")
_MASK_PREFIX = "mask_"


@dataclass(frozen=True)
class _Weights:
    final: float
    edge: float
    semantic: float


_WEIGHTS = {
    "intended": _Weights(final=2.0, edge=0.5, semantic=0.4),
    "old": _Weights(final=2.0, edge=0.5, semantic=0.4),
    "released": _Weights(final=1.0, edge=0.4, semantic=0.4),
}


def co_supervision_loss(
    output: ModelOutput,
    mask: Tensor,
    edge: Tensor,
    mode: str = "intended",
    bce_weight: float = 0.5,
) -> Tensor:
    """Return the joint loss of every supervised head.

    Args:
        output: Output of the co-supervision family; side outputs whose name begins with
            ``mask_`` are compared with the mask, all others and the boundary with the edge.
        mask: Lesion mask in [0, 1], ``(B, 1, H, W)``.
        edge: Lesion edge in [0, 1], ``(B, 1, H, W)``.
        mode: One of ``CO_SUPERVISION_MODES``; see the module.
        bce_weight: Weight of the cross-entropy beside Dice; mode ``"intended"`` only.

    Raises:
        InputError: ``model-option-invalid`` for another ``mode``.
    """
    require_choice("mode", mode, CO_SUPERVISION_MODES)
    weights = _WEIGHTS[mode]
    mask, edge = wide(mask), wide(edge)
    terms = [weights.final * _term(output.infection, mask, mode, bce_weight)]
    if output.boundary is not None:
        terms.append(weights.edge * _term(output.boundary, edge, mode, bce_weight))
    for name, logits in output.sides.items():
        semantic = name.startswith(_MASK_PREFIX) and mode != "released"
        weight, target = (weights.semantic, mask) if semantic else (weights.edge, edge)
        terms.append(weight * _term(logits, target, mode, bce_weight))
    return torch.stack(terms).sum()


def _term(logits: Tensor, target: Tensor, mode: str, bce_weight: float) -> Tensor:
    logits = wide(logits)
    probability = torch.sigmoid(logits)
    if mode != "intended":
        return batch_dice_loss(probability, target)
    entropy = F.binary_cross_entropy_with_logits(logits, target)
    return sample_dice_loss(probability, target) + bce_weight * entropy
