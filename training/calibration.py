"""Temperature and threshold of a model, chosen on validation patients."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn

from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError

from .data.lung_labels import BACKGROUND
from .data.store import StoredCase
from .prediction import predict_stack

_EDGES = np.linspace(-16.0, 16.0, 641)
LOGIT_CENTRES = (_EDGES[:-1] + _EDGES[1:]) / 2.0
"""Logit of every bin of a `LogitHistogram`."""

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
        histograms.append(count_logits(case.key, logits[inside], case.infection[inside] >= 128))
    return histograms


def count_logits(key: str, logits: NDArray[np.float32], truth: NDArray[np.bool_]) -> LogitHistogram:
    """Count logits of some pixels of a case.

    Args:
        key: Name of the case.
        logits: One per pixel; what lies beyond ±16, infinity too, counts as that.
        truth: Which of these pixels are what the logits speak of.
    """
    clipped = np.clip(logits, _EDGES[0] + 1e-3, _EDGES[-1] - 1e-3)
    positive, negative = (np.histogram(clipped[mask], _EDGES)[0] for mask in (truth, ~truth))
    return LogitHistogram(key, positive, negative)


def save_histograms(path: Path, histograms: Sequence[LogitHistogram]) -> None:
    """Write histograms as JSON."""
    content = {h.key: [h.positive.tolist(), h.negative.tolist()] for h in histograms}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def load_histograms(path: Path) -> list[LogitHistogram]:
    """Read what `save_histograms` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [LogitHistogram(key, *map(np.asarray, counts)) for key, counts in content.items()]


def calibrate(histograms: Sequence[LogitHistogram]) -> Calibration:
    """Choose the temperature by likelihood and the threshold by mean Dice.

    Every case weighs the same. Cases with next to no lesion decide nothing about the
    threshold, since their Dice is noise.

    Raises:
        InputError: ``calibration-without-lesions`` where no case shows any.
    """
    if not any(h.infected_share for h in histograms):
        raise InputError(
            "calibration-without-lesions",
            "Temperature and threshold can't be chosen: no validation case shows a lesion.",
            "Name at least one patient with lesions under 'validation' in the split file; "
            "without any, the scores of the model would be unknown as well.",
        )
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
    above = cut <= LOGIT_CENTRES
    hits = int(histogram.positive[above].sum())
    called = hits + int(histogram.negative[above].sum())
    wanted = int(histogram.positive.sum())
    return 2.0 * hits / (called + wanted) if called + wanted else 1.0


def _mean_nll(histograms: Sequence[LogitHistogram], temperature: float) -> float:
    scaled = LOGIT_CENTRES / temperature
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
