"""Tables of cases: the CSV a user gives, and the key that a batch keeps."""

from __future__ import annotations

import csv
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.errors import InputError

from .cases import Case

COLUMNS = ("case", "path", "series_instance_uid")
_STAMP = "file_stamp"
"""Further column of the key."""

_VOXELS = {
    ".mhd": (".raw", ".zraw"),
    ".nhdr": (".raw", ".raw.gz", ".gz"),
    ".hdr": (".img", ".img.gz"),
}
"""Where the voxels usually are that belong to a header."""

_CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class TableRow:
    """One row of a table of cases.

    Attributes:
        path: File or folder; a relative one counts from the table's folder.
        case: Name to use for it; may be empty.
        series_instance_uid: The DICOM series to read; may be empty.
        stamp: `file_stamp` of the file when it was written into the key.
    """

    path: Path
    case: str = ""
    series_instance_uid: str = ""
    stamp: str = ""

    def as_case(self) -> Case:
        """Return the case that the row names."""
        return Case(self.case, self.path, self.series_instance_uid)


def is_table(path: Path) -> bool:
    """Tell whether an input is a table of cases."""
    return path.suffix.lower() == ".csv"


def read_table(path: Path) -> tuple[TableRow, ...]:
    """Read a CSV with a column ``path`` and, if wanted, ``case`` and ``series_instance_uid``.

    Comma or semicolon; further columns are left alone.

    Raises:
        InputError: ``batch-table``.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except FileNotFoundError as error:
        raise _refused(path, "there is no such file") from error
    except OSError as error:
        raise _refused(path, "it can't be read") from error
    header = lines[0] if lines else ""
    reader = csv.DictReader(lines, delimiter=";" if ";" in header else ",")
    if "path" not in (reader.fieldnames or ()):
        raise _refused(path, "its first line names no column 'path'")
    rows = []
    for number, row in enumerate(reader, start=2):
        values = [(row.get(column) or "").strip() for column in COLUMNS]
        name, file, uid = values
        if name and not _CASE_NAME.fullmatch(name):
            raise _refused(path, f"the case in line {number} is no plain name")
        if file:
            rows.append(TableRow(path.parent / file, name, uid, row.get(_STAMP) or ""))
    return tuple(rows)


def read_key(path: Path) -> dict[str, TableRow]:
    """Return the rows of a batch's key by case; none before its first run.

    Raises:
        InputError: ``batch-table``.
    """
    return {row.case: row for row in read_table(path)} if path.exists() else {}


def file_stamp(path: Path) -> str:
    """Return what tells that a file was replaced: its size and time of change.

    A header with its voxels in another file has those of both. Empty for a folder, whose series
    has an identity of its own, and for what is not there.
    """
    try:
        files = [path, *(path.with_suffix(end) for end in _VOXELS.get(path.suffix.lower(), ()))]
        states = [path.stat(), *(file.stat() for file in files[1:] if file.is_file())]
    except OSError:
        return ""
    if not stat.S_ISREG(states[0].st_mode):
        return ""
    return " ".join(f"{state.st_size}-{state.st_mtime_ns}" for state in states)


def write_key(path: Path, cases: Iterable[Case]) -> None:
    """Write which case is which file; the same form that `read_table` reads.

    Cases of an earlier run that are not among these keep their rows.
    """
    rows = read_key(path)
    for case in cases:
        known = rows[case.id].stamp if case.id in rows else ""
        stamp = file_stamp(case.path) or known  # an archive may be away for a while
        rows[case.id] = TableRow(case.path, case.id, case.series_instance_uid, stamp)
    # Linux takes file names that are no UTF-8; they come back as they went.
    with (
        atomic_path(path) as partial,
        partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*COLUMNS, _STAMP))
        writer.writerows(
            (row.case, str(row.path), row.series_instance_uid, row.stamp) for row in rows.values()
        )


def _refused(path: Path, reason: str) -> InputError:
    return InputError(
        "batch-table",
        f"The table {path.name} can't be used: {reason}.",
        "A table is a CSV file in UTF-8 whose first line names the column 'path' and, if wanted, "
        "'case' (letters, digits, '.', '_', '-') and 'series_instance_uid'.",
    )
