"""Bilinear maps between a CT's slices and a network's pixel grid, as two small matrices.

A separable matrix product gives exactly what an edge-aligned bilinear resize of the whole
slice gives, but for any window of it, so that nothing outside the lungs is computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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


def bilinear_weights(
    target: tuple[int, int], source: tuple[int, int], target_size: int, source_size: int
) -> NDArray[np.float32]:
    """Return the matrix that interpolates a window of one axis.

    Args:
        target: First and last-plus-one index wanted on the target axis.
        source: First and last-plus-one index at hand on the source axis; what lies outside
            repeats its edge.
        target_size: Length of the whole target axis.
        source_size: Length of the whole source axis, whose extent is the same.

    Returns:
        float32 ``(target window, source window)``; each row sums to 1.
    """
    centres = (np.arange(*target) + 0.5) * (source_size / target_size) - 0.5
    centres = np.clip(centres, source[0], source[1] - 1)
    lower = np.minimum(np.floor(centres).astype(np.intp), max(source[1] - 2, source[0]))
    upper_weight = centres - lower
    weights = np.zeros((len(centres), source[1] - source[0]), dtype=np.float32)
    rows = np.arange(len(centres))
    weights[rows, lower - source[0]] = 1.0 - upper_weight
    np.add.at(
        weights, (rows, np.minimum(lower - source[0] + 1, weights.shape[1] - 1)), upper_weight
    )
    return weights


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
