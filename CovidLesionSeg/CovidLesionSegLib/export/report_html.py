"""A report as one HTML page: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import base64
import os
from html import escape
from typing import Any

from CovidLesionSegLib.engine.atomic import atomic_path

from .canvas import Rgb
from .report_model import (
    WIDTH_MM,
    Bar,
    Block,
    Bullets,
    Chart,
    Facts,
    Legend,
    Paragraph,
    Picture,
    PictureRow,
    Report,
    Section,
    Table,
)

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_BAR_UNITS = 1000
_BAR_HEIGHT = 56
_STYLE = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #f2f3f5; color: #1c1c1c;
  font: 9pt/1.4 "Helvetica Neue", Helvetica, Arial, "Noto Sans", sans-serif; }}
main {{ width: {WIDTH_MM + 32:g}mm; max-width: 100%; margin: 0 auto; padding: 14mm 16mm;
  background: #fff; }}
h1 {{ margin: 0 0 1mm; font-size: 17pt; line-height: 1.2; }}
h2 {{ margin: 7mm 0 2mm; padding-bottom: 0.8mm; border-bottom: 0.3mm solid #555; font-size: 11.5pt;
  break-after: avoid; }}
p {{ margin: 0 0 2mm; }}
h2 + p {{ break-after: avoid; }}
.subtitle {{ color: #444; }}
.lead {{ font-size: 15pt; font-weight: 700; line-height: 1.25; }}
.quiet, figcaption {{ color: #444; font-size: 8pt; }}
.notice {{ padding: 2mm 3mm; border: 0.5mm solid #1c1c1c; font-weight: 700; }}
ul {{ margin: 0 0 2mm; padding-left: 5mm; }}
table {{ width: 100%; margin: 0 0 2mm; border-collapse: collapse; font-size: 8pt; }}
th, td {{ padding: 0.8mm 1.2mm; text-align: left; vertical-align: top; }}
thead th {{ border-bottom: 0.3mm solid #555; vertical-align: bottom; }}
tbody tr {{ border-bottom: 0.15mm solid #ccc; break-inside: avoid; }}
tr.ruled {{ border-top: 0.3mm solid #555; }}
tr.strong {{ font-weight: 700; }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
table.facts th {{ width: 24%; font-weight: 600; }}
table.facts td {{ overflow-wrap: anywhere; }}
table.chart td, table.chart th {{ padding: 0 1.2mm; vertical-align: middle; white-space: nowrap;
  font-weight: inherit; }}
table.chart tbody tr {{ border: 0; }}
table.chart tr.group td, table.chart tr.group th {{ padding-top: 1.6mm; }}
table.chart .bar {{ width: 58%; padding: 0; }}
table.chart .reason {{ white-space: normal; }}
table.chart svg {{ display: block; width: 100%; height: 5.2mm; }}
.ticks {{ display: flex; justify-content: space-between; color: #444; }}
.ticks span {{ width: 0; white-space: nowrap; display: flex; justify-content: center; }}
.legend {{ display: flex; flex-wrap: wrap; gap: 0.5mm 5mm; margin: 0 0 2mm; font-size: 8pt;
  break-before: avoid; }}
.legend svg {{ width: 4mm; height: 3mm; margin-right: 1.2mm; vertical-align: -0.3mm; }}
.pictures {{ display: flex; flex-wrap: wrap; gap: 4mm; margin: 0 0 2.5mm; break-inside: avoid; }}
figure {{ margin: 0; max-width: 100%; }}
figure img {{ display: block; width: 100%; height: auto; }}
footer {{ margin-top: 7mm; color: #444; font-size: 8.5pt; }}
@page {{ margin: 18mm 20mm; }}
@media print {{
  body {{ background: #fff; }}
  main {{ width: auto; padding: 0; }}
  .keep {{ break-inside: avoid; }}
}}
"""


def write_report_html(path: str | os.PathLike[str], report: Report) -> None:
    """Write a report as one self-contained HTML page.

    Args:
        path: File to write.
        report: What it says; its texts are text, whatever characters they hold.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    with atomic_path(path) as partial:
        partial.write_text(report_html(report), encoding="utf-8", newline="\n")


def report_html(report: Report) -> str:
    """Return the page."""
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
    )
    top = (
        f"<header>\n<h1>{escape(report.title)}</h1>\n"
        f'<p class="subtitle">{escape(report.subtitle)}</p>\n'
        f'<p class="notice">{escape(report.notice)}</p>\n</header>\n'
    )
    body = "".join(_section(section) for section in report.sections)
    foot = f"<footer>{escape(report.footer)}</footer>\n</main>\n</body>\n</html>\n"
    return head + top + body + foot


def _section(section: Section) -> str:
    blocks = "".join(_block(block) for block in section.blocks)
    return f"<section>\n<h2>{escape(section.title)}</h2>\n{blocks}</section>\n"


def _block(block: Block) -> str:
    render: Any = _RENDERERS[type(block)]
    return str(render(block))


def _paragraph(block: Paragraph) -> str:
    kind = "" if block.style == "normal" else f' class="{block.style}"'
    return f"<p{kind}>{escape(block.text)}</p>\n"


def _bullets(block: Bullets) -> str:
    return "<ul>\n" + "".join(f"<li>{escape(text)}</li>\n" for text in block.texts) + "</ul>\n"


def _facts(block: Facts) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>\n'
        for name, value in block.pairs
    )
    return f'<table class="facts"><tbody>\n{rows}</tbody></table>\n'


def _table(block: Table) -> str:
    total = sum(column.share for column in block.columns)
    kinds = [' class="number"' if column.is_number else "" for column in block.columns]
    widths = "".join(
        f'<col style="width:{100.0 * column.share / total:.1f}%">' for column in block.columns
    )
    heads = "".join(
        f'<th scope="col"{kind}>{escape(column.title)}</th>'
        for column, kind in zip(block.columns, kinds, strict=True)
    )
    lines = []
    for number, row in enumerate(block.rows):
        marks = [
            name
            for name, rows in (("strong", block.strong), ("ruled", block.ruled))
            if number in rows
        ]
        cells = "".join(
            f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)
        )
        lines.append(f'<tr class="{" ".join(marks)}">{cells}</tr>\n')
    return (
        f"<table><colgroup>{widths}</colgroup>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{''.join(lines)}</tbody></table>\n"
    )


def _chart(block: Chart) -> str:
    rows = "".join(_bar_row(bar) for bar in block.bars)
    ticks = "".join(f"<span>{escape(tick)}</span>" for tick in block.ticks)
    return (
        f'<table class="chart keep" aria-label="{escape(block.alt)}"><tbody>\n{rows}'
        f'<tr><th></th><td class="bar"><div class="ticks">{ticks}</div></td><td></td></tr>\n'
        "</tbody></table>\n"
    )


def _bar_row(bar: Bar) -> str:
    kinds = [name for name, on in (("strong", bar.strong), ("group", bar.starts_group)) if on]
    if not bar.parts:
        reason = f'<td colspan="2" class="reason quiet">{escape(bar.text)}</td>'
        return (
            f'<tr class="{" ".join(kinds)}"><th scope="row">{escape(bar.label)}</th>{reason}</tr>\n'
        )
    return (
        f'<tr class="{" ".join(kinds)}"><th scope="row">{escape(bar.label)}</th>'
        f'<td class="bar">{_bar_svg(bar)}</td><td>{escape(bar.text)}</td></tr>\n'
    )


def _bar_svg(bar: Bar) -> str:
    middle = _BAR_HEIGHT / 2.0
    shapes = [
        f'<path d="M{x:g} 0V{_BAR_HEIGHT}" stroke="#bbb" stroke-width="2"/>'
        for x in (1, _BAR_UNITS / 2, _BAR_UNITS - 1)
    ]
    start = 0.0
    for share, color in bar.parts:
        x, width = _BAR_UNITS * start, _BAR_UNITS * share
        shapes.append(
            f'<rect x="{x:.1f}" y="12" width="{width:.1f}" height="32" fill="{_hex(color)}"/>'
        )
        start += share
    if bar.interval is not None:
        low, high = (_BAR_UNITS * end for end in bar.interval)
        shapes.append(
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} 18V38M{high:.1f} 18V38" '
            'stroke="#222" stroke-width="1.1" vector-effect="non-scaling-stroke" fill="none"/>'
        )
    return (
        f'<svg viewBox="0 0 {_BAR_UNITS} {_BAR_HEIGHT}" preserveAspectRatio="none" '
        f'aria-hidden="true">{"".join(shapes)}</svg>'
    )


def _legend(block: Legend) -> str:
    entries = "".join(
        '<span><svg viewBox="0 0 4 3" aria-hidden="true"><rect width="4" height="3" '
        f'fill="{_hex(color)}" stroke="#555" stroke-width="0.2"/></svg>{escape(text)}</span>\n'
        for color, text in block.entries
    )
    return f'<p class="legend">{entries}</p>\n'


def _pictures(block: PictureRow) -> str:
    return f'<div class="pictures">\n{"".join(map(_figure, block.pictures))}</div>\n'


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    return (
        f'<figure style="width:{picture.width_mm:.1f}mm">'
        f'<img src="data:image/png;base64,{data}" alt="{escape(picture.alt)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>\n"
    )


def _hex(color: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


_RENDERERS = {
    Paragraph: _paragraph,
    Bullets: _bullets,
    Facts: _facts,
    Table: _table,
    Chart: _chart,
    Legend: _legend,
    PictureRow: _pictures,
}
