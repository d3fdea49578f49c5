"""Everything one run writes, into one folder, all or nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from CovidLesionSegLib.engine.atomic import staged
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.result_json import result_to_json
from CovidLesionSegLib.engine.writers import write_map
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.overview import write_overview
from CovidLesionSegLib.export.packed import PackedResult
from CovidLesionSegLib.export.seg_nrrd import write_segmentation
from CovidLesionSegLib.export.tables import TableSource, write_lobes_csv

from .classes import SEGMENTATION, TABLE

RESULT_FILE = "result.json"


_Writer = Callable[[Path, SegmentationResult, PackedResult], object]


def _map_writer(name: str) -> _Writer:
    """Return a writer for a map that not every model gives."""

    def write(path: Path, result: SegmentationResult, packed: PackedResult) -> None:
        values = getattr(result.prediction, name)
        if values is not None:
            write_map(path, values, result.ct, packed.map(name))

    return write


_WRITERS: Mapping[str, tuple[str, _Writer]] = {
    "overview": ("overview.png", lambda path, result, _packed: write_overview(path, result)),
    "table": (
        "lobes.csv",
        lambda path, result, _packed: write_lobes_csv(
            path, result.quantification, result.run, TableSource.of(result)
        ),
    ),
    "segmentation": (
        "segmentation.seg.nrrd",
        lambda path, result, packed: write_segmentation(path, result, packed.segmentation()),
    ),
    "probability": ("probability.nii.gz", _map_writer("infection")),
    "boundary": ("boundary.nii.gz", _map_writer("boundary")),
    "agreement": ("agreement.nii.gz", _map_writer("agreement")),
}
"""File name and writer by kind, in the order of writing: the picture first, because voxels are
being compressed meanwhile."""

_SCENE_FILE = "scene.mrb"
_SCENE_MAY_FAIL = ("mrml-extra-missing", "scene-not-written")
"""Codes of the errors with which the scene is left out and the run goes on."""


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
    ours = [RESULT_FILE, *(name for name, _ in _WRITERS.values()), _SCENE_FILE, SEGMENTATION, TABLE]
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
        # The scene is made by a process of its own, so the other files need not wait.
        with (
            PackedResult(result) as packed,
            _background_scene(staging / _SCENE_FILE, result, packed) as scene_problem,
        ):
            for done, (kind, (name, write)) in enumerate(_WRITERS.items()):
                reporter.advance(done, len(_WRITERS) + 2)
                write(staging / name, result, packed)
                if (staging / name).exists():
                    names[kind] = name
            reporter.advance(len(_WRITERS), len(_WRITERS) + 2)
            problem = scene_problem()
        if problem is None:
            names["scene"] = _SCENE_FILE
        else:
            result = replace(result, warnings=(*result.warnings, str(problem)))
        names["result"] = RESULT_FILE
        (staging / RESULT_FILE).write_text(result_to_json(result, names), encoding="utf-8")
    return result, {kind: folder / name for kind, name in names.items()}


@contextmanager
def _background_scene(
    path: Path, result: SegmentationResult, packed: PackedResult
) -> Iterator[Callable[[], CovidLesionSegError | None]]:
    """Write the scene while the block runs; the block's end, good or bad, is its end as well.

    Yields:
        Waits for the scene and returns why there is none, None if it is there. Raises what
        is no reason to go on without a scene.
    """
    from CovidLesionSegLib.mrml.scene_file import write_scene

    stop = threading.Event()

    def wait() -> CovidLesionSegError | None:
        try:
            writing.result()
        except CovidLesionSegError as error:
            if error.code not in _SCENE_MAY_FAIL:
                raise
            return error
        return None

    with ThreadPoolExecutor(1, "scene") as background:
        writing = background.submit(write_scene, path, result, stop=stop, packed=packed)
        try:
            yield wait
        finally:
            stop.set()
