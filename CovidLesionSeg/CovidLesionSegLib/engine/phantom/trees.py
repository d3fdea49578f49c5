"""Branching trees inside the lungs, grown by halving clouds of end points.

Each branch heads for the centre of the points it must supply, then splits them
across their longest extent. Radii follow a power law of the number of end
points, so that vessels taper towards the pleura as in Murray's law.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .shapes import Array
from .tubes import Tubes

Points = npt.NDArray[np.float64]

TIP_RADIUS_MM = 0.66
MURRAY = 0.355
"""Exponent of radius over end points; 1/3 would be Murray's law exactly."""


@dataclass(frozen=True)
class Branch:
    """One rod of a growing tree."""

    start: Points
    end: Points
    tips: int
    tips_after: int


def radius_mm(tips: int) -> float:
    """Radius of a vessel that supplies ``tips`` end points."""
    return TIP_RADIUS_MM * math.pow(tips, MURRAY)


def grow(root: Points, tips: Points, rng: np.random.Generator) -> list[Branch]:
    """Grow a tree from ``root`` (3,) to every point of ``tips`` (n, 3), canonical mm."""
    branches: list[Branch] = []
    stack = [(root, tips)]
    while stack:
        start, cloud = stack.pop()
        if len(cloud) == 1:
            _bend(branches, start, cloud[0], 1, 1, rng)
            continue
        towards = cloud.mean(axis=0) - start
        end = start + towards * float(rng.uniform(0.38, 0.55))
        first, second = _halve(cloud, rng)
        _bend(branches, start, end, len(cloud), max(len(first), len(second)), rng)
        stack += [(end, first), (end, second)]
    return branches


def _halve(cloud: Points, rng: np.random.Generator) -> tuple[Points, Points]:
    """Split a cloud across its longest axis, not quite in the middle."""
    centred = cloud - cloud.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(centred @ axes[:, -1])
    cut = int(np.clip(round(len(cloud) * float(rng.uniform(0.32, 0.68))), 1, len(cloud) - 1))
    return cloud[order[:cut]], cloud[order[cut:]]


def _bend(
    branches: list[Branch],
    start: Points,
    end: Points,
    tips: int,
    tips_after: int,
    rng: np.random.Generator,
) -> None:
    """Add a branch as two rods with a slight bend."""
    length = float(np.linalg.norm(end - start))
    middle = (start + end) / 2 + rng.normal(0, 0.06 * length, 3)
    branches.append(Branch(start, middle, tips, tips))
    branches.append(Branch(middle, end, tips, tips_after))


def as_tubes(branches: list[Branch], smallest: int = 1) -> Tubes:
    """Rods of the branches that supply at least ``smallest`` end points."""
    kept = [b for b in branches if b.tips >= smallest]
    return Tubes(
        np.array([b.start for b in kept]).reshape(-1, 3),
        np.array([b.end for b in kept]).reshape(-1, 3),
        np.array([radius_mm(b.tips) for b in kept]),
        np.array([0.85 * radius_mm(b.tips) + 0.15 * radius_mm(b.tips_after) for b in kept]),
    )


def accompany(arteries: list[Branch], smallest: int) -> Tubes:
    """Lumen of the bronchi that run beside the larger arteries.

    Towards its root the bronchus joins the artery's own line, where the main
    bronchus ends.
    """
    artery = as_tubes(arteries, smallest)
    ends = artery.end_radius_mm
    aside = np.array([0.35, 0.75, 0.55])
    lumen = 0.72
    shift_start = (artery.start_radius_mm * (1 + lumen) + 0.9)[:, None] * aside
    shift_end = (ends * (1 + lumen) + 0.9)[:, None] * aside
    if len(artery):
        shift_start[0] = 0.0
    return Tubes(
        artery.start + shift_start,
        artery.end + shift_end,
        artery.start_radius_mm * lumen,
        ends * lumen,
    )


def scatter(
    inside: Callable[[Points], Array],
    box: tuple[Points, Points],
    count: int,
    rng: np.random.Generator,
) -> Points:
    """Draw points (count, 3) evenly from where ``inside`` of (n, 3) points is negative.

    Candidates come in batches, and the first ``count`` that fit are kept.
    Fewer come back where the region is (almost) empty.
    """
    found: list[Points] = []
    total = 0
    for _ in range(40):
        candidates = rng.uniform(box[0], box[1], (4 * count + 64, 3))
        kept = candidates[inside(candidates) < 0]
        found.append(kept)
        total += len(kept)
        if total >= count:
            break
    return np.concatenate(found)[:count]
