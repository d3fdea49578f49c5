"""Bilinear maps between a CT's slices and a network's pixel grid, one axis after the other.

They give exactly what an edge-aligned bilinear resize of the whole slice gives, but for any
window of it, so that nothing outside the lungs is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A half-open rectangle of pixels: rows ``y0..y1``, columns ``x0..x1``."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the last two axes of an array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def size_yx(self) -> tuple[int, int]:
        """Height and width."""
        return self.y1 - self.y0, self.x1 - self.x0


@dataclass(frozen=True, eq=False)
class Taps:
    """Where each pixel of a target axis lies between two of the source axis.

    Attributes:
        lower, upper: intp, the two source pixels, counted from the source window's first.
        upper_weight: float32, share of the upper one; the lower one has the rest.
    """

    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    upper_weight: NDArray[np.float32]


def bilinear_taps(
    target: tuple[int, int], source: tuple[int, int], target_size: int, source_size: int
) -> Taps:
    """Return how to interpolate a window of one axis.

    Args:
        target: First and last-plus-one index wanted on the target axis.
        source: First and last-plus-one index at hand on the source axis; what lies outside
            repeats its edge.
        target_size: Length of the whole target axis.
        source_size: Length of the whole source axis, whose extent is the same.
    """
    centres = (np.arange(*target) + 0.5) * (source_size / target_size) - 0.5
    centres = np.clip(centres, source[0], source[1] - 1)
    lower = np.minimum(np.floor(centres).astype(np.intp), max(source[1] - 2, source[0]))
    upper = np.minimum(lower + 1, source[1] - 1)
    return Taps(lower - source[0], upper - source[0], (centres - lower).astype(np.float32))


class BilinearMap:
    """Interpolates pictures of a window of the source grid to a window of the target grid.

    Args:
        rows, columns: Taps of the last two axes.
        device: Torch device of the pictures.
    """

    def __init__(self, rows: Taps, columns: Taps, device: str = "cpu") -> None:
        import torch

        def on_device(taps: Taps) -> tuple[Tensor, Tensor, Tensor]:
            lower, upper = torch.from_numpy(taps.lower), torch.from_numpy(taps.upper)
            weight = torch.from_numpy(taps.upper_weight)
            return lower.to(device), upper.to(device), weight.to(device)

        self._rows, self._columns = on_device(rows), on_device(columns)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Map ``(..., height, width)``, floating point, to the target's window."""
        lower, upper, weight = self._columns
        # Columns first: picking single pixels is slow and the source has fewer rows.
        wide = pictures.index_select(-1, lower).lerp(pictures.index_select(-1, upper), weight)
        lower, upper, weight = self._rows
        return wide.index_select(-2, lower).lerp(wide.index_select(-2, upper), weight[:, None])


def bounding_window(mask_zyx: NDArray[np.bool_]) -> tuple[slice, Window] | None:
    """Return the slices and the in-plane window that hold all of a mask; None if empty."""
    z = np.flatnonzero(mask_zyx.any(axis=(1, 2)))
    if z.size == 0:
        return None
    plane: NDArray[np.bool_] = np.any(mask_zyx[z[0] : z[-1] + 1], axis=0)
    y = np.flatnonzero(plane.any(axis=1))
    x = np.flatnonzero(plane.any(axis=0))
    window = Window(int(y[0]), int(y[-1]) + 1, int(x[0]), int(x[-1]) + 1)
    return slice(int(z[0]), int(z[-1]) + 1), window


def grid_window(
    window: Window, size_yx: tuple[int, int], grid_yx: tuple[int, int], margin: int, multiple: int
) -> Window:
    """Return the window of the network's grid that covers a window of the CT's slice.

    Args:
        window: Rectangle on the CT's slice.
        size_yx: Whole size of the CT's slice.
        grid_yx: Whole size of the network's grid.
        margin: Pixels of the network's grid to add on every side.
        multiple: Height and width are rounded up to this; the rectangle may then reach
            beyond the grid, where the input is padded.
    """
    bounds: list[int] = []
    spans = ((window.y0, window.y1), (window.x0, window.x1))
    for (first, last), size, grid in zip(spans, size_yx, grid_yx, strict=True):
        low = max(int(np.floor(first * grid / size)) - margin, 0)
        high = min(int(np.ceil(last * grid / size)) + margin, grid)
        missing = -(high - low) % multiple
        low = max(low - missing // 2, 0)
        high = low + (high - low + -(high - low) % multiple)
        if high > grid:  # slide back into the grid where there is room
            shift = min(high - grid, low)
            low, high = low - shift, high - shift
        bounds += [low, high]
    return Window(*bounds)
