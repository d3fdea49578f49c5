"""Bundles of tapering rods: vessels, airways, long bones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .shapes import FAR_MM, TINY, Array, Samples, clamp

_BEAD_MM = 3.0
_BATCH = 60_000
"""Distances computed at once, to stay in the processor's cache."""


@dataclass(frozen=True)
class Tubes:
    """Many tapering rods: vessels, airways, long bones.

    Attributes:
        start: (n, 3) canonical mm.
        end: (n, 3) canonical mm.
        start_radius_mm: (n,).
        end_radius_mm: (n,).
    """

    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    start_radius_mm: npt.NDArray[np.float64]
    end_radius_mm: npt.NDArray[np.float64]

    @classmethod
    def polyline(cls, points: Sequence[Sequence[float]], radii_mm: Sequence[float]) -> Tubes:
        """One bent tube through ``points`` with a radius at each."""
        p, r = np.asarray(points, float), np.asarray(radii_mm, float)
        return cls(p[:-1], p[1:], r[:-1], r[1:])

    @classmethod
    def joined(cls, parts: Sequence[Tubes]) -> Tubes:
        """All rods of several bundles."""
        return cls(
            np.concatenate([t.start for t in parts]),
            np.concatenate([t.end for t in parts]),
            np.concatenate([t.start_radius_mm for t in parts]),
            np.concatenate([t.end_radius_mm for t in parts]),
        )

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, index: Any) -> Tubes:
        return Tubes(
            self.start[index],
            self.end[index],
            self.start_radius_mm[index],
            self.end_radius_mm[index],
        )

    def mirrored(self) -> Tubes:
        """The same rods on the other side of the midline."""
        flip = np.array([-1.0, 1.0, 1.0])
        return Tubes(self.start * flip, self.end * flip, self.start_radius_mm, self.end_radius_mm)

    def grown(self, by_mm: float) -> Tubes:
        """Every radius changed by ``by_mm``."""
        return Tubes(self.start, self.end, self.start_radius_mm + by_mm, self.end_radius_mm + by_mm)

    def distance(self, s: Samples, cap_mm: float = FAR_MM) -> Array:
        """Signed distance to the union of the rods, mm; ``cap_mm`` where it is larger."""
        best = np.full(s.x.shape, np.float32(cap_mm))
        for away, inner, _ in self._batches(s, self.near(s, cap_mm)):
            np.minimum(best, (away - inner).min(axis=0), out=best)
        return best

    def coverage(self, s: Samples, blur_mm: float) -> Array:
        """Share 0..1 of the sample's surroundings filled by a rod.

        A rod thinner than the blur can't fill it, so its coverage is capped
        by its cross-section: thin vessels fade instead of turning into beads.
        """
        best = np.zeros(s.x.shape, np.float32)
        per_blur = np.float32(1 / blur_mm)
        for away, inner, mean_radius in self._batches(s, np.arange(len(self))):
            inner -= away
            fill = clamp(inner * per_blur + np.float32(0.5), 0, 1)
            fill *= np.minimum(mean_radius * (2 * per_blur), 1)[:, None]
            np.maximum(best, fill.max(axis=0), out=best)
        return best

    def _batches(
        self, s: Samples, index: npt.NDArray[np.intp]
    ) -> Iterator[tuple[Array, Array, Array]]:
        """For batches of rods (m): distances (m, n) to their axes, radii (m, n), mean radii (m).

        Distances come from matrix products; positions are taken relative to
        the middle of the samples, which keeps them accurate in single precision.
        """
        centre, _ = s.ball()
        points = np.stack([s.x, s.y, s.z]) - centre[:, None].astype(np.float32)
        norm2 = (points * points).sum(axis=0)
        size = max(1, _BATCH // max(1, s.x.size))
        for chunk in (index[i : i + size] for i in range(0, len(index), size)):
            start = (self.start[chunk] - centre).astype(np.float32)
            axis = (self.end[chunk] - self.start[chunk]).astype(np.float32)
            length2 = np.maximum((axis * axis).sum(axis=1), TINY)[:, None]
            first, last = (
                r[chunk].astype(np.float32)[:, None]
                for r in (self.start_radius_mm, self.end_radius_mm)
            )
            reach = axis @ points - (axis * start).sum(axis=1)[:, None]
            along = clamp(reach / length2, 0, 1)
            away2 = norm2 - 2 * (start @ points) + (start * start).sum(axis=1)[:, None]
            away2 -= along * (2 * reach - along * length2)
            away = np.sqrt(np.maximum(away2, 0))
            yield away, first + along * (last - first), (first + last)[:, 0] / 2

    def near(self, s: Samples, reach_mm: float) -> npt.NDArray[np.intp]:
        """The rods that may come within ``reach_mm`` of a sample."""
        centre, ball_mm = s.ball()
        reach_mm += ball_mm
        axis = self.end - self.start
        offset = centre - self.start
        along = (offset * axis).sum(axis=1) / np.maximum((axis * axis).sum(axis=1), 1e-9)
        offset -= np.minimum(np.maximum(along, 0), 1)[:, None] * axis
        radius = np.maximum(self.start_radius_mm, self.end_radius_mm)
        return np.flatnonzero((offset * offset).sum(axis=1) <= (reach_mm + radius) ** 2)

    def touch(self, centres: npt.NDArray[np.float64], reach_mm: float) -> npt.NDArray[np.bool_]:
        """Whether some rod may come within ``reach_mm`` of each point (m, 3).

        Never wrong about a rod that does; generous about thin rods beside thick ones.
        """
        if len(self) == 0:
            return np.zeros(len(centres), bool)
        tree, slack_mm = self._beads
        limit = reach_mm + slack_mm
        away, _ = tree.query(centres, distance_upper_bound=limit)
        touched: npt.NDArray[np.bool_] = away < limit
        return touched

    @cached_property
    def _beads(self) -> tuple[cKDTree, float]:
        """Points strung along the rods, and how far a rod's surface may be from the nearest."""
        length = np.linalg.norm(self.end - self.start, axis=1)
        count = np.ceil(length / _BEAD_MM).astype(int) + 1
        rod = np.repeat(np.arange(len(self)), count)
        order = np.arange(len(rod)) - np.repeat(np.cumsum(count) - count, count)
        share = order / np.maximum(count[rod] - 1, 1)
        beads = self.start[rod] + share[:, None] * (self.end - self.start)[rod]
        widest = max(float(self.start_radius_mm.max()), float(self.end_radius_mm.max()))
        return cKDTree(beads), widest + _BEAD_MM / 2
