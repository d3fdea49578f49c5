"""The figures of a report: bar chart, key slices, map of involvement."""

from __future__ import annotations

from CovidLesionSegLib.engine.result import Lobe, Quantification, RegionRow

from .canvas import Rgb
from .job import ExportJob
from .key_slices import KeySlice, key_slices
from .lobe_chart import chart_colors, format_interval, format_percent, nice_maximum, short_name
from .overview import position_text
from .report_model import (
    WIDTH_MM,
    Bar,
    Block,
    Chart,
    Legend,
    Paragraph,
    Picture,
    PictureRow,
    Section,
)
from .report_pictures import (
    INVOLVEMENT_CLASSES,
    SLICE_RATIO,
    WINDOW_TEXT,
    involvement_maps,
    slice_png,
)
from .segments import segment_definition
from .slices import AXIAL

_GAP_MM = 4.0
_PER_ROW = 2
_GROUP_STARTS = ("LUL", "right-lung")
_INTERVAL_COLOR: Rgb = (34, 34, 34)
_HIGHEST_MAP_MM = 62.0


def chart_section(job: ExportJob) -> Section:
    """Return the infected share per lobe, lung and total as bars with their intervals."""
    table = job.result.quantification
    top = nice_maximum(table)
    light, dark = (_rgb(color) for color in chart_colors())
    split = any("ggo_percent" in row.measures for row in table.rows)
    entries = [(segment_definition("infection").color_rgb, "infection")]
    if split:
        entries = [(dark, "consolidation"), (light, "ground-glass")]
    chart = Chart(
        bars=tuple(_bar(row, top) for row in table.rows),
        ticks=("0", f"{top / 2.0:g}", f"{top:g} %"),
        alt=_chart_text(table),
    )
    legend = Legend((*entries, (_INTERVAL_COLOR, "interval (line)")))
    return Section("Infected share of each region", (chart, legend))


def slice_section(job: ExportJob) -> Section:
    """Return the worst axial slice of every affected lobe and one coronal slice."""
    if not job.has_ct:
        text = (
            "The CT was not at hand when this report was written; there are no slices. On the "
            "command line --ct gives it."
        )
        return Section("Key slices", (Paragraph(text),))
    regions = "lungs" if job.result.anatomy.lobes is None else "lobes"
    explanation = (
        f"Per region the slice with the largest infected area. Orange line: infection; dotted: "
        f"{regions}. The patient's right is on the left. "
        f"Lung window, {WINDOW_TEXT} HU. Positions are those that 3D Slicer shows."
    )
    keys = key_slices(job.result)
    pictures = [_slice_picture(job, key) for key in keys]
    rows = [
        PictureRow(tuple(pictures[first : first + _PER_ROW]))
        for first in range(0, len(pictures), _PER_ROW)
    ]
    return Section("Key slices", (Paragraph(explanation, "quiet"), *rows))


def map_section(job: ExportJob) -> tuple[Section, ...]:
    """Return the map of involvement; nothing without lungs."""
    maps = involvement_maps(job.result)
    if not maps:
        return ()
    spare = WIDTH_MM - _GAP_MM * (len(maps) - 1)
    scale = min(
        spare / sum(view.width_mm for view in maps),
        _HIGHEST_MAP_MM / max(view.height_mm for view in maps),
    )
    pictures = tuple(
        Picture(
            view.png,
            view.width_mm * scale,
            view.height_mm * scale,
            view.name,
            f"Map of the infected share of the lung, {view.name.lower()}.",
        )
        for view in maps
    )
    explanation = (
        "Share of the lung along the line of view that is infected. R: right, L: left, A: front, "
        "P: back."
    )
    legend = Legend(tuple((color, text) for _, text, color in INVOLVEMENT_CLASSES))
    blocks: tuple[Block, ...] = (Paragraph(explanation, "quiet"), PictureRow(pictures), legend)
    return (Section("Map of involvement", blocks),)


def _bar(row: RegionRow, top: float) -> Bar:
    percent = row.measures["infected_percent"]
    label, strong = short_name(row), row.region == "total"
    group = row.region in _GROUP_STARTS
    if percent.value is None:
        return Bar(label, (), None, f"n/a: {percent.reason}", strong, group)
    light, dark = (_rgb(color) for color in chart_colors())
    parts = tuple(
        (measure.value / top, color)
        for name, color in (("consolidation_percent", dark), ("ggo_percent", light))
        if (measure := row.measures.get(name)) is not None and measure.value is not None
    )
    if len(parts) < 2:
        parts = ((percent.value / top, segment_definition("infection").color_rgb),)
    interval = None
    if percent.low is not None and percent.high is not None:
        interval = (percent.low / top, percent.high / top)
    text = f"{format_percent(percent.value)} %"
    ends = format_interval(percent)
    return Bar(label, parts, interval, f"{text} ({ends})" if ends else text, strong, group)


def _chart_text(table: Quantification) -> str:
    parts = [
        f"{row.label} {format_percent(percent.value)} %"
        for row in table.rows
        if (percent := row.measures["infected_percent"]).value is not None
    ]
    return "Infected share: " + (", ".join(parts) if parts else "not known") + "."


def _slice_picture(job: ExportJob, key: KeySlice) -> Picture:
    width = (WIDTH_MM - _GAP_MM) / _PER_ROW
    plane = "Axial" if key.axis == AXIAL else "Coronal"
    where = f"{plane} {position_text(job.result, key.axis, key.index)}"
    if key.regions:
        names = [
            region.name if isinstance(region, Lobe) else f"{region.name.lower()} lung"
            for region in key.regions
        ]
        why = f"largest area in {' and '.join(names)}"
    elif not job.result.infection.any():
        why = "no infection found"
    else:
        why = "largest area"
    caption = f"{where}: {why}. {WINDOW_TEXT}"
    alt = f"{where} in the lung window, {why}: infection and regions outlined."
    return Picture(slice_png(job.result, key), width, width * SLICE_RATIO, caption, alt)


def _rgb(color: tuple[float, float, float]) -> Rgb:
    red, green, blue = (round(255.0 * channel) for channel in color)
    return red, green, blue
