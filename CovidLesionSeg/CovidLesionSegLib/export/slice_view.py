"""One slice of a result as a picture: lung window, outlines, true proportions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import SegmentationResult

from .palette import BOUNDARY_RAMP_RGB
from .segments import segment_definition
from .slices import AXIAL

WINDOW_LOW_HU, WINDOW_HIGH_HU = -1350.0, 150.0
"""Lung window: level -600 HU, width 1500 HU."""

MAP_SHOWN_FROM = 0.1
_MARGIN_MM = 14.0
_LABEL_SIZE = 8.0


@dataclass(frozen=True)
class Field:
    """The part of a CT that all pictures of one direction show.

    Attributes:
        rows, columns: First and last voxel of the slice's axes.
        row_mm, column_mm: Voxel edge lengths.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    row_mm: float
    column_mm: float

    @property
    def height_mm(self) -> float:
        """Height of the picture."""
        return (self.rows[1] - self.rows[0] + 1) * self.row_mm

    @property
    def width_mm(self) -> float:
        """Width of the picture."""
        return (self.columns[1] - self.columns[0] + 1) * self.column_mm

    def widened(self, ratio: float, shape: tuple[int, int]) -> Field:
        """Return a field of this height to width as far as the CT has more to show.

        Args:
            ratio: Height divided by width.
            shape: Rows and columns of a whole slice.
        """
        rows = _grown(self.rows, ratio * self.width_mm / self.row_mm, shape[0])
        columns = _grown(self.columns, self.height_mm / ratio / self.column_mm, shape[1])
        return replace(self, rows=rows, columns=columns)

    def cut(self, slice_: NDArray[Any]) -> NDArray[Any]:
        """Return the field's part of a slice."""
        return slice_[self.rows[0] : self.rows[1] + 1, self.columns[0] : self.columns[1] + 1]


def field_of_view(result: SegmentationResult, axis: int) -> Field:
    """Return the lungs' and the infection's bounding box with a margin; else the whole CT.

    Args:
        result: The result.
        axis: Axis that slices are taken along, `AXIAL` or `CORONAL`.
    """
    spacing = result.ct.spacing_mm_zyx
    row_axis, column_axis = (other for other in range(3) if other != axis)
    content = (result.anatomy.lungs > 0) | (result.infection > 0)
    bounds = []
    for kept in (row_axis, column_axis):
        others = tuple(other for other in range(3) if other != kept)
        filled = np.flatnonzero(content.any(axis=others))
        size = result.ct.shape_zyx[kept]
        margin = round(_MARGIN_MM / spacing[kept])
        if filled.size == 0:
            bounds.append((0, size - 1))
        else:
            bounds.append(
                (max(0, int(filled[0]) - margin), min(size - 1, int(filled[-1]) + margin))
            )
    return Field(bounds[0], bounds[1], spacing[row_axis], spacing[column_axis])


def draw_slice(axes: Any, result: SegmentationResult, axis: int, index: int, field: Field) -> None:
    """Draw a slice with outlines of infection and, faint, of the lobes.

    The patient's right is on the left, head and front are up.

    Args:
        axes: matplotlib Axes.
        result: The result.
        axis: `AXIAL` or `CORONAL`.
        index: Index of the slice.
        field: What part of it.
    """
    _draw_ct(axes, result, axis, index, field)
    lobes = result.anatomy.lobes
    if lobes is None:
        lobes = result.anatomy.lungs
    cut = field.cut(np.take(lobes, index, axis))
    for label in np.unique(cut[cut > 0]):
        _outline(axes, cut == label, axis, field, "#ffffff", 0.7, alpha=0.7, linestyles=":")
    color = "#{:02x}{:02x}{:02x}".format(*segment_definition("infection").color_rgb)
    infected = field.cut(np.take(result.infection, index, axis)) > 0
    # A dark line below keeps the outline visible on bright consolidation and in greyscale.
    _outline(axes, infected, axis, field, "#000000", 2.2, alpha=0.45)
    _outline(axes, infected, axis, field, color, 1.1)


def draw_map(
    axes: Any,
    result: SegmentationResult,
    values_zyx: NDArray[np.float16],
    axis: int,
    index: int,
    field: Field,
) -> Any:
    """Draw a slice with a map of 0..1 over it, transparent where it is low.

    Args:
        axes: matplotlib Axes.
        result: The result.
        values_zyx: The map, on the CT's grid.
        axis: `AXIAL` or `CORONAL`.
        index: Index of the slice.
        field: What part of it.

    Returns:
        The matplotlib image of the map, for a colour bar.
    """
    from matplotlib.colors import LinearSegmentedColormap

    _draw_ct(axes, result, axis, index, field)
    colors = [[channel / 255.0 for channel in color] for color in BOUNDARY_RAMP_RGB]
    values = field.cut(np.take(values_zyx, index, axis)).astype(np.float32)
    return axes.imshow(
        values,
        cmap=LinearSegmentedColormap.from_list("boundary", colors),
        vmin=0.0,
        vmax=1.0,
        alpha=np.clip((values - MAP_SHOWN_FROM) / 0.2, 0.0, 1.0),
        interpolation="bilinear",
        **_placement(axis, field),
    )


def add_label(axes: Any, text: str, *, strong: bool = False) -> None:
    """Write a caption into the upper left corner of a picture."""
    _text(
        axes, (0.025, 0.965), text, ha="left", va="top", fontweight="bold" if strong else "normal"
    )


def add_sides(axes: Any) -> None:
    """Mark the patient's right and left."""
    _text(axes, (0.025, 0.5), "R", ha="left", va="center")
    _text(axes, (0.975, 0.5), "L", ha="right", va="center")


def add_scale_bar(axes: Any, length_mm: float = 50.0) -> None:
    """Draw a bar of 5 cm into the lower right corner."""
    left, right = axes.get_xlim()
    ends = [0.965 - length_mm / (right - left), 0.965]
    for color, width in (("black", 3.2), ("white", 1.8)):
        axes.plot(
            ends,
            [0.05, 0.05],
            color=color,
            linewidth=width,
            solid_capstyle="butt",
            transform=axes.transAxes,
        )
    _text(axes, (sum(ends) / 2.0, 0.07), f"{length_mm / 10.0:g} cm", ha="center", va="bottom")


def add_color_bar(axes: Any, image: Any) -> None:
    """Explain a map of 0..1 in the lower right corner."""
    bar = axes.inset_axes((0.715, 0.05, 0.25, 0.022))
    axes.figure.colorbar(image, cax=bar, orientation="horizontal", ticks=[])
    bar.spines[:].set_color("white")
    bar.spines[:].set_linewidth(0.5)
    for position, text in ((0.715, "0"), (0.965, "1")):
        _text(axes, (position, 0.085), text, ha="center", va="bottom")


def _grown(bounds: tuple[int, int], count: float, size: int) -> tuple[int, int]:
    """Widen bounds to a number of voxels, evenly, then to where there is room."""
    count = min(max(bounds[1] - bounds[0] + 1, round(count)), size)
    first = round((bounds[0] + bounds[1] + 1 - count) / 2)
    first = min(max(first, 0), size - count)
    return first, first + count - 1


def _text(axes: Any, position: tuple[float, float], text: str, **style: Any) -> None:
    """Write white on a dark ground, legible on lung and on soft tissue."""
    axes.text(
        *position,
        text,
        transform=axes.transAxes,
        color="white",
        fontsize=_LABEL_SIZE,
        bbox={"facecolor": "#000000", "alpha": 0.5, "linewidth": 0.0, "pad": 1.8},
        **style,
    )


def _draw_ct(axes: Any, result: SegmentationResult, axis: int, index: int, field: Field) -> None:
    axes.imshow(
        field.cut(np.take(result.ct.hu, index, axis)),
        cmap="gray",
        vmin=WINDOW_LOW_HU,
        vmax=WINDOW_HIGH_HU,
        interpolation="bilinear",
        **_placement(axis, field),
    )
    _frame(axes, field)


def _frame(axes: Any, field: Field) -> None:
    """Centre the field in a black box, with equal scales."""
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    mm_per_pixel = max(field.width_mm / axes.bbox.width, field.height_mm / axes.bbox.height)
    for size_mm, pixels, limit in (
        (field.width_mm, axes.bbox.width, axes.set_xlim),
        (field.height_mm, axes.bbox.height, axes.set_ylim),
    ):
        spare = (pixels * mm_per_pixel - size_mm) / 2.0
        limit(-spare, size_mm + spare)


def _placement(axis: int, field: Field) -> dict[str, Any]:
    # Rows of an axial slice run from front to back, of a coronal slice from feet to head.
    return {
        "extent": (0.0, field.width_mm, 0.0, field.height_mm),
        "origin": "upper" if axis == AXIAL else "lower",
        "aspect": "auto",
    }


def _outline(
    axes: Any,
    mask: NDArray[np.bool_],
    axis: int,
    field: Field,
    color: str,
    width: float,
    **style: Any,
) -> None:
    """Draw the outline of a mask; a slight blur takes the corners off, and keeps single voxels."""
    from scipy import ndimage

    if not mask.any():
        return
    padded = np.pad(mask.astype(np.float32), 1)
    smooth = ndimage.gaussian_filter(padded, 0.5)
    rows = (np.arange(padded.shape[0]) - 0.5) * field.row_mm
    if axis == AXIAL:
        rows = field.height_mm - rows
    columns = (np.arange(padded.shape[1]) - 0.5) * field.column_mm
    axes.contour(columns, rows, smooth, levels=[0.5], colors=[color], linewidths=[width], **style)
