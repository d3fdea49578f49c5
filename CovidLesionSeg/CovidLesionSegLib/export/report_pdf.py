"""A report as PDF with ReportLab, for the terminal; in Slicer, Qt's printer does it."""

from __future__ import annotations

import io
import os
from html import escape
from typing import Any

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.errors import CovidLesionSegError

from .report_model import (
    WIDTH_MM,
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
from .report_pdf_parts import (
    BAR_MM,
    FONT,
    POINT,
    QUIET,
    RULE,
    bar_drawing,
    legend_drawing,
    paragraph_styles,
    register_fonts,
    ticks_drawing,
)

PAPERS_MM = {"a4": (210.0, 297.0), "letter": (215.9, 279.4)}

_FRAME_PADDING = 6.0
"""Points that ReportLab's frame keeps free inside its margins."""
_TOP_MM, _BOTTOM_MM = 18.0, 20.0
_SHORT_TABLE = 12
"""Rows that are kept on one page with their heading."""
_LEAST_MM = 45.0
_FACT_SHARE = 0.24


def write_report_pdf(path: str | os.PathLike[str], report: Report, paper: str = "a4") -> None:
    """Write a report as PDF.

    The same report gives the same bytes. Fonts are embedded.

    Args:
        path: File to write.
        report: What it says.
        paper: ``"a4"`` or ``"letter"``.

    Raises:
        CovidLesionSegError: ``report-extra-missing``, ``output-not-written``.
    """
    content = _Renderer(report, PAPERS_MM[paper]).bytes()
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def pdf_obstacle() -> str | None:
    """Return why no PDF can be written here, for people; None if it can."""
    import importlib.util

    if all(importlib.util.find_spec(name) for name in ("reportlab", "matplotlib")):
        return None
    return (
        "It needs the package reportlab: pip install 'CovidLesionSegLib[report]'. The HTML "
        "report needs nothing, and every browser prints it as PDF."
    )


def _split_after_head(blocks: tuple[Block, ...]) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
    """Part a section after what has to stand on the page of its heading.

    That is everything to the first block that is no running text, and its legend.
    """
    end = next((n for n, block in enumerate(blocks) if not isinstance(block, Paragraph)), -1) + 1
    end = end or len(blocks)
    while end < len(blocks) and isinstance(blocks[end], Legend):
        end += 1
    return blocks[:end], blocks[end:]


def _is_long(block: Block) -> bool:
    rows = block.rows if isinstance(block, Table) else ()
    pairs = block.pairs if isinstance(block, Facts) else ()
    return len(rows) + len(pairs) > _SHORT_TABLE


class _Renderer:
    """Turns blocks into ReportLab's flowables."""

    def __init__(self, report: Report, paper_mm: tuple[float, float]) -> None:
        reason = pdf_obstacle()
        if reason is not None:
            raise CovidLesionSegError("report-extra-missing", "No PDF can be made.", reason)
        register_fonts()
        self._report = report
        self._paper = tuple(size * POINT for size in paper_mm)
        self._styles = paragraph_styles()

    def bytes(self) -> bytes:
        from reportlab.platypus import SimpleDocTemplate

        buffer = io.BytesIO()
        side = (self._paper[0] - WIDTH_MM * POINT) / 2.0 - _FRAME_PADDING
        document = SimpleDocTemplate(
            buffer,
            pagesize=self._paper,
            leftMargin=side,
            rightMargin=side,
            topMargin=_TOP_MM * POINT,
            bottomMargin=_BOTTOM_MM * POINT,
            title=self._report.title,
            author="CovidLesionSeg",
            lang="en",
            invariant=1,
        )
        flowables = [
            self._text(self._report.title, "title"),
            self._text(self._report.subtitle, "subtitle"),
            self._text(self._report.notice, "notice"),
        ]
        for section in self._report.sections:
            flowables += self._section(section)
        document.build(flowables, onFirstPage=self._foot, onLaterPages=self._foot)
        return buffer.getvalue()

    def _foot(self, canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont(FONT, 7.5)
        canvas.setFillColor(QUIET)
        y = _BOTTOM_MM * POINT * 0.55
        left = document.leftMargin + _FRAME_PADDING
        canvas.drawString(left, y, self._report.footer)
        right = self._paper[0] - left
        canvas.drawRightString(right, y, f"Page {canvas.getPageNumber()}")
        canvas.restoreState()

    def _text(self, text: str, style: str) -> Any:
        from reportlab.platypus import Paragraph as RlParagraph

        return RlParagraph(escape(text), self._styles[style])

    def _section(self, section: Section) -> list[Any]:
        from reportlab.platypus import CondPageBreak, HRFlowable, KeepTogether

        heading = [
            self._text(section.title, "heading"),
            HRFlowable(width="100%", thickness=0.8, color=RULE, spaceAfter=5, spaceBefore=0),
        ]
        flowables: list[Any] = []
        first, rest = _split_after_head(section.blocks)
        together = heading + [part for block in first for part in self._block(block)]
        if any(_is_long(block) for block in first):
            flowables += [CondPageBreak(_LEAST_MM * POINT), *together]
        else:
            flowables.append(KeepTogether(together))
        for block in rest:
            flowables += self._block(block)
        return flowables

    def _block(self, block: Block) -> list[Any]:
        render: Any = {
            Paragraph: self._paragraph,
            Bullets: self._bullets,
            Facts: self._facts,
            Table: self._table,
            Chart: self._chart,
            Legend: self._legend,
            PictureRow: self._pictures,
        }[type(block)]
        parts: list[Any] = render(block)
        return parts

    def _paragraph(self, block: Paragraph) -> list[Any]:
        return [self._text(block.text, block.style)]

    def _bullets(self, block: Bullets) -> list[Any]:
        from reportlab.platypus import Paragraph as RlParagraph

        return [
            RlParagraph(escape(text), self._styles["bullet"], bulletText="•")
            for text in block.texts
        ]

    def _facts(self, block: Facts) -> list[Any]:
        widths = [WIDTH_MM * _FACT_SHARE, WIDTH_MM * (1.0 - _FACT_SHARE)]
        rows = [
            [self._text(name, "cell-strong"), self._text(value, "cell")]
            for name, value in block.pairs
        ]
        return [self._grid(rows, widths, [("LINEBELOW", (0, 0), (-1, -1), 0.4, "#cccccc")])]

    def _table(self, block: Table) -> list[Any]:
        total = sum(column.share for column in block.columns)
        widths = [WIDTH_MM * column.share / total for column in block.columns]
        ends = ["-number" if column.is_number else "" for column in block.columns]
        heads = [
            self._text(column.title, f"cell-strong{end}")
            for column, end in zip(block.columns, ends, strict=True)
        ]
        rows = [heads]
        for number, row in enumerate(block.rows):
            kind = "cell-strong" if number in block.strong else "cell"
            rows.append(
                [self._text(cell, f"{kind}{end}") for cell, end in zip(row, ends, strict=True)]
            )
        lines: list[Any] = [("LINEBELOW", (0, 1), (-1, -1), 0.4, "#cccccc")]
        lines += [("LINEABOVE", (0, n + 1), (-1, n + 1), 0.8, RULE) for n in block.ruled]
        lines += [
            ("LINEBELOW", (0, 0), (-1, 0), 0.8, RULE),
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        ]
        return [self._grid(rows, widths, lines, repeat=1)]

    def _grid(
        self, rows: list[Any], widths_mm: list[float], lines: list[Any], repeat: int = 0
    ) -> Any:
        from reportlab.platypus import Table as RlTable

        base = [
            ("LEFTPADDING", (0, 0), (-1, -1), 3),
            ("RIGHTPADDING", (0, 0), (-1, -1), 3),
            ("TOPPADDING", (0, 0), (-1, -1), 1.8),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ]
        return RlTable(
            rows,
            colWidths=[width * POINT for width in widths_mm],
            repeatRows=repeat,
            style=[*base, *lines],
            spaceAfter=5,
        )

    def _chart(self, block: Chart) -> list[Any]:
        from reportlab.platypus import Table as RlTable

        rows: list[Any] = []
        style: list[Any] = [
            ("LEFTPADDING", (0, 0), (-1, -1), 3),
            ("RIGHTPADDING", (0, 0), (-1, -1), 3),
            ("LEFTPADDING", (1, 0), (1, -1), 0),
            ("RIGHTPADDING", (1, 0), (1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 0),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 0),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ]
        for number, bar in enumerate(block.bars):
            kind = "cell-strong" if bar.strong else "cell"
            label, text = self._text(bar.label, kind), self._text(bar.text, kind)
            if bar.starts_group:
                style.append(("TOPPADDING", (0, number), (-1, number), 4))
            if bar.parts:
                rows.append([label, bar_drawing(bar), text])
            else:
                style.append(("SPAN", (1, number), (2, number)))
                rows.append([label, self._text(bar.text, "quiet"), ""])
        rows.append(["", ticks_drawing(block.ticks), ""])
        widths = [width * POINT for width in BAR_MM]
        return [RlTable(rows, colWidths=widths, style=style, spaceAfter=4)]

    def _legend(self, block: Legend) -> list[Any]:
        return [legend_drawing(block)]

    def _pictures(self, block: PictureRow) -> list[Any]:
        from reportlab.platypus import Image
        from reportlab.platypus import Table as RlTable

        images, captions, widths = [], [], []
        for picture in block.pictures:
            size = (picture.width_mm * POINT, picture.height_mm * POINT)
            images.append(Image(io.BytesIO(picture.png), *size))
            captions.append(self._text(picture.caption, "quiet"))
            widths.append(size[0])
        spare = WIDTH_MM * POINT - sum(widths)
        gap = spare / (len(widths) - 1) if len(widths) > 1 else 0.0
        padded = [width + gap for width in widths[:-1]] + [widths[-1]]
        style = [
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-2, -1), gap),
            ("TOPPADDING", (0, 0), (-1, -1), 0),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
            ("VALIGN", (0, 1), (-1, 1), "TOP"),
            ("NOSPLIT", (0, 0), (-1, -1)),
        ]
        return [RlTable([images, captions], colWidths=padded, style=style, hAlign="LEFT")]
