"""Colours of the maps, shared by pictures and by the MRML scene."""

from __future__ import annotations

RampRgb = tuple[tuple[int, int, int], ...]

BOUNDARY_RAMP_RGB: RampRgb = (
    (8, 29, 68),
    (16, 89, 140),
    (51, 160, 200),
    (136, 214, 220),
    (240, 252, 240),
)
"""From unlikely to likely boundary: one hue with steadily growing lightness, so that it also
reads in greyscale, and blue, so that it stands apart from the orange infection outline."""


def ramp_color(ramp: RampRgb, position: float) -> tuple[float, float, float]:
    """Return a colour 0..1 by linear interpolation in a ramp.

    Args:
        ramp: At least two colours, 0..255, at equal distances.
        position: 0..1; values outside are clamped.
    """
    scaled = min(max(position, 0.0), 1.0) * (len(ramp) - 1)
    index = min(int(scaled), len(ramp) - 2)
    weight = scaled - index
    red, green, blue = (
        (first + weight * (second - first)) / 255.0
        for first, second in zip(ramp[index], ramp[index + 1], strict=True)
    )
    return red, green, blue
