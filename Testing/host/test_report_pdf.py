"""The report that Qt prints: all of it, on its pages, and a failure that is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.report_content import TITLE, report_content
from CovidLesionSegLib.export.report_model import Facts, Table
from CovidLesionSegLib.export.report_richtext import report_richtext
from Testing.host.application import Host
from Testing.support.report_job import MADE, STRANGE_NAME, report_job

pdfium = pytest.importorskip("pypdfium2")


def plain(text: str) -> str:
    return re.sub(r"[\s\u200b\u00ad\u2022\ufffe\x02-]", "", text)


@pytest.mark.parametrize("kind", ["reviewed", "no lobes", "no CT"])
def test_the_printed_report_says_everything(host: Host, kind: str, tmp_path: Path) -> None:
    from CovidLesionSegLib.app.reportPdf import REPORT_PDF

    job = report_job(kind)
    assert REPORT_PDF.unavailable(job) is None
    (path,) = REPORT_PDF.write(job, tmp_path / f"x{REPORT_PDF.suffix}")
    document = pdfium.PdfDocument(path)
    text = plain("".join(page.get_textpage().get_text_range() for page in document))
    report = report_content(job, MADE)
    assert plain(TITLE) in text
    for section in report.sections:
        assert plain(section.title) in text
        for block in section.blocks:
            cells = [cell for row in block.rows for cell in row] if isinstance(block, Table) else []
            cells += (
                [cell for pair in block.pairs for cell in pair] if isinstance(block, Facts) else []
            )
            assert all(plain(word) in text for cell in cells for word in cell.split())
    for page in document:
        width, _ = page.get_size()
        for thing in page.get_objects():
            left, _, right, _ = thing.get_bounds()
            assert left >= 36.0
            assert right <= width - 36.0
    assert host.slotErrors == []


def test_a_name_stays_text() -> None:
    from dataclasses import replace

    job = replace(report_job("strange name"), identified=True)
    source = report_richtext(report_content(job, MADE))
    assert "<script" not in source
    assert "&lt;script&gt;" in source
    assert STRANGE_NAME not in source


def test_a_folder_that_can_not_be_written_to_is_told(host: Host, tmp_path: Path) -> None:
    from CovidLesionSegLib.app.reportPdf import writeReportPdf

    with pytest.raises(CovidLesionSegError) as caught:
        writeReportPdf(report_job("no CT"), tmp_path / "not there" / "x.pdf")
    assert caught.value.code == "output-not-written"
    assert host.slotErrors == []


def test_a_report_cut_off_by_a_full_disk_is_told(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    from CovidLesionSegLib.app.reportPdf import writeReportPdf

    path = tmp_path / "x.pdf"
    whole = qt.QTextDocument.print

    def cut(document: Any, printer: Any) -> None:
        whole(document, printer)
        path.write_bytes(path.read_bytes()[:-200])

    monkeypatch.setattr(qt.QTextDocument, "print", cut)
    with pytest.raises(CovidLesionSegError) as caught:
        writeReportPdf(report_job("no CT"), path)
    assert caught.value.code == "output-not-written"
    assert host.slotErrors == []
