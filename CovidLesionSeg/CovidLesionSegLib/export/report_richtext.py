"""A report in the part of HTML that Qt's text documents know, for the PDF that Slicer prints.

Qt knows tables and pictures, but neither SVG nor flexible boxes: bars become pictures, legends
a line with squares, and pictures side by side a table.
"""

from __future__ import annotations

import base64
from html import escape
from typing import Any

import numpy as np

from .canvas import Canvas, Rgb
from .png import encode_png
from .report_model import (
    WIDTH_MM,
    Bar,
    Block,
    Bullets,
    Chart,
    Facts,
    Legend,
    Paragraph,
    PictureRow,
    Report,
    Section,
    Table,
)

_PX_PER_MM = 96.0 / 25.4
"""Qt takes a pixel of a text document for 1/96 inch, on paper as well."""

_BAR_SIZE_PX = (1200, 66)
_BAR_SIZE_MM = (96.0, 5.28)
_LABEL_MM, _TEXT_MM = 24.0, 46.0
_GRID: Rgb = (187, 187, 187)
_INK: Rgb = (34, 34, 34)
_PARAGRAPHS = {
    "title": "margin:0 0 2px 0; font-size:15.5pt; font-weight:bold;",
    "normal": "margin:0 0 7px 0;",
    "lead": "margin:0 0 4px 0; font-size:13.5pt; font-weight:bold;",
    "quiet": "margin:0 0 6px 0; font-size:7.5pt; color:#444444;",
    "notice": "margin:6px 0 4px 0; font-weight:bold;",
    "subtitle": "margin:0 0 6px 0; color:#444444;",
}
_CELL = "padding:2px 4px 2px 4px;"


def report_richtext(report: Report) -> str:
    """Return the report for ``QTextDocument.setHtml``.

    Args:
        report: What it says.
    """
    top = [
        _styled(report.title, "title"),
        _styled(report.subtitle, "subtitle"),
        _notice(report.notice),
    ]
    sections = [_section(section) for section in report.sections]
    foot = _styled(report.footer, "quiet")
    body = "\n".join([*top, *sections, foot])
    return (
        f"<html><head><title>{escape(report.title)}</title></head>"
        '<body style="font-family:Helvetica,Arial,sans-serif; font-size:8.5pt; color:#1c1c1c;">'
        f"{body}</body></html>"
    )


def _section(section: Section) -> str:
    # Qt keeps nothing together: pictures start a page, so that no heading stands alone.
    page = any(isinstance(block, PictureRow) for block in section.blocks)
    place = "page-break-before:always; margin:0" if page else "margin:12px"
    heading = (
        f'<p style="{place} 0 2px 0; font-size:10.5pt; font-weight:bold;">'
        f"{escape(section.title)}</p>{_rule()}"
    )
    return heading + "\n".join(_block(block) for block in section.blocks)


def _block(block: Block) -> str:
    render: Any = _RENDERERS[type(block)]
    return str(render(block))


def _styled(text: str, style: str) -> str:
    return f'<p style="{_PARAGRAPHS[style]}">{escape(text)}</p>'


def _notice(text: str) -> str:
    return (
        f'<table width="{_px(WIDTH_MM)}" cellspacing="0" cellpadding="5" border="1" '
        'style="border-style:solid; border-color:#1c1c1c;">'
        f'<tr><td style="font-weight:bold;">{escape(text)}</td></tr></table>'
    )


def _rule() -> str:
    line = encode_png(np.full((2, 8), 85, np.uint8))
    return f'<p style="margin:0 0 4px 0; font-size:2pt;">{_image(line, WIDTH_MM, 0.25)}</p>'


def _paragraph(block: Paragraph) -> str:
    return _styled(block.text, block.style)


def _bullets(block: Bullets) -> str:
    return "".join(
        f'<p style="{_PARAGRAPHS["normal"]}">• {escape(text)}</p>' for text in block.texts
    )


def _facts(block: Facts) -> str:
    rows = "".join(
        f'<tr><td width="24%" style="{_CELL} font-weight:bold;">{escape(name)}</td>'
        f'<td style="{_CELL}">{_breakable(value)}</td></tr>'
        for name, value in block.pairs
    )
    return _tabular(rows)


def _table(block: Table) -> str:
    total = sum(column.share for column in block.columns)
    heads = "".join(
        f'<td width="{100.0 * column.share / total:.0f}%" align="{_side(column.is_number)}" '
        f'valign="bottom" style="{_CELL} font-weight:bold;">{escape(column.title)}</td>'
        for column in block.columns
    )
    lines = [f'<thead><tr bgcolor="#e6e6e6">{heads}</tr></thead>']
    for number, row in enumerate(block.rows):
        style = _CELL + (" font-weight:bold;" if number in block.strong else "")
        if number in block.ruled:
            style += " border-top:1px solid #555555;"
        cells = "".join(
            f'<td align="{_side(column.is_number)}" style="{style}">{escape(cell)}</td>'
            for column, cell in zip(block.columns, row, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    return _tabular("".join(lines))


def _tabular(rows: str) -> str:
    return (
        f'<table width="{_px(WIDTH_MM)}" cellspacing="0" cellpadding="0" '
        f'style="margin:0 0 6px 0; font-size:7.5pt; border-collapse:collapse;">{rows}</table>'
    )


def _side(is_number: bool) -> str:
    return "right" if is_number else "left"


def _chart(block: Chart) -> str:
    rows = "".join(_bar_row(bar) for bar in block.bars)
    first, middle, last = (escape(tick) for tick in block.ticks)
    axis = (
        f'<table width="{_px(_BAR_SIZE_MM[0])}" cellspacing="0" cellpadding="0"><tr>'
        f'<td width="33%" align="left">{first}</td><td width="34%" align="center">{middle}</td>'
        f'<td width="33%" align="right">{last}</td></tr></table>'
    )
    return _tabular(f"{rows}<tr><td></td><td>{axis}</td><td></td></tr>")


def _bar_row(bar: Bar) -> str:
    weight = "font-weight:bold;" if bar.strong else ""
    label = (
        f'<td width="{_px(_LABEL_MM)}" valign="middle" style="{_CELL} {weight}">'
        f"{escape(bar.label).replace(' ', '&nbsp;')}</td>"
    )
    if not bar.parts:
        return f'<tr>{label}<td colspan="2" style="{_CELL}">{escape(bar.text)}</td></tr>'
    picture = _image(encode_png(_bar_pixels(bar)), *_BAR_SIZE_MM)
    text = (
        f'<td width="{_px(_TEXT_MM)}" valign="middle" style="{_CELL} {weight}">'
        f"{escape(bar.text)}</td>"
    )
    return f'<tr>{label}<td width="{_px(_BAR_SIZE_MM[0])}">{picture}</td>{text}</tr>'


def _bar_pixels(bar: Bar) -> np.ndarray[Any, np.dtype[np.uint8]]:
    width, height = _BAR_SIZE_PX
    canvas = Canvas(np.full((height, width), 255.0))
    for column in (1, width // 2, width - 2):
        canvas.pixels[:, column - 1 : column + 1] = _GRID
    first = 0
    for share, color in bar.parts:
        last = first + round(share * width)
        canvas.pixels[14 : height - 14, first:last] = color
        first = last
    if bar.interval is not None:
        low, high = (min(max(end * width, 2.0), width - 3.0) for end in bar.interval)
        middle = height / 2.0
        canvas.line([(low, middle), (high, middle)], _INK, 4.0)
        for x in (low, high):
            canvas.line([(x, middle - 12.0), (x, middle + 12.0)], _INK, 4.0)
    return canvas.to_uint8()


def _legend(block: Legend) -> str:
    marks = " &nbsp; &nbsp; ".join(
        f"{_swatch(color)}&nbsp;" + escape(text).replace(" ", "&nbsp;")
        for color, text in block.entries
    )
    return f'<p style="{_PARAGRAPHS["quiet"]}">{marks}</p>'


def _swatch(color: Rgb) -> str:
    pixels = np.full((12, 18, 3), 85, np.uint8)
    pixels[1:-1, 1:-1] = color
    return _image(encode_png(pixels), 3.6, 2.4)


def _pictures(block: PictureRow) -> str:
    cells = "".join(
        f'<td width="{_px(picture.width_mm)}" valign="top" style="padding:0 8px 8px 0;">'
        f"{_image(picture.png, picture.width_mm, picture.height_mm)}"
        f'<p style="{_PARAGRAPHS["quiet"]}">{escape(picture.caption)}</p></td>'
        for picture in block.pictures
    )
    return f'<table cellspacing="0" cellpadding="0"><tr>{cells}</tr></table>'


def _image(png: bytes, width_mm: float, height_mm: float) -> str:
    data = base64.b64encode(png).decode("ascii")
    size = f'width="{_px(width_mm)}" height="{max(_px(height_mm), 1)}"'
    return f'<img src="data:image/png;base64,{data}" {size}>'


def _breakable(text: str) -> str:
    """Let a digest break: Qt breaks lines at blanks and zero-width spaces only."""
    words = [
        "\u200b".join(word[first : first + 16] for first in range(0, len(word), 16))
        for word in text.split(" ")
    ]
    return escape(" ".join(words))


def _px(length_mm: float) -> int:
    return round(length_mm * _PX_PER_MM)


_RENDERERS = {
    Paragraph: _paragraph,
    Bullets: _bullets,
    Facts: _facts,
    Table: _table,
    Chart: _chart,
    Legend: _legend,
    PictureRow: _pictures,
}
