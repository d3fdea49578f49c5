"""Which slices of a CT to show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import SegmentationResult

AXIAL, CORONAL = 0, 1
"""Numpy axes of ``[z, y, x]`` that slices are taken along."""

_TAIL = 0.03
"""Share of the infection that may lie beyond the first and the last slice shown."""

_LEAST_SHARE = 0.5
"""A small lesion is shown with its surroundings: at least this share of the lungs."""


@dataclass(frozen=True)
class SliceChoice:
    """Slices to show along one axis.

    Attributes:
        axis: `AXIAL` or `CORONAL`.
        indices: From head to feet, or from front to back.
        worst: The one of them with the largest infected area; None without infection.
    """

    axis: int
    indices: tuple[int, ...]
    worst: int | None


def choose_slices(result: SegmentationResult, axis: int, count: int) -> SliceChoice:
    """Choose slices by content: evenly over the infected extent, the worst one among them.

    A small infection is shown with its surroundings; without infection the slices lie evenly
    over the lungs, without lungs over the CT.

    Args:
        result: The result.
        axis: `AXIAL` or `CORONAL`.
        count: Number of slices; fewer only when the CT has fewer.
    """
    infected, lungs = _profile(result.infection, axis), _profile(result.anatomy.lungs, axis)
    size = result.ct.shape_zyx[axis]
    count = min(count, size)
    worst = int(infected.argmax()) if infected.any() else None
    first, last = _extent(lungs) if lungs.any() else (0, size - 1)
    if worst is not None:
        least = max(count, round(_LEAST_SHARE * (last - first + 1)))
        first, last = _widened(_extent(infected), least, (first, last))
    if last - first + 1 < count:
        first, last = 0, size - 1
    chosen = _evenly(first, last, count)
    if worst is not None:
        nearest = min(range(count), key=lambda number: abs(chosen[number] - worst))
        chosen[nearest] = worst
    ordered = sorted(chosen, reverse=axis == AXIAL)
    return SliceChoice(axis, tuple(ordered), worst)


def _profile(mask: NDArray[np.uint8], axis: int) -> NDArray[np.int64]:
    others = tuple(other for other in range(3) if other != axis)
    return np.asarray(np.count_nonzero(mask, axis=others), dtype=np.int64)


def _extent(profile: NDArray[np.int64]) -> tuple[int, int]:
    """Return first and last slice of what the profile counts, without thin tails."""
    share = np.cumsum(profile) / profile.sum()
    first = int(np.searchsorted(share, _TAIL))
    last = int(np.searchsorted(share, 1.0 - _TAIL))
    return first, last


def _widened(extent: tuple[int, int], least: int, within: tuple[int, int]) -> tuple[int, int]:
    """Widen an extent to so many slices, evenly, inside the lungs as far as it lies there."""
    first, last = min(extent[0], within[0]), max(extent[1], within[1])
    missing = max(0, least - (extent[1] - extent[0] + 1))
    start = max(first, min(extent[0] - missing // 2, last - least + 1))
    return start, min(last, max(extent[1], start + least - 1))


def _evenly(first: int, last: int, count: int) -> list[int]:
    if count == 1:
        return [(first + last) // 2]
    return [round(first + (last - first) * number / (count - 1)) for number in range(count)]
