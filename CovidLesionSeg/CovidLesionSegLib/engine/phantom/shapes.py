"""Implicit shapes in millimetres: a field is negative inside, and near its zero about a distance.

Fields work on flat float32 arrays of points, so the same functions
serve the picture, the labels by voxel centre and the volumes of the truth table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

Array: TypeAlias = npt.NDArray[np.floating[Any]]

PROFILE_RANGE_MM = (-400.0, 400.0)
_HEIGHTS_MM = np.arange(PROFILE_RANGE_MM[0], PROFILE_RANGE_MM[1] + 1)
TINY = np.float32(1e-6)
FAR_MM = 22.0
_CARRIED = frozenset({"lungs", "oblique", "horizontal"})


@dataclass
class Samples:
    """Points of the patient, with a memory for quantities that several shapes share.

    Attributes:
        x: Towards the patient's left, mm, canonical anatomy, float32 of shape (n,).
        y: Towards the back, mm.
        z: Towards the head, mm.
        room: The same points in the scanner's frame before breathing in any
            individual shape; the couch lives there. (x, y, z).
    """

    x: Array
    y: Array
    z: Array
    room: tuple[Array, Array, Array]
    _memory: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def canonical(cls, points: npt.NDArray[np.float64]) -> Samples:
        """Samples at points (n, 3) given in canonical mm."""
        x, y, z = points.T.astype(np.float32)
        return cls(x, y, z, (x, y, z))

    def subset(self, index: npt.NDArray[np.intp]) -> Samples:
        """The samples at ``index``, with whatever is already known about them."""
        x, y, z = self.room
        part = Samples(self.x[index], self.y[index], self.z[index], (x[index], y[index], z[index]))
        for name in _CARRIED & self._memory.keys():
            part._memory[name] = self._memory[name][index]
        return part

    def cells(self, edge_mm: float, samples: int) -> list[npt.NDArray[np.intp]]:
        """Indices of the samples, gathered by cubes.

        Args:
            edge_mm: Smallest edge of a cube.
            samples: A cube should hold about this many, or more.
        """
        _, radius_mm = self.ball()
        whole_mm = 2 * radius_mm / math.sqrt(3)
        edge_mm = max(edge_mm, whole_mm * (samples / self.x.size) ** (1 / 3))
        key = np.zeros(self.x.shape, np.int64)
        for values in (self.x, self.y, self.z):
            low, high = float(values.min()), float(values.max())
            count = max(1, round((high - low) / edge_mm))
            key *= count
            key += np.minimum((values - low) * (count / max(high - low, 1e-3)), count - 1).astype(
                np.int64
            )
        order = np.argsort(key, kind="stable")
        ends = np.flatnonzero(np.diff(key[order])) + 1
        return np.split(order, ends)

    def ball(self) -> tuple[npt.NDArray[np.float64], float]:
        """Centre (3,) and radius in mm of a ball that holds all samples."""
        out: tuple[npt.NDArray[np.float64], float] = self.recall("ball", _ball)
        return out

    def recall(self, name: str, compute: Callable[[Samples], Any]) -> Any:
        """Return the quantity ``name``, computing it on first use."""
        if name not in self._memory:
            self._memory[name] = compute(self)
        return self._memory[name]


Field: TypeAlias = Callable[[Samples], Array]


def _ball(s: Samples) -> tuple[npt.NDArray[np.float64], float]:
    if s.x.size == 0:
        return np.zeros(3), 0.0
    low = np.array([s.x.min(), s.y.min(), s.z.min()], float)
    high = np.array([s.x.max(), s.y.max(), s.z.max()], float)
    return (low + high) / 2, float(np.linalg.norm(high - low)) / 2


def clamp(values: Array, low: float, high: float) -> Array:
    """``np.clip`` without its overhead, which matters on thousands of small blocks."""
    return np.minimum(np.maximum(values, np.float32(low)), np.float32(high))


def smooth_min(first: Array, second: Array, blend_mm: float) -> Array:
    """Union of two fields with a fillet of about ``blend_mm`` where they meet."""
    gap = np.maximum(np.float32(blend_mm) - np.abs(first - second), 0)
    return np.minimum(first, second) - gap * gap * np.float32(0.25 / blend_mm)


def smooth_max(first: Array, second: Array, blend_mm: float) -> Array:
    """Intersection of two fields with a rounded edge of about ``blend_mm``."""
    gap = np.maximum(np.float32(blend_mm) - np.abs(first - second), 0)
    return np.maximum(first, second) + gap * gap * np.float32(0.25 / blend_mm)


def ellipsoid(
    s: Samples,
    centre: Sequence[float],
    radii: Sequence[float],
    axes: npt.NDArray[np.float64] | None = None,
) -> Array:
    """Ellipsoid with the rows of ``axes`` as its axes (default x, y, z).

    Far outside (``FAR_MM``) the value stays constant, which spares the work there.
    """
    middle, ball_mm = s.ball()
    if math.dist(middle, centre) > ball_mm + max(radii) + 1.4 * FAR_MM:
        return np.full(s.x.shape, np.float32(FAR_MM))
    offset = [s.x - float(centre[0]), s.y - float(centre[1]), s.z - float(centre[2])]
    if axes is not None:
        dx, dy, dz = offset
        offset = [dx * float(a[0]) + dy * float(a[1]) + dz * float(a[2]) for a in axes]
    norm = np.zeros_like(s.x)
    slope = np.full_like(s.x, TINY)
    for value, radius in zip(offset, radii, strict=True):
        value *= np.float32(1 / radius)
        square = value * value
        norm += square
        square *= np.float32(1 / radius**2)
        slope += square
    length = np.sqrt(norm)
    distance = (norm - length) / np.sqrt(slope)
    return np.minimum(distance, np.float32(FAR_MM))


def capsule(s: Samples, start: Sequence[float], end: Sequence[float], radius_mm: float) -> Array:
    """Straight rod with round ends."""
    (ax, ay, az), (bx, by, bz) = start, end
    axis = (bx - ax, by - ay, bz - az)
    per_length2 = np.float32(1 / (axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2))
    dx, dy, dz = s.x - ax, s.y - ay, s.z - az
    along = clamp((dx * axis[0] + dy * axis[1] + dz * axis[2]) * per_length2, 0, 1)
    dx -= along * axis[0]
    dy -= along * axis[1]
    dz -= along * axis[2]
    away: Array = np.sqrt(dx * dx + dy * dy + dz * dz)
    return away - np.float32(radius_mm)


class Profile:
    """A quantity along z through given nodes (mm: value), smooth and without overshoot."""

    def __init__(self, nodes: Mapping[int, float]) -> None:
        z = np.array(sorted(nodes), float)
        values = np.array([nodes[v] for v in sorted(nodes)], float)
        table = PchipInterpolator(z, values)(np.clip(_HEIGHTS_MM, z[0], z[-1]))
        self._table: Array = table.astype(np.float32)
        self._step: Array = np.diff(self._table, append=self._table[-1:])

    def __call__(self, s: Samples) -> Array:
        """Value at the samples' heights (constant beyond the outermost nodes)."""
        node, rest = s.recall("height", _height)
        value: Array = self._table[node] + self._step[node] * rest
        return value

    def at(self, z_mm: float) -> float:
        """Value at one height."""
        return float(np.interp(z_mm, _HEIGHTS_MM, self._table))


def _height(s: Samples) -> tuple[npt.NDArray[np.int32], Array]:
    """Table node under each sample and the rest of its height, mm."""
    position = clamp(s.z - PROFILE_RANGE_MM[0], 0, len(_HEIGHTS_MM) - 1.001)
    node = position.astype(np.int32)
    return node, position - node


@dataclass(frozen=True)
class Column:
    """A trunk-like solid: at each height a rounded rectangle between ellipse and box.

    Attributes:
        half_width: Half extent in x over z, mm.
        half_depth: Half extent in y over z, mm.
        centre_y: Centre in y over z, mm.
        squareness: 0 an ellipse, towards 1 a rectangle (Fernandez-Guasti's squircle).
    """

    half_width: Profile
    half_depth: Profile
    centre_y: Profile
    squareness: float = 0.5

    def polar(self, s: Samples) -> tuple[Array, Array]:
        """Signed distance (mm), and the angle 0 at the back .. pi in front."""
        width, depth = self.half_width(s), self.half_depth(s)
        u = s.x / width
        v = (s.y - self.centre_y(s)) / depth
        uu, vv = u * u, v * v
        round_ = uu + vv
        square = np.float32(4 * self.squareness**2)
        norm = np.sqrt((round_ + np.sqrt(round_ * round_ - square * uu * vv)) * 0.5)
        slope = np.sqrt(uu / (width * width) + vv / (depth * depth)) + TINY
        distance = (norm - 1) * np.sqrt(round_) / slope
        return distance, np.arctan2(np.abs(u), v)


class LatticeNoise:
    """Smooth periodic random texture with zero mean and unit variance, a function of mm.

    Args:
        rng: Source of the lattice values.
        cell_mm: Edge of a lattice cell; features are about three cells wide.
        size: Cells per period.
    """

    def __init__(self, rng: np.random.Generator, cell_mm: float, size: int = 48) -> None:
        white = rng.standard_normal((size, size, size), dtype=np.float32)
        smooth = ndimage.gaussian_filter(white, 1.1, mode="wrap")
        self._values: Array = ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)
        self._per_mm = np.float32(1 / cell_mm)

    def __call__(self, s: Samples) -> Array:
        """Texture value at every sample, trilinear between the lattice points."""
        out: Array = s.recall(f"noise {id(self)}", self._look_up)
        return out

    def _look_up(self, s: Samples) -> Array:
        coordinates = np.stack([s.z, s.y, s.x]) * self._per_mm
        out = np.empty(s.x.shape, np.float32)
        ndimage.map_coordinates(self._values, coordinates, out, order=1, mode="grid-wrap")
        return out
