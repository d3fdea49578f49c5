"""Everything one run writes, into one folder, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

from CovidLesionSegLib.engine.atomic import staged
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.result_json import result_to_json
from CovidLesionSegLib.engine.writers import write_map
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.overview import write_overview
from CovidLesionSegLib.export.seg_nrrd import write_segmentation
from CovidLesionSegLib.export.tables import TableSource, write_lobes_csv

RESULT_FILE = "result.json"


def _write_boundary(path: Path, result: SegmentationResult) -> None:
    if result.prediction.boundary is not None:
        write_map(path, result.prediction.boundary, result.ct)


def _write_agreement(path: Path, result: SegmentationResult) -> None:
    if result.prediction.agreement is not None:
        write_map(path, result.prediction.agreement, result.ct)


def _write_scene(path: Path, result: SegmentationResult) -> None:
    from CovidLesionSegLib.mrml.scene_file import write_scene

    write_scene(path, result)


_WRITERS: Mapping[str, tuple[str, Callable[[Path, SegmentationResult], object]]] = {
    "segmentation": ("segmentation.seg.nrrd", write_segmentation),
    "probability": (
        "probability.nii.gz",
        lambda path, result: write_map(path, result.prediction.infection, result.ct),
    ),
    "boundary": ("boundary.nii.gz", _write_boundary),
    "agreement": ("agreement.nii.gz", _write_agreement),
    "table": (
        "lobes.csv",
        lambda path, result: write_lobes_csv(
            path, result.quantification, result.run, TableSource.of(result)
        ),
    ),
    "overview": ("overview.png", write_overview),
    "scene": ("scene.mrb", _write_scene),
}
"""File name and writer by kind, in the order of writing."""

_OPTIONAL = {"scene": ("mrml-extra-missing", "scene-not-written")}
"""Kinds that may be left out, with the error codes that permit it."""


def staging_folder(folder: Path) -> AbstractContextManager[Path]:
    """Yield a temporary folder whose files move into ``folder`` at the end.

    When the block raises, ``folder`` is as it was, also if it did not exist.

    Raises:
        InputError: ``output-not-writable``.
    """
    return staged(folder, _publish)


def _publish(staging: Path, folder: Path) -> None:
    """Put the new files in the place of an earlier run's.

    `result.json` goes first and comes last: where it stands, everything it names is of the
    same run. What the new run did not write is not left behind from the old one.
    """
    ours = [RESULT_FILE, *(name for name, _ in _WRITERS.values())]
    for name in ours:
        if name == RESULT_FILE or not (staging / name).exists():
            (folder / name).unlink(missing_ok=True)
    for name in reversed(ours):
        if (staging / name).exists():
            (staging / name).replace(folder / name)


class _ProbeError(Exception):
    """Ends a trial of the output folder."""


def require_writable(folder: Path) -> None:
    """Find out before a long run whether its results can be written; leaves no trace.

    Raises:
        InputError: ``output-not-writable``.
    """
    with suppress(_ProbeError), staging_folder(folder):
        raise _ProbeError


def write_outputs(
    result: SegmentationResult, folder: Path, reporter: Reporter | None = None
) -> tuple[SegmentationResult, dict[str, Path]]:
    """Write segmentation, maps, table, picture, scene and `result.json`.

    Args:
        result: What to write.
        folder: Where to; files of an earlier run with the same names are replaced.
        reporter: Progress and cancel.

    Returns:
        The result, with a warning added for every file that had to be left out, and the
        written paths by kind.
    """
    reporter = reporter or Reporter()
    names: dict[str, str] = {}
    with staging_folder(folder) as staging, reporter.stage("write"):
        for done, (kind, (name, write)) in enumerate(_WRITERS.items()):
            reporter.advance(done, len(_WRITERS) + 1)
            try:
                write(staging / name, result)
            except CovidLesionSegError as error:
                if error.code not in _OPTIONAL.get(kind, ()):
                    raise
                result = replace(result, warnings=(*result.warnings, str(error)))
                continue
            if (staging / name).exists():
                names[kind] = name
        names["result"] = RESULT_FILE
        (staging / RESULT_FILE).write_text(result_to_json(result, names), encoding="utf-8")
    return result, {kind: folder / name for kind, name in names.items()}
