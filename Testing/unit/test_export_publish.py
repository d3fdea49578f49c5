"""Several formats at once: all or none, nothing overwritten silently, old files intact."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.export.formats import FORMATS, ExportFormat
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.publish import export_files
from Testing.support.dicom_job import dicom_job

pytest.importorskip("highdicom", reason="DICOM export needs highdicom")

IS_SUPERUSER = getattr(os, "geteuid", lambda: 1)() == 0
POSIX_SIGNALS = [name for name in ("SIGKILL", "SIGINT") if sys.platform != "win32"]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ExportJob:
    return dicom_job(tmp_path_factory.mktemp("ct"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def text_format(text: str, *more: str) -> ExportFormat:
    """A format that writes a line of text, and others beside it."""

    def write(_job: ExportJob, path: Path) -> list[Path]:
        paths = [path, *(path.with_name(name) for name in more)]
        for target in paths:
            target.write_text(text)
        return paths

    return ExportFormat("Text", ".txt", write)


def test_every_file_carries_the_stem_and_nothing_else_remains(
    job: ExportJob, tmp_path: Path
) -> None:
    chosen = {name: FORMATS[name] for name in ("dicom-seg", "dicom-sr", "seg-nrrd", "nifti")}
    written = export_files(job, chosen, tmp_path / "new" / "folder", "case 7")
    paths = [path for files in written.values() for path in files]
    assert names(tmp_path / "new" / "folder") == sorted(path.name for path in paths)
    assert all(path.name.startswith("case 7") for path in paths)
    assert written["dicom-seg"][0].name == "case 7.seg.dcm"


def test_a_file_that_is_there_stays_unless_forced(job: ExportJob, tmp_path: Path) -> None:
    (tmp_path / "covid-lesion-seg.txt").write_text("old")
    with pytest.raises(InputError) as caught:
        export_files(job, {"text": text_format("new")}, tmp_path)
    assert caught.value.code == "output-exists"
    assert (tmp_path / "covid-lesion-seg.txt").read_text() == "old"
    export_files(job, {"text": text_format("new")}, tmp_path, force=True)
    assert (tmp_path / "covid-lesion-seg.txt").read_text() == "new"
    assert names(tmp_path) == ["covid-lesion-seg.txt"]


def test_segments_of_an_earlier_export_do_not_stay_beside_the_new(
    job: ExportJob, tmp_path: Path
) -> None:
    ours = (
        "covid-lesion-seg.txt",
        "covid-lesion-seg-ground-glass.txt",
        "covid-lesion-seg-lobes.txt",
    )
    others = ("covid-lesion-seg-ground-glass.csv", "covid-lesion-seg-notes.txt", "mine.txt")
    for name in (*ours, *others):
        (tmp_path / name).write_text("old")

    def write(_job: ExportJob, path: Path) -> list[Path]:
        target = path.with_name("covid-lesion-seg-right-lung.txt")
        target.write_text("new")
        return [target]

    formats = {"text": ExportFormat("Text", ".txt", write)}
    export_files(job, formats, tmp_path, force=True)
    assert names(tmp_path) == sorted(("covid-lesion-seg-right-lung.txt", *others))


def test_a_file_beside_the_main_one_is_not_overwritten_either(
    job: ExportJob, tmp_path: Path
) -> None:
    (tmp_path / "beside.txt").write_text("old")
    with pytest.raises(InputError):
        export_files(job, {"text": text_format("new", "beside.txt")}, tmp_path)
    assert names(tmp_path) == ["beside.txt"]
    assert (tmp_path / "beside.txt").read_text() == "old"


def test_a_format_that_is_not_possible_stops_all(job: ExportJob, tmp_path: Path) -> None:
    never = replace(text_format("x"), obstacle=lambda _job: "It needs the moon.")
    with pytest.raises(InputError) as caught:
        export_files(job, {"text": text_format("x"), "moon": never}, tmp_path)
    assert caught.value.code == "export-unavailable"
    assert caught.value.hint == "It needs the moon."
    assert names(tmp_path) == []


@contextmanager
def small_files(limit_bytes: int) -> Iterator[None]:
    """Let every write beyond a size fail, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="file size limits are of POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", FORMATS)
def test_a_write_that_breaks_off_leaves_the_old_files(
    name: str, job: ExportJob, tmp_path: Path
) -> None:
    if FORMATS[name].unavailable(job) is not None:
        pytest.skip(str(FORMATS[name].unavailable(job)))
    (paths,) = export_files(job, {name: FORMATS[name]}, tmp_path).values()
    before = {path.name: path.read_bytes() for path in paths}
    with small_files(100), pytest.raises(CovidLesionSegError) as caught:
        export_files(job, {name: FORMATS[name]}, tmp_path, force=True)
    assert caught.value.code == "output-not-written"
    assert caught.value.hint
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_is_said_plainly(
    job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pydicom.Dataset.save_as", full)
    with pytest.raises(CovidLesionSegError) as caught:
        export_files(job, {"dicom-seg": FORMATS["dicom-seg"]}, tmp_path)
    assert "No space left" in caught.value.message
    assert names(tmp_path) == []


def test_a_folder_that_must_not_be_written_to(
    job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # Permissions don't bind the superuser, as which containers often run: hence a stand-in.
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(InputError) as caught:
        export_files(job, {"text": text_format("x")}, tmp_path / "out")
    assert caught.value.code == "output-not-writable"


@pytest.mark.skipif(IS_SUPERUSER, reason="permissions don't bind the superuser")
def test_a_read_only_folder(job: ExportJob, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(InputError) as caught:
            export_files(job, {"text": text_format("x")}, tmp_path)
        assert caught.value.code == "output-not-writable"
    finally:
        tmp_path.chmod(0o755)


def test_a_folder_that_is_a_file(job: ExportJob, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError) as caught:
        export_files(job, {"text": text_format("x")}, tmp_path / "out")
    assert caught.value.code == "output-not-writable"


def refuse_links(*_arguments: object, **_options: object) -> None:
    """As file systems without links do."""
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("with_links", [True, False])
def test_a_file_open_elsewhere_puts_all_back(
    with_links: bool, job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses to replace a file that another program holds open."""
    if not with_links:
        monkeypatch.setattr(os, "link", refuse_links)
    for name in ("a.txt", "covid-lesion-seg.txt"):
        (tmp_path / name).write_text("old")
    move = Path.replace

    def replace_unless_open(self: Path, target: Path) -> Path:
        if tmp_path / "covid-lesion-seg.txt" in (self, target):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return move(self, target)

    monkeypatch.setattr(Path, "replace", replace_unless_open)
    with pytest.raises(CovidLesionSegError) as caught:
        export_files(job, {"text": text_format("new", "a.txt", "b.txt")}, tmp_path, force=True)
    assert caught.value.code == "output-not-written"
    assert names(tmp_path) == ["a.txt", "covid-lesion-seg.txt"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}


def test_the_name_of_an_old_file_is_never_without_a_file(
    job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever a kill comes, the old file or the new one is there."""
    old = tmp_path / "covid-lesion-seg.txt"
    old.write_text("old")
    move = Path.replace
    seen = []

    def look(self: Path, target: Path) -> Path:
        seen.append(old.read_text())
        return move(self, target)

    monkeypatch.setattr(Path, "replace", look)
    export_files(job, {"text": text_format("new")}, tmp_path, force=True)
    assert seen == ["old"]
    assert old.read_text() == "new"


@pytest.mark.parametrize("stem", ["", "sub/x", "../x", "sub\\x", "C:x"])
def test_a_name_with_a_folder_in_it_is_refused(stem: str, job: ExportJob, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        export_files(job, {"text": text_format("x")}, tmp_path / "out", stem)
    assert caught.value.code == "export-name"
    assert names(tmp_path) == []


_KILLED = """
import signal, sys, time
from pathlib import Path
from CovidLesionSegLib.export.formats import ExportFormat
from CovidLesionSegLib.export.publish import export_files

# A shell that starts this in the background has it ignore interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

def write(job, path):
    path.write_text("half")
    sys.stdout.write("writing\\n")
    sys.stdout.flush()
    time.sleep(60)

class Job:
    unnamed = None

export_files(Job(), {"text": ExportFormat("Text", ".txt", write)}, Path(sys.argv[1]), force=True)
"""


@pytest.mark.parametrize("how", POSIX_SIGNALS)
def test_a_kill_while_writing_leaves_the_old_file(how: str, tmp_path: Path) -> None:
    old = tmp_path / "covid-lesion-seg.txt"
    old.write_text("old")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n"
        child.send_signal(getattr(signal, how))
        child.wait(timeout=30)
    assert old.read_text() == "old"
    visible = [name for name in names(tmp_path) if not name.startswith(".")]
    assert visible == ["covid-lesion-seg.txt"]
    if how == "SIGINT":
        assert names(tmp_path) == visible
