"""Folders behind links are searched like all others, once, and never in a circle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from CovidLesionSegLib.batch.inputs import find_cases
from CovidLesionSegLib.engine.folders import walk_folders
from CovidLesionSegLib.engine.readers import read_ct
from Testing.support.dicom_series import Series
from Testing.support.synthetic_ct import chest_hu

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need a privilege")

SMALL = chest_hu((8, 44, 52))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return Series(SMALL).write(tmp_path / "archive" / "series")


def test_a_linked_series_is_a_case(archive: Path, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    (cohort / "p2").mkdir(parents=True)
    (cohort / "patient1").symlink_to(archive)
    (cohort / "p2" / "ct.nii.gz").write_bytes(b"x")
    found = find_cases([cohort]).cases
    assert {case.path for case in found} == {cohort / "patient1", cohort / "p2" / "ct.nii.gz"}


def test_a_folder_with_a_linked_series_is_read(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "dicom").symlink_to(archive)
    assert read_ct(folder).shape_zyx == SMALL.shape


def test_links_in_a_circle_end(archive: Path) -> None:
    for name, target in (("self", archive), ("up", archive.parent), ("root", Path("/"))):
        (archive / name).symlink_to(target)
    assert [case.path for case in find_cases([archive.parent]).cases] == [archive]
    assert read_ct(archive).shape_zyx == SMALL.shape


def test_a_folder_that_two_links_name_is_searched_once(archive: Path, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    for name in ("a", "b"):
        (cohort / name).symlink_to(archive.parent)
    (cohort / "only-links").mkdir()
    (cohort / "only-links" / "again").symlink_to(archive)
    found = find_cases([cohort])
    assert [case.path for case in found.cases] == [cohort / "a" / "series"]
    assert found.repeated == 0


def test_a_link_into_the_results_is_not_searched(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "cases").mkdir(parents=True)
    (tmp_path / "out" / "cases" / "probability.nii.gz").write_bytes(b"x")
    (archive.parent / "results").symlink_to(tmp_path / "out" / "cases")
    found = find_cases([archive.parent], exclude=tmp_path / "out").cases
    assert [case.path for case in found] == [archive]


def test_a_link_that_leads_nowhere_is_a_case_that_will_say_so(tmp_path: Path) -> None:
    (tmp_path / "patient1").symlink_to(tmp_path / "not-connected" / "series")
    assert [case.path for case in find_cases([tmp_path]).cases] == [tmp_path / "patient1"]


def test_subfolders_that_the_caller_removes_are_left_out(tmp_path: Path) -> None:
    for name in ("b/c", "a/d"):
        (tmp_path / name).mkdir(parents=True)
    seen = []
    for folder, subfolders, _ in walk_folders(tmp_path, lambda _error: None):
        seen.append(folder.name)
        if "b" in subfolders:
            subfolders.remove("b")
    assert seen == [tmp_path.name, "a", "d"]
