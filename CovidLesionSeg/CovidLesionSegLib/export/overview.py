"""``overview.png``: one picture that says what was found, where, and how sure it is."""

from __future__ import annotations

import os
import textwrap
from typing import Any

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.result import SegmentationResult

from .lobe_chart import (
    CHART_WIDTH_IN,
    INK,
    QUIET,
    chart_colors,
    draw_lobe_chart,
    format_interval,
    format_percent,
    format_volume,
)
from .segments import segment_definition
from .slice_view import (
    Field,
    add_color_bar,
    add_label,
    add_scale_bar,
    add_sides,
    draw_map,
    draw_slice,
    field_of_view,
)
from .slices import AXIAL, CORONAL, choose_slices

_DPI = 150
_PICTURE_WIDTH_IN = 3.55
_PICTURE_HEIGHT_IN = (2.5, 3.9)
_GAP_IN = 0.05
_BORDER_IN = 0.3
_TEXT_ABOVE_IN = 1.6
_LEGEND_IN = 0.5
_REMARK_LINE_IN = 0.175
_MOST_REMARK_LINES = 12
_CHART_MAX_IN = 5.4
_REMARK_COLUMNS = 84
_SCORES = (
    ("ctss_0_25", "CT severity score", 25),
    ("tss_0_20", "total severity score", 20),
)
_AXIAL_SLICES = 5
_CORONAL_SLICES = 3


def write_overview(path: str | os.PathLike[str], result: SegmentationResult) -> None:
    """Write slices with outlines, the boundary map and the numbers per lobe as PNG.

    Slices are chosen by content. No name, date or file name is in the picture, and the same
    result gives the same bytes.

    Args:
        path: File to write, ending in ``.png``.
        result: The result.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    figure = overview_figure(result)
    with atomic_path(path) as partial:
        # matplotlib would write its version into the file.
        figure.savefig(partial, format="png", dpi=_DPI, metadata={"Software": None})


def overview_figure(result: SegmentationResult) -> Any:
    """Return the overview as matplotlib Figure that no window and no global state knows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axial, coronal = (field_of_view(result, axis) for axis in (AXIAL, CORONAL))
    heights = [_picture_height(axial)] * 2 + [_picture_height(coronal)]
    slices, rows, columns = result.ct.shape_zyx
    axial = axial.widened(heights[0] / _PICTURE_WIDTH_IN, (rows, columns))
    coronal = coronal.widened(heights[2] / _PICTURE_WIDTH_IN, (slices, columns))
    height = sum(heights) + 2 * _GAP_IN + 2 * _BORDER_IN
    width = 3 * _PICTURE_WIDTH_IN + 2 * _GAP_IN + CHART_WIDTH_IN + 3 * _BORDER_IN
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    _draw_pictures(_picture_axes(figure, heights), result, axial, coronal)
    _draw_text(figure, result)
    return figure


def _picture_height(field: Field) -> float:
    low, high = _PICTURE_HEIGHT_IN
    return min(max(_PICTURE_WIDTH_IN * field.height_mm / field.width_mm, low), high)


def _picture_axes(figure: Any, heights: list[float]) -> list[list[Any]]:
    """Add three rows of three axes, the first row at the top."""
    width, height = figure.get_size_inches()
    rows = []
    top = height - _BORDER_IN
    for row_height in heights:
        lefts = [_BORDER_IN + column * (_PICTURE_WIDTH_IN + _GAP_IN) for column in range(3)]
        bottom = (top - row_height) / height
        size = (_PICTURE_WIDTH_IN / width, row_height / height)
        rows.append([figure.add_axes((left / width, bottom, *size)) for left in lefts])
        top -= row_height + _GAP_IN
    return rows


def _draw_pictures(
    rows: list[list[Any]], result: SegmentationResult, axial: Field, coronal: Field
) -> None:
    choice = choose_slices(result, AXIAL, _AXIAL_SLICES)
    panels = [*rows[0], *rows[1]]
    map_panel = panels.pop()
    for axes, index in zip(panels, choice.indices, strict=False):
        draw_slice(axes, result, AXIAL, index, axial)
        _label(axes, result, AXIAL, index, choice.worst)
    middle = choice.indices[len(choice.indices) // 2]
    _draw_map_panel(map_panel, result, middle if choice.worst is None else choice.worst, axial)
    choice = choose_slices(result, CORONAL, _CORONAL_SLICES)
    for axes, index in zip(rows[2], choice.indices, strict=False):
        draw_slice(axes, result, CORONAL, index, coronal)
        _label(axes, result, CORONAL, index, choice.worst)
    for row in rows:
        add_sides(row[0])
        add_scale_bar(row[0])


def _label(axes: Any, result: SegmentationResult, axis: int, index: int, worst: int | None) -> None:
    text = position_text(result, axis, index)
    if index == worst:
        text += "   most affected"
    add_label(axes, text, strong=index == worst)


def position_text(result: SegmentationResult, axis: int, index: int) -> str:
    """Return where a slice lies, as Slicer shows it: S or I, A or P, in mm."""
    center_zyx = [(size - 1) / 2.0 for size in result.ct.shape_zyx]
    center_zyx[axis] = float(index)
    _, y, z = (result.ct.affine_lps @ [*center_zyx[::-1], 1.0])[:3]
    if axis == AXIAL:
        return f"{'S' if z >= 0 else 'I'} {abs(z):.0f} mm"
    return f"{'A' if y <= 0 else 'P'} {abs(y):.0f} mm"


def _draw_map_panel(axes: Any, result: SegmentationResult, index: int, field: Field) -> None:
    prediction = result.prediction
    title, values = "Lesion boundary", prediction.boundary
    if values is None:
        title, values = "Infection probability", prediction.infection
    add_color_bar(axes, draw_map(axes, result, values, AXIAL, index, field))
    add_label(axes, f"{position_text(result, AXIAL, index)}   {title}")


def _draw_text(figure: Any, result: SegmentationResult) -> None:
    width, height = figure.get_size_inches()
    left = (2 * _BORDER_IN + 3 * _PICTURE_WIDTH_IN + 2 * _GAP_IN) / width

    def write(down_in: float, text: str, **style: Any) -> None:
        position = (left, 1.0 - (_BORDER_IN + down_in) / height)
        figure.text(*position, text, **{"va": "top", "color": INK, **style})

    percent = result.quantification.row("total").measures["infected_percent"]
    number = "–" if percent.value is None else f"{format_percent(percent.value)} %"
    # The baseline is set, so that the cap height ends at the pictures' upper edge.
    write(0.42, number, fontsize=42, fontweight="bold", va="baseline")
    write(0.66, _headline(result), fontsize=12)
    write(0.96, _details(result), fontsize=9.5, color=QUIET, linespacing=1.6)
    remarks = _remarks(result)
    below = _LEGEND_IN + _REMARK_LINE_IN * len(remarks)
    chart_height = min(height - 2 * _BORDER_IN - _TEXT_ABOVE_IN - below, _CHART_MAX_IN)
    bottom = 1.0 - (_BORDER_IN + _TEXT_ABOVE_IN + chart_height) / height
    axes = figure.add_axes((left, bottom, CHART_WIDTH_IN / width, chart_height / height))
    draw_lobe_chart(axes, result.quantification)
    _draw_legend(figure, (left, bottom), "lung" if result.anatomy.lobes is None else "lobe")
    foot = {"fontsize": 8, "color": QUIET, "va": "bottom", "linespacing": 1.5}
    figure.text(left, _BORDER_IN / height, "\n".join(remarks), **foot)


def _draw_legend(figure: Any, position: tuple[float, float], dotted: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    light, dark = chart_colors()
    infection = segment_definition("infection").color
    handles = [
        Patch(color=dark, label="consolidation"),
        Patch(color=light, label="ground-glass"),
        Line2D([], [], color=INK, linewidth=1.0, label="interval"),
        Line2D([], [], color=infection, linewidth=1.6, label="infection"),
        Line2D([], [], color=QUIET, linewidth=1.0, linestyle=":", label=dotted),
    ]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=position,
        frameon=False,
        fontsize=8,
        labelcolor=QUIET,
        ncols=len(handles),
        borderpad=0.0,
        borderaxespad=0.0,
        handlelength=1.2,
        handletextpad=0.5,
        columnspacing=1.4,
    )


def _headline(result: SegmentationResult) -> str:
    percent = result.quantification.row("total").measures["infected_percent"]
    if percent.value is None:
        return percent.reason
    if not result.infection.any():
        return "No infection was found in the lungs."
    interval = format_interval(percent)
    return "of the lungs is infected" + (f" ({interval} %)" if interval else "")


def _details(result: SegmentationResult) -> str:
    total = result.quantification.row("total").measures
    lines = []
    infected, volume = total["infected_ml"].value, total["volume_ml"].value
    if infected is not None and volume is not None:
        count = len(result.lesions)
        lesions = "1 lesion" if count == 1 else f"{count} lesions"
        lines.append(f"{format_volume(infected)} ml of {format_volume(volume)} ml lung, {lesions}")
    scores = [
        f"{name} {score.value:g} of {highest}"
        for key, name, highest in _SCORES
        if (score := result.quantification.scores.get(key)) is not None and score.value is not None
    ]
    return "\n".join([*lines, ", ".join(scores)])


def _remarks(result: SegmentationResult) -> list[str]:
    """Return the warnings and the provenance as lines; what is too much is counted."""
    run = result.run
    version = run.versions.get("CovidLesionSeg", "")
    provenance = textwrap.wrap(
        f"CovidLesionSeg {version}, model {run.model_id}, threshold {run.threshold:g}. "
        "Not reviewed by a person. For research; not a medical device.",
        _REMARK_COLUMNS,
    )
    lines: list[str] = []
    for number, warning in enumerate(result.warnings):
        wrapped = textwrap.wrap(warning, _REMARK_COLUMNS)
        if len(lines) + len(wrapped) + len(provenance) + 1 > _MOST_REMARK_LINES:
            lines.append(f"{len(result.warnings) - number} more remarks are in result.json.")
            break
        lines += wrapped
    return [*lines, *provenance]
