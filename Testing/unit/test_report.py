"""The report: its numbers, what it keeps to itself, and that HTML and PDF say the same."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from CovidLesionSegLib.engine.review_values import REOPEN
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export import report_pdf
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.lobe_chart import format_percent, format_volume
from CovidLesionSegLib.export.report_content import report_content
from CovidLesionSegLib.export.report_findings import public_text
from CovidLesionSegLib.export.report_html import report_html, write_report_html
from CovidLesionSegLib.export.report_model import (
    Bullets,
    Chart,
    Facts,
    Legend,
    Paragraph,
    PictureRow,
    Report,
    Table,
)
from CovidLesionSegLib.export.report_pdf import PAPERS_MM, write_report_pdf
from CovidLesionSegLib.export.report_review import review_section, review_sentence
from CovidLesionSegLib.weights.store import default_store
from Testing.support.dicom_job import SECRETS, dicom_job
from Testing.support.report_job import MADE, STRANGE_NAME, report_job

KINDS = ("plain", "healthy", "no lobes", "no lungs", "no CT", "reviewed", "strange name")


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return {kind: report_content(report_job(kind), MADE) for kind in KINDS}


class Page(HTMLParser):
    """Checks nesting while reading; keeps texts, attributes and pictures."""

    VOID = ("meta", "img", "col", "br", "rect", "path")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return plain(" ".join(self.texts))


def plain(text: str) -> str:
    """Without blanks and hyphens: a PDF knows lines, not words."""
    return re.sub(r"[\s\u200b\u00ad\u2022\ufffe\x02-]", "", text)


def texts_of(report: Report) -> Iterator[str]:
    yield from (report.title, report.subtitle, report.notice, report.footer)
    for section in report.sections:
        yield section.title
        for block in section.blocks:
            if isinstance(block, Paragraph):
                yield block.text
            elif isinstance(block, Bullets):
                yield from block.texts
            elif isinstance(block, Facts):
                yield from (text for pair in block.pairs for text in pair)
            elif isinstance(block, Table):
                yield from (column.title for column in block.columns)
                yield from (cell for row in block.rows for cell in row)
            elif isinstance(block, Chart):
                yield from (text for bar in block.bars for text in (bar.label, bar.text))
                yield from block.ticks
            elif isinstance(block, Legend):
                yield from (text for _, text in block.entries)
            elif isinstance(block, PictureRow):
                yield from (picture.caption for picture in block.pictures)


def pdf_text(path: Path) -> str:
    pdfium = pytest.importorskip("pypdfium2")
    document = pdfium.PdfDocument(path)
    return plain("".join(page.get_textpage().get_text_range() for page in document))


def find_table(report: Report, title: str) -> Table:
    section = next(section for section in report.sections if section.title == title)
    return next(block for block in section.blocks if isinstance(block, Table))


def test_the_table_holds_the_numbers(reports: dict[str, Report]) -> None:
    rows = report_job().result.quantification.rows
    table = find_table(reports["plain"], "By lobe")
    titles = [column.title for column in table.columns]
    marks = [" ~" if "approximate-lobes" in row.flags else "" for row in rows]
    assert set(marks[:5]) == {" ~"}, "the test needs approximate lobes"
    assert set(marks[5:]) == {""}
    named = [row.label + mark for row, mark in zip(rows, marks, strict=True)]
    assert [row[0].lower() for row in table.rows] == named
    for cells, row in zip(table.rows, rows, strict=True):
        shown = dict(zip(titles, cells, strict=True))
        volume, percent = row.measures["volume_ml"], row.measures["infected_percent"]
        assert volume.value is not None
        assert percent.value is not None
        assert shown["Volume [ml]"] == format_volume(volume.value)
        assert shown["Infected [%]"] == format_percent(percent.value)


def test_an_absent_number_is_named_with_its_reason(reports: dict[str, Report]) -> None:
    report = reports["no lobes"]
    assert all(set(row[1:]) == {"n/a"} for row in find_table(report, "By lobe").rows[:5])
    texts = list(texts_of(report))
    reason = "no lobes are available"
    assert any(text.startswith("n/a: right upper lobe") and reason in text for text in texts)
    assert any(text.startswith(f"n/a: {reason}. CT severity score") for text in texts)


def test_the_score_comes_with_its_definition(reports: dict[str, Report]) -> None:
    table = find_table(reports["plain"], "Findings")
    score = report_job().result.quantification.scores["ctss_0_25"]
    row = next(row for row in table.rows if row[0].startswith("CT severity score"))
    assert score.value is not None
    assert row[1] == f"{score.value:.0f}"
    assert "sum of the five lobes" in row[3]
    assert "involvement_score" not in "".join(texts_of(reports["plain"]))


def test_the_review_is_told(reports: dict[str, Report]) -> None:
    assert "not reviewed by a person" in reports["plain"].notice
    assert "review is finished" in reports["reviewed"].notice
    texts = list(texts_of(reports["reviewed"]))
    assert "1 accepted, 1 edited, 1 rejected" in texts
    job = report_job("reviewed")
    ml = job.result.ct.voxel_volume_ml
    changed = f"{format_volume(25 * ml)} ml added, {format_volume(40 * ml)} removed"
    assert changed in texts
    assert "2026-11-22 00:11" in texts
    assert job.review is not None
    half = replace(job.review, lesions=(*job.review.lesions, job.result.lesions[0]))
    assert "3 of 4 lesions decided" in report_content(replace(job, review=half), MADE).notice


def test_a_review_that_an_edit_reopened_is_not_finished() -> None:
    job = report_job("reviewed")
    assert job.review is not None
    assert review_sentence(job).endswith("the review is finished.")
    last = job.review.log[-1]
    many = replace(last, action="accept", lesions="1 2 3 4 5 6 7 8")
    log = (*job.review.log, many, replace(last, action="edit"), replace(last, action=REOPEN))
    again = replace(job, review=replace(job.review, log=log))
    assert "finished" not in review_sentence(again)
    told = str(review_section(again))
    assert "reopened by an edit" in told
    assert "Review finished" not in told
    assert "8 lesions" in told


def test_what_made_it_is_told(reports: dict[str, Report]) -> None:
    run = report_job().result.run
    texts = list(texts_of(reports["plain"]))
    for value in (run.weights_sha256["inf-net-lite"], run.device, "2026-11-22 01:02 UTC"):
        assert any(value in text for text in texts)


def test_the_measured_dice_is_that_of_the_readme() -> None:
    entry = default_store().find("inf-net-lite").entry
    plain_job = report_job("plain")
    run = replace(plain_job.result.run, model_id=entry.id, weights_sha256={entry.id: entry.sha256})
    job = replace(plain_job, result=replace(plain_job.result, run=run))
    (text,) = (text for text in texts_of(report_content(job, MADE)) if "Dice" in text)
    dice = entry.card.scores["pipeline"]["dice_diseased"]
    assert f"mean over the scans with disease: {dice['mean']:.2f} (" in text


@pytest.mark.parametrize("kind", KINDS)
def test_html_is_one_sound_page_that_needs_nothing_else(
    kind: str, reports: dict[str, Report]
) -> None:
    source = report_html(reports[kind])
    page = Page(source)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "form"}
    assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"base64,[^\"]*", "", source))
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert attributes["alt"]
            kept = str(attributes["src"]).removeprefix("data:image/png;base64,")
            assert base64.b64decode(kept).startswith(b"\x89PNG")
    for text in texts_of(reports[kind]):
        assert plain(text) in page.text


@pytest.mark.parametrize("paper", PAPERS_MM)
@pytest.mark.parametrize("kind", KINDS)
def test_pdf_says_the_same_and_nothing_leaves_the_page(
    kind: str, paper: str, reports: dict[str, Report], tmp_path: Path
) -> None:
    pytest.importorskip("reportlab")
    pdfium = pytest.importorskip("pypdfium2")
    path = tmp_path / "report.pdf"
    write_report_pdf(path, reports[kind], paper)
    text = pdf_text(path)
    for wanted in texts_of(reports[kind]):
        # The footer parts a text that goes over two pages.
        assert all(plain(word) in text for word in wanted.split())
    for page in pdfium.PdfDocument(path):
        width, height = page.get_size()
        assert (width, height) == pytest.approx([mm * 72.0 / 25.4 for mm in PAPERS_MM[paper]])
        for thing in page.get_objects():
            left, bottom, right, top = thing.get_bounds()
            assert left >= 36.0
            assert right <= width - 36.0
            assert bottom >= 20.0
            assert top <= height - 36.0


def test_the_same_report_gives_the_same_files(reports: dict[str, Report], tmp_path: Path) -> None:
    pytest.importorskip("reportlab")
    again = report_content(report_job(), MADE)
    for name, report in (("a", reports["plain"]), ("b", again)):
        write_report_html(tmp_path / f"{name}.html", report)
        write_report_pdf(tmp_path / f"{name}.pdf", report)
    for end in ("html", "pdf"):
        assert (tmp_path / f"a.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()


def test_an_anonymous_report_names_nobody(tmp_path: Path) -> None:
    job = dicom_job(tmp_path / "Mustermann^Erika")
    report = report_content(job, MADE)
    said = "\n".join(texts_of(report)).lower()
    assert not [secret for secret in SECRETS if secret.lower() in said]
    assert job.result.ct.provenance.series_instance_uid not in said
    strange = "".join(texts_of(report_content(report_job("strange name"), MADE)))
    assert "alert" not in strange
    assert "/home" not in strange


def test_an_identified_report_names_the_patient(tmp_path: Path) -> None:
    said = list(texts_of(report_content(dicom_job(tmp_path, identified=True), MADE)))
    for wanted in ("Mustermann, Erika, Roswitha", "PID8374651", "1943-05-17", "2020-03-31"):
        assert wanted in said


def test_a_name_stays_text_whatever_it_holds(tmp_path: Path) -> None:
    pytest.importorskip("reportlab")
    report = report_content(replace(report_job("strange name"), identified=True), MADE)
    page = Page(report_html(report))
    assert plain(STRANGE_NAME) in page.text
    assert "script" not in {tag for tag, _ in page.tags}
    write_report_pdf(tmp_path / "x.pdf", report)
    assert plain("<script>alert(1)</script>") in pdf_text(tmp_path / "x.pdf")


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("The slices are thick, 5/8 of them.", "The slices are thick, 5/8 of them."),
        ("Not read: /home/doe jane/ct.nii", "Not read: [path removed] jane/ct.nii"),
        (r"Not read: C:\Users\doe\ct.nii", "Not read: [path removed]"),
        ("chest was cut", "[name removed] was cut"),
    ],
)
def test_sentences_lose_names_and_paths(text: str, public: str) -> None:
    assert public_text(report_job(), text) == public
    assert public_text(ExportJob(report_job().result, identified=True), text) == text


def test_without_reportlab_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, reports: dict[str, Report], tmp_path: Path
) -> None:
    monkeypatch.setattr(report_pdf, "pdf_obstacle", lambda: "It needs the package reportlab.")
    with pytest.raises(CovidLesionSegError) as caught:
        write_report_pdf(tmp_path / "x.pdf", reports["plain"])
    assert caught.value.code == "report-extra-missing"
    assert list(tmp_path.iterdir()) == []
