"""Find the CTs among files, folders, DICOM trees and tables.

What is found is never dropped silently: a file that can't be read, an empty folder or a path
that is not there becomes a case too, and its row in the summary says why it has no result.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from CovidLesionSegLib.engine.dicom import list_series
from CovidLesionSegLib.engine.folders import may_be_file, walk_folders
from CovidLesionSegLib.engine.readers import has_image_suffix
from CovidLesionSegLib.errors import InputError

from .case_files import CASES, MAP_KINDS, RESULT_FILE, WRITERS
from .cases import Case, make_case
from .table import is_table, read_table

_OWN_SUFFIX = ".seg.nrrd"
"""Segmentations lie beside CTs and are none."""

_OWN_MAPS = frozenset(WRITERS[kind][0] for kind in MAP_KINDS)
"""Nor are the maps of an earlier result, which `result.json` beside them tells."""


@dataclass(frozen=True)
class FoundCases:
    """The cases of a batch.

    Attributes:
        cases: In the order of finding, each once.
        repeated: How many further mentions of them there were.
    """

    cases: tuple[Case, ...]
    repeated: int


def find_cases(
    inputs: Sequence[Path], *, keep_names: bool = False, exclude: Path | None = None
) -> FoundCases:
    """Find all cases.

    Args:
        inputs: Image files, DICOM files (each stands for its series), folders of such at any
            depth, or tables (``.csv``) of such.
        keep_names: See `make_case`.
        exclude: The folder of the results, which is not searched; where the CTs themselves lie
            in it, only its cases are not.

    Raises:
        InputError: ``batch-nothing``, ``batch-table``, or ``batch-case-id`` for two cases of
            one name.
    """
    finder = _Finder(keep_names, exclude.resolve() if exclude else None)
    found: dict[str, Case] = {}
    mentions = 0
    for source in inputs:
        for case in finder.cases_of(source):
            mentions += 1
            other = found.setdefault(case.key, case)
            _check_one_name(other, case, keep_names=keep_names)
    if not found:
        raise InputError("batch-nothing", "No CT was named.", "Name files or folders.")
    _check_names(found.values())
    return FoundCases(tuple(found.values()), mentions - len(found))


def _check_one_name(one: Case, other: Case, *, keep_names: bool) -> None:
    """Refuse two names that a table gives one file; one that only follows from it gives way."""
    own = make_case(other.path, other.series_instance_uid, keep_name=keep_names).id
    if one.id != other.id and own not in (one.id, other.id):
        raise InputError(
            "batch-case-id",
            f"One file has two names, {one.id!r} and {other.id!r}.",
            "Name every file once.",
        )


def _check_names(cases: Iterable[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        # Some file systems do not tell upper from lower case.
        other = seen.setdefault(case.id.lower(), case)
        if other is not case:
            raise InputError(
                "batch-case-id",
                f"Two cases have the name {case.id!r}.",
                "Give every row of the table a name of its own, or leave the column out.",
            )


@dataclass(frozen=True)
class _Finder:
    keep_names: bool
    exclude: Path | None

    def cases_of(self, source: Path) -> Iterator[Case]:
        """Yield the cases of one input; one that holds none is a case that will fail."""
        if is_table(source):
            for row in read_table(source):
                if row.case or row.series_instance_uid:
                    yield self._named(row.path, row.series_instance_uid, row.case)
                else:
                    yield from self.cases_of(row.path)
        elif _is_folder(source):
            cases = list(self._below(source))
            yield from cases or [self._case(source)]
        elif may_be_file(source) and not has_image_suffix(source):
            series, _ = list_series([source])
            uid = series[0] if series else ""
            yield self._case(source.parent if uid else source, uid)
        else:
            yield self._case(source)

    def _case(self, path: Path, series_instance_uid: str = "") -> Case:
        return make_case(path, series_instance_uid, keep_name=self.keep_names)

    def _named(self, path: Path, series_instance_uid: str, name: str) -> Case:
        if not name:
            return self._case(path, series_instance_uid)
        return Case(name, path.absolute(), series_instance_uid, anonymous=not self.keep_names)

    def _below(self, root: Path) -> Iterator[Case]:
        exclude = self._exclude_below(root)
        series: dict[str, Path] = {}
        forbidden: list[Path] = []

        def note(error: OSError) -> None:
            forbidden.append(Path(str(error.filename)))

        for folder, subfolders, names in walk_folders(root, note):
            subfolders[:] = [sub for sub in subfolders if _is_searched(folder / sub, exclude)]
            ours = _OWN_MAPS if RESULT_FILE in names else frozenset()
            files = [folder / it for it in names if not it.startswith(".") and it not in ours]
            if not files and not subfolders:
                yield self._case(folder)  # most often a copy or an export that failed
            yield from (self._case(file) for file in files if _is_image(file) or _is_broken(file))
            others = (file for file in files if not has_image_suffix(file) and may_be_file(file))
            in_folder, damaged = list_series(others)
            for uid in in_folder:
                common = os.path.commonpath((folder, series.get(uid, folder)))
                series[uid] = Path(common)
            if damaged and not in_folder and not subfolders:
                yield self._case(folder)
        yield from (self._case(folder, uid) for uid, folder in series.items())
        yield from (self._case(folder) for folder in forbidden)

    def _exclude_below(self, root: Path) -> Path | None:
        if self.exclude is not None and root.resolve().is_relative_to(self.exclude):
            return self.exclude / CASES
        return self.exclude


def _is_searched(folder: Path, exclude: Path | None) -> bool:
    if folder.name.startswith("."):
        return False
    return exclude is None or not folder.resolve().is_relative_to(exclude)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:
        return False  # a case that will say so


def _is_image(file: Path) -> bool:
    return has_image_suffix(file) and not file.name.lower().endswith(_OWN_SUFFIX)


def _is_broken(file: Path) -> bool:
    """Tell a link that leads nowhere, for example into an archive that is not connected."""
    return file.is_symlink() and not file.exists()
