"""The network on the densities around every infected pixel: a learned rule beside borders.

It sees what a border with smoothing sees, at several scales at once, and how much the density
varies there. It is trained within a minute on one core, so cross-validation costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from CovidLesionSegLib.engine.lesion_classes import density_features, pixel_logits
from CovidLesionSegLib.nets.family import SegmentationModel
from CovidLesionSegLib.nets.registry import create_from_config
from training.config import TrainingConfig
from training.semiseg.slices import CONSOLIDATION

from .rules import Calls, calls_of
from .slices import ClassSlice

CONFIG = Path(__file__).parents[1] / "configs" / "density-classes-lite.json"
_PIXELS = 128
_DICE_SMOOTHING = 4.0

Logits = Mapping[str, NDArray[np.float32]]
"""Logits of consolidation by slice, one per infected pixel, row by row."""

Samples = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Features ``[pixel, feature]`` of the infected pixels of a slice, and which are consolidation."""


def samples_of(item: ClassSlice) -> Samples:
    """Return what the network learns from a slice."""
    infected = item.classes > 0
    features = density_features(item.hu, infected, (item.pixel_mm, item.pixel_mm))
    return features, item.classes[infected] == CONSOLIDATION


def learned_calls(
    slices: Sequence[ClassSlice], folds: Sequence[Sequence[str]], config: TrainingConfig
) -> dict[str, Calls]:
    """Return the calls on every slice of a network trained on the other folds.

    Args:
        slices: The slices.
        folds: Their keys by fold.
        config: How to train.
    """
    return calls_by_logits(slices, learned_logits(slices, folds, config))


def learned_logits(
    slices: Sequence[ClassSlice], folds: Sequence[Sequence[str]], config: TrainingConfig
) -> Logits:
    """Return the logits of the same networks; arguments as `learned_calls`."""
    samples = {item.key: samples_of(item) for item in slices}
    logits = {}
    for fold in folds:
        others = [samples[key] for other in folds if other is not fold for key in other]
        network = fitted(others, config)
        logits.update({key: pixel_logits(network, samples[key][0]) for key in fold})
    return logits


def calls_by_logits(slices: Sequence[ClassSlice], logits: Logits) -> dict[str, Calls]:
    """Return what logits call on every slice."""
    return {s.key: calls_of(called_by(logits[s.key], s), s.classes) for s in slices}


def called_by(logits: NDArray[np.float32], item: ClassSlice) -> NDArray[np.bool_]:
    """Return ``[y, x]`` where the logits of the infected pixels call consolidation."""
    called = np.zeros(item.classes.shape, dtype=bool)
    called[item.classes > 0] = logits > 0
    return called


def fitted(samples: Sequence[Samples], config: TrainingConfig) -> SegmentationModel:
    """Train on as many pixels of every slice, whatever its size.

    Weights are rounded to fp16, so that whatever is measured is what can be shipped.
    """
    schedule = config.optimisation
    rng = np.random.default_rng(schedule.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(schedule.seed)
        network = create_from_config(config.model)
    optimiser = torch.optim.AdamW(
        network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, schedule.steps)
    for _ in range(schedule.steps):
        drawn = [rng.integers(len(features), size=_PIXELS) for features, _ in samples]
        pairs = zip(samples, drawn, strict=True)
        inputs, truths = zip(*((f[i], t[i]) for (f, t), i in pairs), strict=True)
        channels = torch.from_numpy(np.stack(inputs)).transpose(1, 2)[:, :, None]
        loss = _loss(
            network(channels).infection[:, 0, 0],
            torch.from_numpy(np.stack(truths).astype(np.float32)),
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rates.step()
    return network.half().float().eval()


def _loss(margins: Tensor, truths: Tensor) -> Tensor:
    """Return cross entropy and both classes' soft Dice, averaged over slices."""
    probability = margins.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(margins, truths)
    lost = [
        1.0 - _soft_dice(p, t)
        for p, t in ((probability, truths), (1.0 - probability, 1.0 - truths))
    ]
    return entropy + 0.5 * (lost[0] + lost[1])


def _soft_dice(probability: Tensor, truth: Tensor) -> Tensor:
    both = 2.0 * (probability * truth).sum(dim=1) + _DICE_SMOOTHING
    return (both / (probability.sum(dim=1) + truth.sum(dim=1) + _DICE_SMOOTHING)).mean()
