"""A small network on the densities around every infected pixel: a learned rule beside borders.

It sees what a border with smoothing sees, at several scales at once, and how much the density
varies there. It is trained within a minute on one core, so cross-validation costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from training.semiseg.slices import CONSOLIDATION

from .rules import Calls, calls_of, smoothed_within
from .slices import ClassSlice

SCALES_MM = (1.0, 2.0, 4.0, 8.0)
_HIDDEN = 16
STEPS = 300
_PIXELS = 128
_RATE = 3e-3
_CENTRE_HU, _UNIT_HU = -400.0, 400.0
_DICE_SMOOTHING = 4.0

Samples = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Features ``[pixel, feature]`` of the infected pixels of a slice, and which are consolidation."""


def density_features(item: ClassSlice) -> NDArray[np.float32]:
    """Return HU, and mean and standard deviation within the infection at every scale.

    Returns:
        float32 ``[pixel, feature]`` for the infected pixels, in units of 400 HU around -400.
    """
    infected = item.classes > 0
    value = (item.hu - _CENTRE_HU) / _UNIT_HU
    planes = [value]
    for scale in SCALES_MM:
        sigma = (scale / item.pixel_mm,) * 2
        mean = smoothed_within(value, infected, sigma)
        square = smoothed_within(value * value, infected, sigma)
        planes += [mean, np.sqrt(np.maximum(square - mean * mean, 0.0))]
    return np.stack([plane[infected] for plane in planes], axis=1).astype(np.float32)


def learned_calls(
    slices: Sequence[ClassSlice], folds: Sequence[Sequence[str]], seed: int = 0
) -> dict[str, Calls]:
    """Return the calls on every slice of a network trained on the other folds.

    Args:
        slices: The slices.
        folds: Their keys by fold.
        seed: Seed of initialisation and of the pixels drawn.
    """
    by_key = {item.key: item for item in slices}
    samples: dict[str, Samples] = {}
    for item in slices:
        of_class = item.classes[item.classes > 0] == CONSOLIDATION
        samples[item.key] = density_features(item), of_class
    calls = {}
    for fold in folds:
        others = [samples[key] for other in folds if other is not fold for key in other]
        network = _fitted(others, seed)
        for key in fold:
            classes = by_key[key].classes
            called = np.zeros(classes.shape, dtype=bool)
            with torch.inference_mode():
                margin = network(torch.from_numpy(samples[key][0]))[:, 0]
            called[classes > 0] = margin.numpy() > 0
            calls[key] = calls_of(called, classes)
    return calls


def _fitted(samples: Sequence[Samples], seed: int) -> nn.Module:
    """Train on as many pixels of every slice, whatever its size."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(1 + 2 * len(SCALES_MM), _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, 1),
        )
    optimiser = torch.optim.AdamW(network.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        drawn = [rng.integers(len(features), size=_PIXELS) for features, _ in samples]
        pairs = zip(samples, drawn, strict=True)
        inputs, truths = zip(*((f[i], t[i]) for (f, t), i in pairs), strict=True)
        loss = _loss(
            network(torch.from_numpy(np.stack(inputs)))[..., 0],
            torch.from_numpy(np.stack(truths).astype(np.float32)),
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return network


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
