"""The report as PDF in Slicer, printed by Qt: neither ReportLab nor a browser is there."""

from __future__ import annotations

from pathlib import Path

import qt
from slicer.i18n import tr as _

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.formats import FORMATS, ExportFormat
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.report_content import TITLE, report_content
from CovidLesionSegLib.export.report_richtext import report_richtext

_TAIL_BYTES = 64
"""The end mark of a PDF file stands in its last line."""


def writeReportPdf(job: ExportJob, path: Path) -> list[Path]:
    """Print the report of a result into a PDF file.

    The paper is the one that the user's printer has, else A4; the layout fits A4 and Letter.

    Args:
        job: The result and its review.
        path: File to write.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    printer = qt.QPrinter(qt.QPrinter.HighResolution)
    printer.setOutputFormat(qt.QPrinter.PdfFormat)
    printer.setOutputFileName(str(path))
    # Margins are the document's own.
    printer.setFullPage(True)
    printer.setDocName(TITLE)
    printer.setCreator("CovidLesionSeg")
    document = qt.QTextDocument()
    document.setHtml(report_richtext(report_content(job)))
    document.print(printer)
    # Qt reports nothing when the disk is full or the folder can't be written to.
    if not _isWhole(path):
        raise CovidLesionSegError(
            "output-not-written",
            _("The report could not be printed."),
            _("Choose another folder, or look whether the disk is full."),
        )
    return [path]


def _isWhole(path: Path) -> bool:
    """Return whether a PDF file is there up to its end mark."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return b"%%EOF" in file.read()


REPORT_PDF = ExportFormat(FORMATS["report-pdf"].title, FORMATS["report-pdf"].suffix, writeReportPdf)
"""Takes the place of the format ``report-pdf`` that needs ReportLab."""
