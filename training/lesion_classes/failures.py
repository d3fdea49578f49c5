"""The slices on which the class network is wrong most, in each direction, and pictures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.masks import bounding_box
from training.semiseg.slices import CONSOLIDATION
from training.slice_pictures import Panel, draw_panels

from .learned import Logits, called_by
from .rules import Calls, Rule
from .slices import ClassSlice

SOURCE = (
    "COVID-SemiSeg (Fan et al., IEEE TMI 2020), slices of MedSeg and SIRM: masks free to use with "
    "acknowledgement, non-commercial by the paper"
)
_SLICES_OF_A_KIND = 2
_MARGIN_MM = 15.0

MISSED = "consolidation called ground glass"
FALSE = "ground glass called consolidation"


@dataclass(frozen=True)
class WrongSlice:
    """A slice of which much is called the other class.

    All shares are of the expert's infection: the slices carry no pixel size, so areas in cm²
    would be invented.

    Attributes:
        key: Name of the slice.
        kind: `MISSED` or `FALSE`, for which it was taken.
        wrong_percent: Called the other class.
        missed_percent: Consolidation called ground glass.
        false_percent: Ground glass called consolidation.
        drawn_percent: Consolidation, as the expert drew it.
        wrong_hu: Mean density of what is wrong in this way, as far as HU could be estimated.
        border_wrong_percent: What the engine's border in HU calls the other class.
    """

    key: str
    kind: str
    wrong_percent: float
    missed_percent: float
    false_percent: float
    drawn_percent: float
    wrong_hu: float
    border_wrong_percent: float

    @property
    def percent_of_kind(self) -> float:
        """Share of the infection that is wrong in the way for which the slice was taken."""
        return self.missed_percent if self.kind == MISSED else self.false_percent


def worst_slices(
    slices: Sequence[ClassSlice], logits: Logits, calls: Rule, border: Rule
) -> list[WrongSlice]:
    """Return the slices with the largest wrong share of the infection, of either kind.

    Args:
        slices: The slices.
        logits: Of networks that had not seen them.
        calls: What these logits call.
        border: What the engine's border calls.

    Returns:
        First those with most `MISSED`, then those with most `FALSE`, each the worst first. A
        slice with nothing wrong of a kind is none of its.
    """
    worst = []
    for kind in (MISSED, FALSE):
        described = [_described(kind, s, logits, calls[s.key], border[s.key]) for s in slices]
        failed = [wrong for wrong in described if wrong.percent_of_kind > 0.0]
        failed.sort(key=lambda wrong: -wrong.percent_of_kind)
        worst += failed[:_SLICES_OF_A_KIND]
    return worst


def _described(
    kind: str, item: ClassSlice, logits: Logits, calls: Calls, border: Calls
) -> WrongSlice:
    infected = calls.consolidation + calls.ground_glass
    called, drawn = called_by(logits[item.key], item), item.classes == CONSOLIDATION
    wrong = drawn & ~called if kind == MISSED else called & ~drawn & (item.classes > 0)

    def percent(pixels: int) -> float:
        return round(100.0 * pixels / infected, 1)

    return WrongSlice(
        item.key,
        kind,
        round(calls.wrong_percent, 1),
        percent(calls.consolidation - calls.hits),
        percent(calls.false),
        percent(calls.consolidation),
        round(float(item.hu[wrong].mean()), 0) if wrong.any() else 0.0,
        round(border.wrong_percent, 1),
    )


def draw(
    item: ClassSlice, logits: NDArray[np.float32], worst: WrongSlice, title: str, path: Path
) -> None:
    """Draw the slice, bare and with both outlines of consolidation, as a small PNG."""
    infected = item.classes > 0
    margin = round(_MARGIN_MM / item.pixel_mm)
    box = bounding_box(infected[None], (0, margin, margin))[1:]
    hu, drawn = item.hu[box], (item.classes == CONSOLIDATION)[box]
    called, nothing = called_by(logits, item)[box], np.zeros(hu.shape, dtype=bool)
    panels = [
        Panel(hu, nothing, nothing, f"slice {item.key}", around=infected[box]),
        Panel(hu, drawn, called, f"{worst.wrong_percent:.0f}% of the infection wrong"),
    ]
    draw_panels(panels, f"{title}: infection (white), consolidation", SOURCE, path)
