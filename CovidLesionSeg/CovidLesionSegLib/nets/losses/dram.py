"""Losses of dRAM: regression on severity intervals, and pseudo labels.

The network sees no lesion mask. Each lobe carries a severity score 0 to 5, read as an
interval of the affected fraction, and the mean of its dense map has to fall into it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from CovidLesionSegLib.nets.dram.pooling import lobe_mean

from .structure import wide

IntervalTable = tuple[tuple[float, float], ...]

COVID_INTERVALS: IntervalTable = (
    (0.0, 0.01),
    (0.01, 0.05),
    (0.05, 0.25),
    (0.25, 0.50),
    (0.50, 0.75),
    (0.75, 1.00001),
)
"""Affected fraction of a lobe by CT severity score, of the repository's COVID data set."""

SHIPPED_INTERVALS: IntervalTable = (
    (0.0, 0.001),
    (0.001, 0.01),
    (0.01, 0.05),
    (0.05, 0.35),
    (0.35, 0.50),
    (0.50, 1.00001),
)
"""The table inside the published loss: a leftover of emphysema scoring, for parity only."""

_CANDIDATE_BAND = 0.01
_FREQUENCY_RANGE = (0.2, 0.8)
_BALANCE_RANGE = (0.25, 0.75)
_IMPOSSIBLE_LOGIT = -20.0
_LEAST_SHARE = 1e-5
_LEAST_CALLED = 0.02


def interval_targets(
    scores: Tensor, candidate_fraction: Tensor, table: IntervalTable = COVID_INTERVALS
) -> Tensor:
    """Return the interval each lobe's affected fraction has to fall into.

    It is the score's interval, narrowed to one percentage point around the fraction of
    candidate voxels. Fewer candidates than the score says win over the score, since dense
    tissue that is not there can't be a lesion; more do not, since vessels count as well.

    Args:
        scores: Integer ``(B,)``, 0 to 5.
        candidate_fraction: ``(B,)``, candidate voxels over lobe voxels.
        table: Interval of every score.

    Returns:
        ``(B, 2)``: lower and upper end.
    """
    ends = torch.tensor(table, dtype=candidate_fraction.dtype, device=candidate_fraction.device)
    low, high = ends[scores].unbind(dim=1)
    band_low = (candidate_fraction - _CANDIDATE_BAND).clamp(min=0)
    band_high = (candidate_fraction + _CANDIDATE_BAND).clamp(max=1)
    joint_low, joint_high = torch.maximum(low, band_low), torch.minimum(high, band_high)
    joint = torch.stack([joint_low, joint_high], dim=1)
    band = torch.stack([band_low, band_high], dim=1)
    score_only = torch.stack([low, high], dim=1)
    disjoint = torch.where((band_high < low)[:, None], band, score_only)
    return torch.where((joint_low <= joint_high)[:, None], joint, disjoint)


def interval_regression_loss(
    dense: Tensor,
    lobe: Tensor,
    candidates: Tensor,
    scores: Tensor,
    score_frequency: Tensor,
    table: IntervalTable = COVID_INTERVALS,
) -> Tensor:
    """Return ``max(0, (r - m)^2 - h^2) / f`` summed over the lobes of a batch.

    r is the mean probability over the lobe, m and h are centre and half width of the target
    interval, f is the score's frequency in the training set, limited to 0.2 to 0.8.

    Args:
        dense: Logits of the dense map, ``(B, 1, D, H, W)``.
        lobe: Mask of the lobe, same shape.
        candidates: Mask of candidate voxels, same shape; only those inside the lobe count.
        scores: Integer ``(B,)``, 0 to 5.
        score_frequency: Frequency of every score in the training set, ``(6,)``.
        table: Interval of every score.
    """
    probability = torch.sigmoid(wide(dense))
    ratio = lobe_mean(probability, lobe)
    fraction = lobe_mean(candidates.to(probability.dtype), lobe)
    low, high = interval_targets(scores, fraction, table).unbind(dim=1)
    excess = F.relu((ratio - (low + high) / 2) ** 2 - ((high - low) / 2) ** 2)
    frequency = score_frequency.to(excess)[scores].clamp(*_FREQUENCY_RANGE)
    return (excess / frequency).sum()


def share_interval_loss(
    dense: Tensor,
    lobe: Tensor,
    scores: Tensor,
    table: IntervalTable = COVID_INTERVALS,
    *,
    margin: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Return how far the mean of the dense map lies beyond its score's interval (ours).

    Measured between square roots, because the intervals of the low scores are narrow: on the
    bare share, calling 8% of a lobe of score 1 costs next to nothing beside missing 20% of one
    of score 5, and most lobes have a low score. Any share within the interval costs nothing.

    Args:
        dense: Logits of the dense map, ``(B, 1, D, H, W)``.
        lobe: Mask of the lobe, same shape.
        scores: Integer ``(B,)``, 0 to 5.
        table: Interval of every score.
        margin: How far from the ends of its interval a share costs nothing, between square
            roots; the ends 0 and 1 have none.
        weights: Weight of every lobe, ``(B,)``; all alike by default.

    Returns:
        Mean over the lobes.
    """
    share = lobe_mean(torch.sigmoid(wide(dense)), lobe)
    ends = torch.tensor(table, dtype=share.dtype, device=share.device)[scores]
    low, high = ends.sqrt().unbind(dim=1)
    low, high = low + margin * (low > 0), high - margin * (high < 1)
    root = share.clamp(min=_LEAST_SHARE).sqrt()
    beyond = F.relu(low - root) + F.relu(root - high)
    return (beyond if weights is None else weights * beyond).mean()


def indecision(dense: Tensor, lobe: Tensor) -> Tensor:
    """Return how undecided a map is, relative to what it calls; 0 for a map of 0 and 1 (ours).

    Without this, a lobe's share may be made of small probabilities everywhere.

    Args:
        dense: Logits of the dense map, ``(B, 1, D, H, W)``.
        lobe: Mask of the lobe, same shape.
    """
    probability = torch.sigmoid(wide(dense))
    doubt = lobe_mean(probability * (1 - probability), lobe)
    return (doubt / lobe_mean(probability, lobe).clamp(min=_LEAST_CALLED)).mean()


def pseudo_labels(dense: Tensor, lobe: Tensor, candidates: Tensor, scores: Tensor) -> Tensor:
    """Return the hard pseudo label of every voxel, without gradient.

    A lesion voxel has a dense probability above one half, is a candidate, and lies in a
    lobe whose score is not 0.

    Args:
        dense: Logits of the dense map, ``(B, 1, D, H, W)``.
        lobe: Mask of the lobe, same shape.
        candidates: Mask of candidate voxels, same shape.
        scores: Integer ``(B,)``.

    Returns:
        Boolean ``(B, 1, D, H, W)``.
    """
    affected = (scores > 0).view(-1, *[1] * (dense.dim() - 1))
    return (dense.detach() > 0) & (candidates > 0) & (lobe > 0) & affected


def ranked_pseudo_labels(
    dense: Tensor,
    lobe: Tensor,
    candidates: Tensor,
    scores: Tensor,
    table: IntervalTable = COVID_INTERVALS,
) -> Tensor:
    """Return pseudo labels that keep to the score, without gradient (ours).

    The published rule cuts the dense map at one half. A map that is right on average may be
    below one half everywhere, and then teaches the attention that nothing is a lesion. Here the
    most probable candidates are lesions: as many as the map's mean over the lobe says, limited
    to the score's interval, none at score 0.

    Args:
        dense: Logits of the dense map, ``(B, 1, D, H, W)``.
        lobe: Mask of the lobe, same shape.
        candidates: Mask of candidate voxels, same shape.
        scores: Integer ``(B,)``.
        table: Interval of every score.

    Returns:
        Boolean ``(B, 1, D, H, W)``.
    """
    logits = wide(dense.detach())
    allowed = ((candidates > 0) & (lobe > 0)).flatten(1)
    low, high = torch.tensor(table, dtype=logits.dtype, device=logits.device)[scores].unbind(dim=1)
    share = lobe_mean(torch.sigmoid(logits) * candidates, lobe)
    wanted = torch.minimum(torch.maximum(share, low), high) * (lobe > 0).flatten(1).sum(dim=1)
    wanted = torch.where(scores > 0, wanted, torch.zeros_like(wanted))
    order = logits.flatten(1).masked_fill(~allowed, -torch.inf).argsort(dim=1, descending=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return ((ranks < wanted[:, None]) & allowed).view(dense.shape)


def candidate_logits(dense: Tensor, candidates: Tensor) -> Tensor:
    """Return the dense map with next to no probability off the candidates (ours).

    Regressing the mean of this map, rather than of the bare one, forbids the easy answer that
    spreads a little probability over the whole lobe. At inference the published code cuts the
    result to the candidates anyway. What the map says off them is then up to
    `known_negative_loss`.
    """
    return dense.masked_fill(candidates <= 0, _IMPOSSIBLE_LOGIT)


def known_negative_loss(dense: Tensor, candidates: Tensor) -> Tensor:
    """Return the mean of ``-log(1 - p)`` off the candidates, which no lesion can be (ours).

    The attention averages the dense map over neighbours, so it has to be right there, too.
    """
    return _weighted_mean(F.softplus(wide(dense)), (candidates <= 0).to(torch.float32))


def pseudo_label_loss(
    refined: Tensor, labels: Tensor, lobe: Tensor, bootstrap: float = 0.1
) -> Tensor:
    """Return the loss that fits the refined map to pseudo labels.

    Outside the lobe the mean of ``-log(1 - p)``; inside it ``1 - bootstrap`` times the
    class-balanced cross-entropy plus ``bootstrap`` times the mean of
    ``-log(max(p, 1 - p))``, which lets the network trust itself against a wrong label. All
    means run over the voxels of the whole batch.

    Args:
        refined: Logits of the refined map, ``(B, 1, D, H, W)``.
        labels: Result of ``pseudo_labels``.
        lobe: Mask of the lobe, same shape.
        bootstrap: Share of the bootstrap term.
    """
    logits = wide(refined)
    inside = (lobe > 0).to(logits.dtype)
    outside = 1 - inside
    positive = labels.to(logits.dtype) * inside
    share = positive.sum() / inside.sum().clamp(min=1)
    alpha = (1 - share).clamp(*_BALANCE_RANGE)
    weights = alpha * positive + (1 - alpha) * (inside - positive)
    entropy = F.binary_cross_entropy_with_logits(logits, positive, reduction="none")
    return (
        _weighted_mean(F.softplus(logits), outside)
        + (1 - bootstrap) * _weighted_mean(entropy, weights)
        + bootstrap * _weighted_mean(F.softplus(-logits.abs()), inside)
    )


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    total = weights.sum()
    return (values * weights).sum() / torch.where(total > 0, total, 1)


def dram_loss(
    regression: Tensor, pseudo: Tensor, regression_weight: float = 2.0, pseudo_weight: float = 1.0
) -> Tensor:
    """Return the joint loss of version 2.

    Args:
        regression: Result of ``interval_regression_loss``.
        pseudo: Result of ``pseudo_label_loss``.
        regression_weight: Weight of the regression.
        pseudo_weight: Weight of the pseudo labels. They mean nothing before the dense map
            does, so training should ramp this up over the first epochs.
    """
    return regression_weight * regression + pseudo_weight * pseudo
