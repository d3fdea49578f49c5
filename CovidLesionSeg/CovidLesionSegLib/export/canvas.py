"""A picture in memory and smooth lines, outlines and letters on it, with numpy alone.

Slicer brings neither matplotlib nor another library that draws without a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]
Point = tuple[float, float]
Pixels = NDArray[np.float32]

BLACK: Rgb = (0, 0, 0)
WHITE: Rgb = (255, 255, 255)

_HALO_PX = 2.5


def _arc(x: float, y: float, rx: float, ry: float, first: float, last: float) -> list[Point]:
    """Return points of an ellipse; degrees, clockwise on the screen, 0 to the right."""
    angles = np.deg2rad(np.linspace(first, last, 13))
    return [(x + rx * float(np.cos(a)), y + ry * float(np.sin(a))) for a in angles]


_BOWL = [(0.0, 0.0), *_arc(0.34, 0.27, 0.26, 0.27, -90.0, 90.0), (0.0, 0.54)]
_STROKES: dict[str, list[list[Point]]] = {
    "A": [[(0.0, 1.0), (0.33, 0.0), (0.66, 1.0)], [(0.12, 0.64), (0.54, 0.64)]],
    "L": [[(0.0, 0.0), (0.0, 1.0), (0.54, 1.0)]],
    "P": [[(0.0, 1.0), *_BOWL]],
    "R": [[(0.0, 1.0), *_BOWL], [(0.3, 0.54), (0.62, 1.0)]],
    "5": [[(0.5, 0.0), (0.1, 0.0), (0.06, 0.45), *_arc(0.26, 0.68, 0.3, 0.32, -130.0, 150.0)]],
    "c": [_arc(0.27, 0.68, 0.27, 0.32, -50.0, -310.0)],
    "m": [
        [(0.0, 0.36), (0.0, 1.0)],
        [(0.0, 0.6), *_arc(0.2, 0.6, 0.2, 0.24, -180.0, 0.0), (0.4, 1.0)],
        [(0.4, 0.6), *_arc(0.6, 0.6, 0.2, 0.24, -180.0, 0.0), (0.8, 1.0)],
    ],
    " ": [],
}
"""Letters as pen strokes in a box of height 1, y downwards: only those that pictures need."""

_ADVANCE = {"m": 1.05, " ": 0.4}


class Canvas:
    """RGB pixels that lines and outlines are blended into.

    Args:
        pixels: ``[row, column]`` grey values, or ``[row, column, 3]`` RGB, 0..255.
    """

    def __init__(self, pixels: NDArray[np.generic]) -> None:
        values = np.asarray(pixels, dtype=np.float32)
        if values.ndim == 2:
            values = np.repeat(values[..., None], 3, axis=2)
        self.pixels: Pixels = values.copy()

    def to_uint8(self) -> NDArray[np.uint8]:
        """Return uint8 ``[row, column, 3]``."""
        return np.clip(np.rint(self.pixels), 0, 255).astype(np.uint8)

    def blend(self, coverage: NDArray[np.floating], color: Rgb) -> None:
        """Paint a colour over the picture.

        Args:
            coverage: ``[row, column]``, 0 (nothing) to 1 (all).
            color: The colour.
        """
        weight = coverage[..., None].astype(np.float32)
        self.pixels += weight * (np.asarray(color, np.float32) - self.pixels)

    def outline(
        self,
        inside: NDArray[np.floating],
        color: Rgb,
        width_px: float,
        alpha: float = 1.0,
        dash_px: int = 0,
    ) -> None:
        """Draw the line along which a field is one half.

        Args:
            inside: ``[row, column]``, 1 inside, 0 outside, smooth in between.
            color: The colour.
            width_px: Width of the line.
            alpha: Opacity.
            dash_px: Length of the dashes; 0 for an unbroken line.
        """
        slope = np.hypot(*np.gradient(inside))
        distance = np.abs(inside - 0.5) / np.maximum(slope, 1e-6)
        coverage = alpha * np.clip(width_px / 2.0 + 0.5 - distance, 0.0, 1.0)
        if dash_px:
            rows, columns = np.indices(inside.shape)
            coverage *= ((rows + columns) // dash_px + (rows - columns) // dash_px) % 2
        self.blend(coverage, color)

    def line(self, points: Sequence[Point], color: Rgb, width_px: float) -> None:
        """Draw a line with round ends through points ``(x, y)`` in pixels."""
        margin = width_px + 2.0
        left, top = (int(max(min(values) - margin, 0)) for values in zip(*points, strict=True))
        right, bottom = (int(max(values) + margin) + 1 for values in zip(*points, strict=True))
        part = Canvas(self.pixels[top:bottom, left:right])
        rows, columns = np.indices(part.pixels.shape[:2]).astype(np.float32)
        rows, columns = rows + top, columns + left
        nearest = np.full(rows.shape, np.inf, dtype=np.float32)
        for (x0, y0), (x1, y1) in pairwise(points):
            dx, dy = x1 - x0, y1 - y0
            along = ((columns - x0) * dx + (rows - y0) * dy) / max(dx * dx + dy * dy, 1e-9)
            along = np.clip(along, 0.0, 1.0)
            distance = np.hypot(columns - x0 - along * dx, rows - y0 - along * dy)
            nearest = np.minimum(nearest, distance)
        part.blend(np.clip(width_px / 2.0 + 0.5 - nearest, 0.0, 1.0), color)
        self.pixels[top:bottom, left:right] = part.pixels

    def text(self, text: str, left_top: Point, height_px: float, color: Rgb, halo: Rgb) -> None:
        """Write letters with a halo around them, legible on any ground.

        Args:
            text: Letters that `text_width` knows.
            left_top: ``(x, y)`` in pixels.
            height_px: Height of a capital letter.
            color: Colour of the letters.
            halo: Colour around them.
        """
        pen = max(height_px * 0.14, 1.6)
        for line_color, width in ((halo, pen + 2.0 * _HALO_PX), (color, pen)):
            x, y = left_top
            for letter in text:
                for stroke in _STROKES[letter]:
                    points = [(x + px * height_px, y + py * height_px) for px, py in stroke]
                    self.line(points, line_color, width)
                x += _ADVANCE.get(letter, 0.8) * height_px


def text_width(text: str, height_px: float) -> float:
    """Return how wide `Canvas.text` writes letters, in pixels."""
    return sum(_ADVANCE.get(letter, 0.8) for letter in text) * height_px
