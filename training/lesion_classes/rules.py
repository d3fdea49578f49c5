"""Rules that tell consolidation from ground glass by HU, and how they are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lesion_classes import smoothed_within
from training.semiseg.slices import CONSOLIDATION, GROUND_GLASS

from .slices import ClassSlice

BORDERS_HU = tuple(range(-600, 1, 25))
SMOOTHINGS_MM = (0.0, 1.0, 2.0, 3.0, 4.0)
"""Standard deviation of the Gaussian within the infection; 0 takes the pixels as they are."""

SCORES = ("ground_glass_dice", "consolidation_dice", "share_error")
BorderRule = tuple[float, int]
"""Smoothing in mm and border in HU."""


@dataclass(frozen=True)
class Calls:
    """What one rule says about the infected pixels of one slice.

    Attributes:
        hits: Pixels of consolidation that it calls so.
        false: Pixels of ground glass that it calls consolidation.
        consolidation, ground_glass: All pixels of each class.
    """

    hits: int
    false: int
    consolidation: int
    ground_glass: int

    @property
    def wrong_percent(self) -> float:
        """Share of the infection that is called the other class."""
        missed = self.consolidation - self.hits
        return 100.0 * (missed + self.false) / (self.consolidation + self.ground_glass)

    def scores(self) -> dict[str, float | None]:
        """Return Dice per class, None where the expert drew none of it, and the share's error.

        The latter is the difference of the consolidated part of the infection, in points.
        """
        missed = self.consolidation - self.hits
        right = self.ground_glass - self.false
        wrong = missed + self.false
        error = 100.0 * abs(self.false - missed) / (self.consolidation + self.ground_glass)
        return {
            "ground_glass_dice": 2 * right / (2 * right + wrong) if self.ground_glass else None,
            "consolidation_dice": (
                2 * self.hits / (2 * self.hits + wrong) if self.consolidation else None
            ),
            "share_error": error,
        }


Rule = Mapping[str, Calls]
"""The calls of a rule, by slice."""


def calls_of(consolidated: NDArray[np.bool_], classes: NDArray[np.uint8]) -> Calls:
    """Count the calls of a rule on one slice; only pixels of a class count."""
    of_class = [classes == value for value in (CONSOLIDATION, GROUND_GLASS)]
    hits, false = (int((consolidated & mask).sum()) for mask in of_class)
    return Calls(hits, false, *(int(mask.sum()) for mask in of_class))


def smoothed(item: ClassSlice, sigma_mm: float) -> NDArray[np.float32]:
    """Return the HU of a slice smoothed within its infection."""
    if sigma_mm == 0.0:
        return item.hu
    return smoothed_within(item.hu, item.classes > 0, (sigma_mm / item.pixel_mm,) * 2)


def border_rules(slices: Sequence[ClassSlice]) -> dict[BorderRule, dict[str, Calls]]:
    """Return the calls of every border at every smoothing."""
    rules: dict[BorderRule, dict[str, Calls]] = {
        (sigma, border): {} for sigma in SMOOTHINGS_MM for border in BORDERS_HU
    }
    for item in slices:
        for sigma in SMOOTHINGS_MM:
            hu = smoothed(item, sigma)
            for border in BORDERS_HU:
                rules[sigma, border][item.key] = calls_of(hu >= border, item.classes)
    return rules


def mean_dice(rule: Rule, keys: Sequence[str]) -> float:
    """Return the mean of the two classes' mean Dice over some slices."""
    scores = [rule[key].scores() for key in keys]
    means = []
    for name in SCORES[:2]:
        values = [value for score in scores if (value := score[name]) is not None]
        means.append(float(np.mean(values)))
    return float(np.mean(means))


def chosen_rule(
    rules: Mapping[BorderRule, Rule], folds: Sequence[Sequence[str]]
) -> tuple[dict[str, Calls], list[dict[str, float]]]:
    """Score every slice with the rule that is best for the other folds.

    Returns:
        The calls by slice, and the rule of every fold.
    """
    calls: dict[str, Calls] = {}
    chosen = []
    for fold in folds:
        others = [key for other in folds if other is not fold for key in other]
        best = max(rules, key=lambda name: mean_dice(rules[name], others))
        calls.update({key: rules[best][key] for key in fold})
        chosen.append({"smoothing_mm": best[0], "border_hu": float(best[1])})
    return calls, chosen
