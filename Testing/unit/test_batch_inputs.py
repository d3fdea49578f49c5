"""Which cases a batch finds, and what it calls them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from CovidLesionSegLib.batch.cases import make_case
from CovidLesionSegLib.batch.inputs import find_cases
from CovidLesionSegLib.batch.table import read_table, write_key
from CovidLesionSegLib.errors import InputError
from Testing.support.dicom_series import Series
from Testing.support.synthetic_ct import chest_hu


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def paths(*inputs: Path, **options: object) -> list[Path]:
    return [case.path for case in find_cases(inputs, **options).cases]  # type: ignore[arg-type]


def test_a_folder_gives_every_image_and_a_case_for_what_is_empty(tmp_path: Path) -> None:
    wanted = [touch(tmp_path / name) for name in ("a.nii.gz", "b.NRRD", "deep/er/a.nii.gz")]
    for other in ("notes.txt", "a.seg.nrrd", ".hidden.nii", ".cache/x.nii", "table.csv"):
        touch(tmp_path / other)
    (tmp_path / "empty").mkdir()
    assert sorted(paths(tmp_path)) == sorted([*wanted, tmp_path / "empty"])


def test_every_series_of_a_dicom_tree_is_a_case_wherever_its_files_lie(tmp_path: Path) -> None:
    small = chest_hu((8, 44, 52))
    study = tmp_path / "Doe^Jane" / "study"
    Series(small, tags={"SeriesNumber": 3}).write(study / "one")
    Series(small, tags={"SeriesNumber": 4}).write(study / "both", order=range(4))
    Series(small, tags={"SeriesNumber": 4}).write(study / "more", order=range(4, 8))
    Series(small, tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}).write(study / "scout")
    found = find_cases([tmp_path]).cases
    assert {case.path for case in found} == {study / "one", study}
    assert all(case.series_instance_uid for case in found)
    assert not any("Doe" in case.id for case in found)


def test_one_dicom_file_stands_for_its_series(tmp_path: Path) -> None:
    folder = Series(chest_hu((8, 44, 52))).write(tmp_path / "series")
    files = sorted(folder.iterdir())
    found = find_cases([folder, files[0], files[5]])
    assert len(found.cases) == 1
    assert found.repeated == 2


def test_the_same_case_given_twice_is_one(tmp_path: Path) -> None:
    file = touch(tmp_path / "a.nii")
    (tmp_path / "link.nii").symlink_to(file)
    found = find_cases([file, tmp_path, tmp_path / ".." / tmp_path.name / "a.nii"])
    assert len(found.cases) == 1
    assert found.repeated == 3


def test_files_of_one_name_have_ids_of_their_own_that_stay(tmp_path: Path) -> None:
    files = [touch(tmp_path / folder / "CT Müller.nii.gz") for folder in ("a", "b")]
    for keep_names in (False, True):
        first = [case.id for case in find_cases(files, keep_names=keep_names).cases]
        again = [case.id for case in find_cases(files[::-1], keep_names=keep_names).cases]
        assert len(set(first)) == 2
        assert first == again[::-1]
        assert all(name.startswith("CT_M_ller-" if keep_names else "case-") for name in first)


def test_a_message_names_nobody(tmp_path: Path) -> None:
    file = touch(tmp_path / "Doe^Jane.nii.gz")
    text = f"{file.name} can't be read: {file}"
    assert "Doe" not in make_case(file).without_names(text)
    assert make_case(file, keep_name=True).without_names(text) == text
    series = touch(tmp_path / "Doe" / "Doe-0001.dcm").parent
    assert "Doe" not in make_case(series, "1.2").without_names("Doe: Doe-0001.dcm is damaged")


def test_what_is_not_there_is_a_case_that_will_say_so(tmp_path: Path) -> None:
    touch(tmp_path / "text" / "readme.txt")
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    gone, text = tmp_path / "no.nii", tmp_path / "text"
    assert paths(gone, text) == [gone, text]
    assert paths(tmp_path) == [tmp_path / "link.nii.gz"]


def test_the_results_are_not_searched(tmp_path: Path) -> None:
    file = touch(tmp_path / "a.nii")
    touch(tmp_path / "out" / "cases" / "x" / "probability.nii.gz")
    assert paths(tmp_path, exclude=tmp_path / "out") == [file]


def test_results_among_the_cts_are_told_from_them(tmp_path: Path) -> None:
    """Also in the folder of the CTs itself, and results of single runs."""
    files = [touch(tmp_path / "a.nii"), touch(tmp_path / "b" / "c.nii")]
    for name in ("probability.nii.gz", "boundary.nii.gz", "result.json"):
        touch(tmp_path / "b" / name)
        touch(tmp_path / "cases" / "x" / name)
    assert paths(tmp_path, exclude=tmp_path) == files
    files.append(touch(tmp_path / "d" / "probability.nii.gz"))  # somebody's CT of that name
    assert paths(tmp_path, exclude=tmp_path) == files


def test_a_file_that_nobody_may_look_at_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, link = touch(tmp_path / "a.nii"), touch(tmp_path / "link.dcm")
    is_file = Path.is_file

    def refuse(itself: Path) -> bool:
        if itself == link:
            raise PermissionError(errno.EACCES, "Permission denied", str(itself))
        return is_file(itself)

    monkeypatch.setattr(Path, "is_file", refuse)
    assert paths(tmp_path) == [file]


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_names_cases(tmp_path: Path, separator: str) -> None:
    touch(tmp_path / "a.nii")
    table = tmp_path / "cases.csv"
    rows = ["\ufeffage,path,case", "41,a.nii,p-01", f"50,{tmp_path / 'gone.nii'},", ",,"]
    table.write_text("\n".join(row.replace(",", separator) for row in rows), encoding="utf-8")
    found = find_cases([table]).cases
    assert [case.path for case in found] == [tmp_path / "a.nii", tmp_path / "gone.nii"]
    assert found[0].id == "p-01"


@pytest.mark.parametrize(
    "text", ["file\na.nii\n", "", "path,case\na.nii,../up\n", "path,case\na.nii,a b\n"]
)
def test_a_table_that_can_not_be_used_is_refused(tmp_path: Path, text: str) -> None:
    table = tmp_path / "cases.csv"
    table.write_text(text)
    with pytest.raises(InputError) as caught:
        find_cases([table])
    assert caught.value.code == "batch-table"


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    table.write_text("path,case\na.nii,P1\nb.nii,p1\n")
    with pytest.raises(InputError) as caught:
        find_cases([table])
    assert caught.value.code == "batch-case-id"


def test_two_names_of_one_file_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a.nii")
    table = tmp_path / "cases.csv"
    table.write_text("path,case\na.nii,P1\na.nii,P2\n")
    with pytest.raises(InputError, match="'P1' and 'P2'") as caught:
        find_cases([table])
    assert caught.value.code == "batch-case-id"
    table.write_text("path,case\na.nii,P1\na.nii,\n")
    assert [case.id for case in find_cases([table]).cases] == ["P1"]


def test_the_key_leads_back_to_the_same_cases(tmp_path: Path) -> None:
    Series(chest_hu((8, 44, 52))).write(tmp_path / "in" / "series")
    touch(tmp_path / "in" / "a.nii")
    found = find_cases([tmp_path / "in"]).cases
    key = tmp_path / "key.csv"
    write_key(key, found[:1])
    write_key(key, found)
    assert len(read_table(key)) == len(found)
    again = find_cases([key]).cases
    assert {(case.id, case.key) for case in again} == {(case.id, case.key) for case in found}


def test_a_table_that_is_not_there_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_table(tmp_path / "cases.csv")
