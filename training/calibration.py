"""Temperature and threshold of a model, chosen on validation patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn

from CovidLesionSegLib.engine.windowing import SliceRecipe

from .data.lung_labels import BACKGROUND
from .data.store import StoredCase
from .prediction import predict_stack

_EDGES = np.linspace(-16.0, 16.0, 641)
_CENTRES = (_EDGES[:-1] + _EDGES[1:]) / 2.0
_THRESHOLDS = np.round(np.arange(0.2, 0.81, 0.02), 2)
_LEAST_INFECTED_SHARE = 0.005


@dataclass(frozen=True, eq=False)
class LogitHistogram:
    """Logits of one case inside the lungs, counted apart for lesion and the rest.

    Attributes:
        key: Name of the case.
        positive, negative: Pixels per bin of the logit.
    """

    key: str
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]

    @property
    def infected_share(self) -> float:
        """Share of infected pixels."""
        return float(self.positive.sum() / max(1, self.positive.sum() + self.negative.sum()))


@dataclass(frozen=True)
class Calibration:
    """What turns logits into decisions.

    Attributes:
        temperature: Logits are divided by it before the sigmoid.
        threshold: Probability from which a pixel counts as lesion.
        dice: Dice per validation case at that threshold, inside the lungs.
    """

    temperature: float
    threshold: float
    dice: dict[str, float]


def collect(
    model: nn.Module, cases: Sequence[StoredCase], recipe: SliceRecipe, device: torch.device
) -> list[LogitHistogram]:
    """Count the logits of some cases inside the lungs (and where no lung is labelled)."""
    histograms = []
    for case in cases:
        logits = predict_stack(model, case.image, case.spacing_mm_zyx[0], recipe, device)[:, 0]
        inside = case.lungs != BACKGROUND
        lesion = case.infection >= 128
        clipped = np.clip(logits, _EDGES[0] + 1e-3, _EDGES[-1] - 1e-3)
        positive, negative = (
            np.histogram(clipped[inside & mask], _EDGES)[0] for mask in (lesion, ~lesion)
        )
        histograms.append(LogitHistogram(case.key, positive, negative))
    return histograms


def calibrate(histograms: Sequence[LogitHistogram]) -> Calibration:
    """Choose the temperature by likelihood and the threshold by mean Dice.

    Every case weighs the same. Cases with next to no lesion decide nothing about the
    threshold, since their Dice is noise.
    """
    temperature = float(
        minimize_scalar(lambda t: _mean_nll(histograms, t), bounds=(0.25, 8.0), method="bounded").x
    )
    deciding = [h for h in histograms if h.infected_share >= _LEAST_INFECTED_SHARE] or histograms
    scores = [np.mean([dice_at(h, t, temperature) for h in deciding]) for t in _THRESHOLDS]
    threshold = float(_THRESHOLDS[int(np.argmax(scores))])
    dice = {h.key: dice_at(h, threshold, temperature) for h in histograms}
    return Calibration(round(temperature, 4), threshold, dice)


def dice_at(histogram: LogitHistogram, threshold: float, temperature: float) -> float:
    """Return the Dice of a case when its probabilities are cut at a threshold."""
    cut = temperature * np.log(threshold / (1.0 - threshold))
    above = cut <= _CENTRES
    hits = int(histogram.positive[above].sum())
    called = hits + int(histogram.negative[above].sum())
    wanted = int(histogram.positive.sum())
    return 2.0 * hits / (called + wanted) if called + wanted else 1.0


def _mean_nll(histograms: Sequence[LogitHistogram], temperature: float) -> float:
    scaled = _CENTRES / temperature
    cost_positive, cost_negative = np.logaddexp(0.0, -scaled), np.logaddexp(0.0, scaled)
    return float(
        np.mean(
            [
                (h.positive @ cost_positive + h.negative @ cost_negative)
                / max(1, h.positive.sum() + h.negative.sum())
                for h in histograms
            ]
        )
    )
