"""The pictures of a report as PNG: slices with outlines, and the map of involvement.

Everything that must not get lost when a picture is taken out of its page is in its pixels: the
patient's sides and the scale. Window and position stand in the caption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CovidLesionSegLib.engine.result import Lung, SegmentationResult

from .canvas import BLACK, WHITE, Canvas, Rgb, text_width
from .key_slices import KeySlice
from .png import encode_png
from .segments import segment_definition
from .slice_view import WINDOW_HIGH_HU, WINDOW_LOW_HU, Field, field_of_view
from .slices import AXIAL, CORONAL

WINDOW_TEXT = (
    f"W {WINDOW_HIGH_HU - WINDOW_LOW_HU:.0f} / L {(WINDOW_HIGH_HU + WINDOW_LOW_HU) / 2.0:.0f}"
).replace("-", "\N{MINUS SIGN}")
"""The lung window as radiologists write it: width and level in HU."""

SLICE_RATIO = 0.75
"""Height to width of all slice pictures of a report."""

INVOLVEMENT_CLASSES: tuple[tuple[float, str, Rgb], ...] = (
    (0.0, "below 1 %", (240, 243, 246)),
    (1.0, "1 to 10 %", (253, 219, 178)),
    (10.0, "10 to 25 %", (249, 176, 105)),
    (25.0, "25 to 50 %", (226, 122, 46)),
    (50.0, "50 to 75 %", (168, 71, 16)),
    (75.0, "75 to 100 %", (94, 30, 6)),
)
"""Lower border in per cent, text and colour; steadily darker, so that greyscale keeps them."""

_SLICE_WIDTH_PX = 660
_MAP_PX_PER_MM = 1.8
_MAP_ROOM_MM = (6.0, 26.0)
_LETTER_PX = 20.0
_INK: Rgb = (60, 60, 60)
_MARGIN_PX = 12.0
_SAGITTAL = 2
_THINNEST_MM = 6.0
"""Less lung than this in the direction of view is left out of the map: its share is noise."""


@dataclass(frozen=True)
class MapPicture:
    """One view of the map of involvement.

    Attributes:
        png: The file.
        width_mm, height_mm: What it shows of the patient.
        name: For people.
    """

    png: bytes
    width_mm: float
    height_mm: float
    name: str


def slice_png(result: SegmentationResult, key: KeySlice) -> bytes:
    """Return a slice in the lung window with outlines of infection and, dotted, of the lobes.

    The patient's right is on the left, head and front are up; R, L and 5 cm are marked.

    Args:
        result: The result.
        key: The slice.
    """
    across = (1, 2) if key.axis == AXIAL else (0, 2)
    shape = (result.ct.shape_zyx[across[0]], result.ct.shape_zyx[across[1]])
    field = field_of_view(result, key.axis).widened(SLICE_RATIO, shape)
    height_px = round(_SLICE_WIDTH_PX * SLICE_RATIO)
    scale = min(_SLICE_WIDTH_PX / field.width_mm, height_px / field.height_mm)
    view = _View(field, key, (round(field.height_mm * scale), round(field.width_mm * scale)))
    hu = view.of(result.ct.hu)
    grey = 255.0 * (hu - WINDOW_LOW_HU) / (WINDOW_HIGH_HU - WINDOW_LOW_HU)
    canvas = Canvas(np.clip(grey, 0.0, 255.0))
    regions = result.anatomy.lungs if result.anatomy.lobes is None else result.anatomy.lobes
    for label in view.labels(regions):
        canvas.outline(view.mask(regions, label), WHITE, 1.6, alpha=0.9, dash_px=4)
    outline_infection(canvas, view.mask(result.infection, 1))
    framed = _framed(canvas.pixels, (height_px, _SLICE_WIDTH_PX), BLACK)
    _mark_sides(framed, "R", "L", WHITE, BLACK)
    _mark_scale(framed, scale, WHITE, BLACK)
    return encode_png(framed.to_uint8())


def outline_infection(canvas: Canvas, inside: NDArray[np.floating]) -> None:
    """Draw the outline of the infection: coloured between dark, so that greyscale keeps it.

    Args:
        canvas: The picture.
        inside: ``[row, column]``, 1 inside, 0 outside, smooth in between.
    """
    canvas.outline(inside, BLACK, 5.6, alpha=0.85)
    canvas.outline(inside, segment_definition("infection").color_rgb, 2.6)


def involvement_maps(result: SegmentationResult) -> tuple[MapPicture, ...]:
    """Return the share of lung that is infected along the line of view, as maps.

    From the front both lungs, and each lung from its side. Empty without lungs.
    """
    lungs = result.anatomy.lungs
    front = _MapView("Both lungs from the front", CORONAL, ("R", "L"))
    views = [(front, lungs > 0)]
    for lung in Lung:
        side = lung.name.capitalize()
        view = _MapView(f"{side} lung from the side", _SAGITTAL, ("A", "P"), side[0])
        views.append((view, lungs == lung))
    return tuple(_map_picture(result, view, mask) for view, mask in views if mask.any())


@dataclass(frozen=True)
class _View:
    """How a slice of an array becomes pixels."""

    field: Field
    key: KeySlice
    shape_px: tuple[int, int]

    def of(self, array_zyx: NDArray[np.generic]) -> NDArray[np.float32]:
        return self._enlarged(self._cut(array_zyx).astype(np.float32))

    def labels(self, labels_zyx: NDArray[np.uint8]) -> list[int]:
        return [int(label) for label in np.unique(self._cut(labels_zyx)) if label > 0]

    def mask(self, labels_zyx: NDArray[np.uint8], label: int) -> NDArray[np.float32]:
        """Return a label, smooth at its border; the blur takes corners off, not voxels away."""
        # What reaches the edge of the picture goes on beyond it: no outline there.
        inside = (self._cut(labels_zyx) == label).astype(np.float32)
        return self._enlarged(ndimage.gaussian_filter(inside, 0.6, mode="nearest"))

    def _cut(self, array_zyx: NDArray[np.generic]) -> NDArray[np.generic]:
        cut = self.field.cut(np.take(array_zyx, self.key.index, self.key.axis))
        # Rows of an axial slice run from front to back, of a coronal slice from feet to head.
        return cut if self.key.axis == AXIAL else cut[::-1]

    def _enlarged(self, cut: NDArray[np.float32]) -> NDArray[np.float32]:
        factors = [pixels / size for pixels, size in zip(self.shape_px, cut.shape, strict=True)]
        enlarged: NDArray[np.float32] = ndimage.zoom(
            cut, factors, order=1, mode="nearest", grid_mode=True
        )
        return enlarged


@dataclass(frozen=True)
class _MapView:
    """From where the lungs are seen: along an axis, with letters at the sides and in a corner."""

    name: str
    axis: int
    sides: tuple[str, str]
    corner: str = ""


def _map_picture(result: SegmentationResult, view: _MapView, lung: NDArray[np.bool_]) -> MapPicture:
    spacing, axis = result.ct.spacing_mm_zyx, view.axis
    infected = lung & (result.infection > 0)
    thickness = np.count_nonzero(lung, axis=axis).astype(np.float32)
    percent = 100.0 * np.count_nonzero(infected, axis=axis) / np.maximum(thickness, 1.0)
    shown = thickness * spacing[axis] >= _THINNEST_MM
    steps = [step for other, step in enumerate(spacing) if other != axis]
    values, inside = (_map_pixels(part, shown, steps) for part in (percent, shown))
    canvas = Canvas(np.full(values.shape, 255.0))
    for lowest, _, color in INVOLVEMENT_CLASSES:
        canvas.blend(((values >= lowest) & (inside >= 0.5)).astype(np.float32), color)
    canvas.outline(inside, _INK, 1.6)
    _mark_sides(canvas, *view.sides, _INK, WHITE)
    if view.corner:
        canvas.text(view.corner, (_MARGIN_PX, _MARGIN_PX), _LETTER_PX, _INK, WHITE)
    height, width = canvas.pixels.shape[:2]
    png = encode_png(canvas.to_uint8())
    return MapPicture(png, width / _MAP_PX_PER_MM, height / _MAP_PX_PER_MM, view.name)


def _map_pixels(
    part: NDArray[np.generic], shown: NDArray[np.bool_], steps_mm: list[float]
) -> NDArray[np.float32]:
    """Cut a projection to what is shown, with room for letters, and enlarge it, head up."""
    room = [round(margin / step) for margin, step in zip(_MAP_ROOM_MM, steps_mm, strict=True)]
    found = [np.flatnonzero(shown.any(axis=other)) for other in (1, 0)]
    rows, columns = (f if f.size else np.arange(n) for f, n in zip(found, shown.shape, strict=True))
    cut = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][::-1].astype(np.float32)
    padded = np.pad(cut, [(count, count) for count in room])
    factors = [step * _MAP_PX_PER_MM for step in steps_mm]
    enlarged: NDArray[np.float32] = ndimage.zoom(
        padded, factors, order=1, mode="nearest", grid_mode=True
    )
    return enlarged


def _framed(pixels: NDArray[np.float32], shape_px: tuple[int, int], ground: Rgb) -> Canvas:
    """Put a picture into the middle of a frame."""
    framed = Canvas(np.full((*shape_px, 3), ground, dtype=np.float32))
    top, left = ((f - p) // 2 for f, p in zip(shape_px, pixels.shape[:2], strict=True))
    framed.pixels[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return framed


def _mark_sides(canvas: Canvas, left: str, right: str, color: Rgb, halo: Rgb) -> None:
    height, width = canvas.pixels.shape[:2]
    y = (height - _LETTER_PX) / 2.0
    canvas.text(left, (_MARGIN_PX, y), _LETTER_PX, color, halo)
    canvas.text(right, (width - _MARGIN_PX - 0.65 * _LETTER_PX, y), _LETTER_PX, color, halo)


def _mark_scale(canvas: Canvas, px_per_mm: float, color: Rgb, halo: Rgb) -> None:
    height, width = canvas.pixels.shape[:2]
    length, y = 50.0 * px_per_mm, height - 1.4 * _MARGIN_PX
    ends = [(width - _MARGIN_PX - length, y), (width - _MARGIN_PX, y)]
    canvas.line(ends, halo, 7.0)
    canvas.line(ends, color, 3.0)
    size = 0.8 * _LETTER_PX
    x = width - _MARGIN_PX - length / 2.0 - text_width("5 cm", size) / 2.0
    canvas.text("5 cm", (x, y - 10.0 - size), size, color, halo)
