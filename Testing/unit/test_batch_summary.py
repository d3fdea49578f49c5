"""Folders of cases, and what is derived from them: summary and wall."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from CovidLesionSegLib.batch.batch import Batch
from CovidLesionSegLib.batch.case_files import (
    RESULT_FILE,
    Outcome,
    read_outcome,
    write_case,
    write_failure,
)
from CovidLesionSegLib.batch.summary import summary_row, with_twins
from CovidLesionSegLib.batch.wall import write_wall
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from Testing.support.results import make_result

ERROR = InputError("input-empty", "case-b <is> empty.", "Copy it again.")
FILES = {"segmentation.seg.nrrd", "lobes.csv", "overview.png", "thumbnail.png", RESULT_FILE}


@pytest.fixture(scope="module")
def result() -> SegmentationResult:
    return make_result()


@pytest.fixture(scope="module")
def folder(result: SegmentationResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch with a result and a failure, and what a kill left."""
    batch = Batch(tmp_path_factory.mktemp("batch"))
    write_case(batch.cases, "case-a", result)
    write_failure(batch.cases, "case-b", ERROR)
    (batch.cases / ".unfinished-x" / "case").mkdir(parents=True)
    return batch.folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_a_case_is_complete_and_open_to_others(folder: Path) -> None:
    case = folder / "cases" / "case-a"
    assert {path.name for path in case.iterdir()} == FILES
    umask = os.umask(0)
    os.umask(umask)
    assert case.stat().st_mode & 0o777 == 0o777 & ~umask


def test_the_summary_follows_from_the_folders_alone(
    folder: Path, result: SegmentationResult
) -> None:
    batch = Batch(folder)
    batch.write_overview()
    assert not (folder / "cases" / ".unfinished-x").exists()
    good, bad = rows(folder)
    total = result.quantification.row("total").measures["infected_percent"]
    assert (good["case"], good["status"], good["code"]) == ("case-a", "done", "")
    assert float(good["infected_percent"]) == pytest.approx(total.value, rel=1e-5)
    assert float(good["infected_percent_low"]) == pytest.approx(total.low, rel=1e-5)
    rul = result.quantification.row("RUL").measures["infected_percent"].value
    assert float(good["RUL_infected_percent"]) == pytest.approx(rul, rel=1e-5)
    assert good["model_id"] == "inf-net-lite"
    assert good["ct_sha256"] == result.ct.digest()
    assert (bad["case"], bad["status"], bad["code"]) == ("case-b", "failed", "input-empty")
    assert bad["reason"] == "case-b <is> empty. Copy it again."
    assert bad["infected_percent"] == ""


def test_a_failure_that_works_at_last_has_one_row(
    tmp_path: Path, result: SegmentationResult
) -> None:
    batch = Batch(tmp_path)
    write_failure(batch.cases, "case-a", ERROR)
    write_case(batch.cases, "case-a", result, ("table",))
    assert {path.name for path in (batch.cases / "case-a").iterdir()} == {"lobes.csv", RESULT_FILE}
    batch = Batch(tmp_path)
    batch.write_overview()
    assert [row["status"] for row in rows(tmp_path)] == ["done"]


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_case_that_lost_content_in_a_power_cut_is_open_again(
    name: str, folder: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "case-a"
    shutil.copytree(folder / "cases" / "case-a", copy)
    assert read_outcome(copy) is not None
    (copy / name).write_bytes(b"")
    assert read_outcome(copy) is None


def test_a_failed_write_leaves_nothing(tmp_path: Path, result: SegmentationResult) -> None:
    broken = replace(result, anatomy=None)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        write_case(tmp_path, "case-a", broken)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_plain_error(
    tmp_path: Path, result: SegmentationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CovidLesionSegError) as caught:
        write_case(tmp_path, "case-a", result, ("table",))
    assert caught.value.code == "output-not-written"
    assert list(tmp_path.iterdir()) == []


def test_equal_cts_are_marked() -> None:
    first, second, other = (
        {"case": case, "status": "done", "ct_sha256": digest}
        for case, digest in (("a", "1"), ("b", "1"), ("c", "2"))
    )
    failed = [{"case": case, "status": "failed"} for case in ("d", "e")]
    marked = [row["same_ct_as"] for row in with_twins([first, second, other, *failed])]
    assert marked == ["", "a", "", "", ""]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (tag, name) in (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href")):
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(path: Path) -> _Links:
    parser = _Links()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def test_the_wall_shows_pictures_numbers_and_reasons(folder: Path) -> None:
    Batch(folder).write_overview()
    page = parsed(folder / "index.html")
    assert all((folder / link).is_file() for link in page.links)
    assert "cases/case-a/overview.png" in page.links
    text = " ".join(page.text)
    assert "1 CTs segmented, 1 without a result" in text
    assert "case-b <is> empty." in text
    percent = float(rows(folder)[0]["infected_percent"])
    assert f"{percent:.1f} %" in text


def test_the_wall_of_a_thousand_cases_needs_no_network_and_stays_small(
    folder: Path, tmp_path: Path
) -> None:
    outcome = read_outcome(folder / "cases" / "case-a")
    assert outcome is not None
    many = [summary_row(replace(outcome, case_id=f"case-{index}")) for index in range(1000)]
    many.append(summary_row(Outcome("bad", failure={"code": "x", "message": "m", "hint": "h"})))
    write_wall(tmp_path / "index.html", many, "cases")
    page = parsed(tmp_path / "index.html")
    assert len([link for link in page.links if link.endswith("thumbnail.png")]) == 1000
    assert not any("//" in link for link in page.links)
    assert (tmp_path / "index.html").stat().st_size < 2_000_000
