"""The numbers per lobe as bars with their intervals."""

from __future__ import annotations

from typing import Any

from CovidLesionSegLib.engine.lobes import APPROXIMATE_LOBES
from CovidLesionSegLib.engine.result import Measure, Quantification, RegionRow

from .segments import segment_definition

INK = "#222222"
QUIET = "#6b6b6b"
RULE = "#d9d9d9"

_GROUPS = (("RUL", "RML", "RLL"), ("LUL", "LLL"), ("right-lung", "left-lung", "total"))
_GAP = 0.45
_BAR = 0.54

# Columns in inches from the left edge of the chart.
CHART_WIDTH_IN = 5.2
_BARS_IN = (0.86, 3.0)
_PERCENT_IN, _INTERVAL_IN, _VOLUME_IN = 3.46, 3.58, CHART_WIDTH_IN

Colors = tuple[float, float, float]


def draw_lobe_chart(axes: Any, quantification: Quantification) -> None:
    """Draw one bar per lobe, lung and total: ground-glass, consolidation, interval, ml.

    Consolidation is darker than ground-glass, so that both can be told apart in greyscale.

    Args:
        axes: matplotlib Axes, `CHART_WIDTH_IN` wide; its frame is removed.
        quantification: The numbers.
    """
    axes.set_axis_off()
    top = nice_maximum(quantification)
    position = 0.0
    for regions in _GROUPS:
        for region in regions:
            _draw_row(axes, quantification.row(region), position, top)
            position += 1.0
        position += _GAP
    bottom = position - _GAP - 0.5
    for share in (0.0, 0.5, 1.0):
        inches = _along_bars(share)
        axes.plot([inches, inches], [-0.5, bottom], color=RULE, linewidth=0.7, zorder=0)
        axes.text(
            inches,
            bottom + 0.12,
            f"{share * top:g}",
            fontsize=7.5,
            color=QUIET,
            ha="center",
            va="top",
        )
    _draw_header(axes)
    axes.set_xlim(0.0, CHART_WIDTH_IN)
    axes.set_ylim(bottom + 0.6, -1.1)


def chart_colors() -> tuple[Colors, Colors]:
    """Return the colours of ground-glass and consolidation in the bars."""
    red, green, blue = segment_definition("infection").color
    light = (0.45 + 0.55 * red, 0.45 + 0.55 * green, 0.45 + 0.55 * blue)
    return light, (0.55 * red, 0.55 * green, 0.55 * blue)


def format_percent(value: float) -> str:
    """Return a percentage with as many digits as it deserves, without the sign."""
    if 0.0 < value < 0.1:
        return "< 0.1"
    return f"{value:.1f}" if 0.0 < value < 10.0 else f"{value:.0f}"


def format_interval(percent: Measure) -> str:
    """Return ``"25 – 32"``; empty without interval or when it says no more than the value."""
    if percent.value is None or percent.low is None or percent.high is None:
        return ""
    ends = [format_percent(percent.low), format_percent(percent.high)]
    return "" if set(ends) == {format_percent(percent.value)} else " – ".join(ends)


def format_volume(value_ml: float) -> str:
    """Return a volume in ml with as many digits as it deserves, without the unit."""
    return f"{value_ml:.1f}" if 0.0 < value_ml < 10.0 else f"{value_ml:.0f}"


def _along_bars(share: float) -> float:
    first, last = _BARS_IN
    return first + share * (last - first)


def _draw_header(axes: Any) -> None:
    style = {"fontsize": 7.5, "color": QUIET, "va": "bottom"}
    axes.text(_BARS_IN[0], -0.62, "infected share of the region", **style)
    axes.text(_PERCENT_IN, -0.62, "%", ha="right", **style)
    axes.text(_INTERVAL_IN, -0.62, "interval", ha="left", **style)
    axes.text(_VOLUME_IN, -0.62, "ml", ha="right", **style)


def _draw_row(axes: Any, row: RegionRow, position: float, top: float) -> None:
    weight = "bold" if row.region == "total" else "normal"
    main: dict[str, Any] = {"fontsize": 9.5, "color": INK, "va": "center", "fontweight": weight}
    side: dict[str, Any] = {"fontsize": 8.0, "color": QUIET, "va": "center"}
    axes.text(0.0, position, short_name(row), **main)
    percent = row.measures["infected_percent"]
    if percent.value is None:
        axes.text(_BARS_IN[0] + 0.05, position, percent.reason, **side)
        return
    _draw_bar(axes, row, percent, position, top)
    axes.text(_PERCENT_IN, position, format_percent(percent.value), ha="right", **main)
    axes.text(_INTERVAL_IN, position, format_interval(percent), **side)
    infected, volume = (row.measures[name].value for name in ("infected_ml", "volume_ml"))
    if infected is not None and volume is not None:
        volumes = f"{format_volume(infected)} of {format_volume(volume)}"
        axes.text(_VOLUME_IN, position, volumes, ha="right", **side)


def _draw_bar(axes: Any, row: RegionRow, percent: Measure, position: float, top: float) -> None:
    light, dark = chart_colors()
    parts = [
        (measure.value, color)
        for name, color in (("consolidation_percent", dark), ("ggo_percent", light))
        if (measure := row.measures.get(name)) is not None and measure.value is not None
    ]
    if len(parts) < 2 and percent.value is not None:
        parts = [(percent.value, segment_definition("infection").color)]
    start = 0.0
    for value, color in parts:
        first, last = _along_bars(start / top), _along_bars((start + value) / top)
        axes.barh(position, last - first, _BAR, left=first, color=color, linewidth=0.0)
        start += value
    if percent.low is not None and percent.high is not None:
        ends = [_along_bars(percent.low / top), _along_bars(percent.high / top)]
        axes.plot(ends, [position] * 2, color=INK, linewidth=1.0, solid_capstyle="butt")


def short_name(row: RegionRow) -> str:
    """Return ``"RUL"``, ``"Right lung"`` or ``"Both lungs"``, marked if only approximate."""
    names = {"right-lung": "Right lung", "left-lung": "Left lung", "total": "Both lungs"}
    return names.get(row.region, row.region) + approximate_mark(row)


def approximate_mark(row: RegionRow) -> str:
    """Return what stands behind the name of a region whose borders are only approximate."""
    return " ~" if APPROXIMATE_LOBES in row.flags else ""


def nice_maximum(quantification: Quantification) -> float:
    """Return where the bars' axis ends: the next of 5, 10, 20, 40, 60, 80 and 100 percent."""
    values = [0.0]
    for row in quantification.rows:
        percent = row.measures["infected_percent"]
        values += [value for value in (percent.value, percent.high) if value is not None]
    return next((top for top in (5.0, 10.0, 20.0, 40.0, 60.0, 80.0) if max(values) <= top), 100.0)
