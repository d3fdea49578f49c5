"""Fonts, type sizes and small drawings of the PDF that ReportLab makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .canvas import Rgb
from .report_model import WIDTH_MM, Bar, Legend

POINT = 72.0 / 25.4
"""Points per mm."""

FONT, BOLD = "ReportSans", "ReportSans-Bold"
BAR_MM = (24.0, 100.0, 44.0)
"""Widths of the columns of a chart: labels, bars, numbers."""

INK, QUIET, RULE = "#1c1c1c", "#444444", "#555555"

_SMALL = 7.4
_GRID = "#bbbbbb"
_BAR_HEIGHT_MM = 5.2


def register_fonts() -> None:
    """Embed the font that matplotlib brings: it has Greek, Cyrillic and mathematical signs."""
    import matplotlib
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    for name, file in ((FONT, "DejaVuSans.ttf"), (BOLD, "DejaVuSans-Bold.ttf")):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, str(folder / file)))


def paragraph_styles() -> dict[str, Any]:
    """Return ReportLab's paragraph styles by name; needs `register_fonts`."""
    from reportlab.lib.enums import TA_RIGHT
    from reportlab.lib.styles import ParagraphStyle

    def style(name: str, size: float, **more: Any) -> ParagraphStyle:
        values = {"fontName": FONT, "leading": 1.3 * size, "textColor": INK, **more}
        return ParagraphStyle(name, fontSize=size, **values)

    cells = {
        f"cell{weight}{end}": style(f"cell{weight}{end}", 7.6, fontName=font, alignment=align)
        for weight, font in (("", FONT), ("-strong", BOLD))
        for end, align in (("", 0), ("-number", TA_RIGHT))
    }
    boxed = {"borderWidth": 1.2, "borderPadding": 5, "borderColor": INK}
    return {
        **cells,
        "title": style("title", 15.5, fontName=BOLD, spaceAfter=3),
        "subtitle": style("subtitle", 8.6, textColor=QUIET, spaceAfter=2),
        "notice": style(
            "notice",
            8.8,
            fontName=BOLD,
            leftIndent=6,
            rightIndent=6,
            spaceBefore=8,
            spaceAfter=9,
            **boxed,
        ),
        "heading": style("heading", 10.5, fontName=BOLD, spaceBefore=11, spaceAfter=2),
        "normal": style("normal", 8.6, spaceAfter=5),
        "lead": style("lead", 13.5, fontName=BOLD, spaceAfter=4),
        "quiet": style("quiet", _SMALL, textColor=QUIET, spaceAfter=3),
        "bullet": style("bullet", 8.6, leftIndent=10, spaceAfter=3),
    }


def bar_drawing(bar: Bar) -> Any:
    """Return the bar of one row of a chart with its interval."""
    from reportlab.graphics.shapes import Drawing, Line, Rect
    from reportlab.lib.colors import HexColor

    width, height = BAR_MM[1] * POINT, _BAR_HEIGHT_MM * POINT
    drawing = Drawing(width, height)
    for share in (0.0, 0.5, 1.0):
        x = share * width
        drawing.add(Line(x, 0, x, height, strokeColor=HexColor(_GRID), strokeWidth=0.5))
    start = 0.0
    for share, color in bar.parts:
        drawing.add(
            Rect(
                start * width,
                0.2 * height,
                share * width,
                0.6 * height,
                fillColor=HexColor(_hex(color)),
                strokeColor=None,
                strokeWidth=0,
            )
        )
        start += share
    if bar.interval is not None:
        low, high = (end * width for end in bar.interval)
        ends = [(low, 0.5, high, 0.5), (low, 0.33, low, 0.67), (high, 0.33, high, 0.67)]
        for x0, y0, x1, y1 in ends:
            line = Line(x0, y0 * height, x1, y1 * height)
            line.strokeColor, line.strokeWidth = HexColor(INK), 0.9
            drawing.add(line)
    return drawing


def ticks_drawing(ticks: tuple[str, str, str]) -> Any:
    """Return the texts below the axis of a chart."""
    from reportlab.graphics.shapes import Drawing, String
    from reportlab.lib.colors import HexColor

    width = BAR_MM[1] * POINT
    drawing = Drawing(width, 10)
    for share, tick in zip((0.0, 0.5, 1.0), ticks, strict=True):
        text = String(share * width, 2, tick, fontName=FONT, fontSize=_SMALL, textAnchor="middle")
        text.fillColor = HexColor(QUIET)
        drawing.add(text)
    return drawing


def legend_drawing(legend: Legend) -> Any:
    """Return squares in the colours of a legend with their texts, in one line."""
    from reportlab.graphics.shapes import Drawing, Rect, String
    from reportlab.lib.colors import HexColor
    from reportlab.pdfbase.pdfmetrics import stringWidth

    drawing, x = Drawing(WIDTH_MM * POINT, 13), 3.0
    for color, text in legend.entries:
        square = Rect(x, 4, 9, 6.5, strokeColor=HexColor(RULE), strokeWidth=0.4)
        square.fillColor = HexColor(_hex(color))
        label = String(x + 12, 4.4, text, fontName=FONT, fontSize=_SMALL)
        label.fillColor = HexColor(QUIET)
        drawing.add(square)
        drawing.add(label)
        x += 24.0 + stringWidth(text, FONT, _SMALL)
    return drawing


def _hex(color: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
