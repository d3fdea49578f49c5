"""The module from a script: one CT, or a folder of them, without a window.

A folder: ``Slicer --no-splash --no-main-window --python-script scripting.py INPUT OUTPUT``,
with the path of this file. Every CT of INPUT (NIfTI, NRRD, MetaImage) gets a folder of its name
in OUTPUT with scene, segmentation and table; one that fails is reported and the next is taken.
Of two files that would share a folder (``a.nii``, ``a.nrrd``) only the first is taken.
The exit code is 0 when all went well and 1 when one failed.
"""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

# By its full name: Slicer runs this file as a script.
from CovidLesionSegLib.app.torchRequirement import requireTorch
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.steps import finish
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.export.tables import TableSource, write_lobes_csv
from CovidLesionSegLib.jobs.runner import run_and_wait
from CovidLesionSegLib.mrml.job_input import writeJobFromScene
from CovidLesionSegLib.mrml.result_import import importSteps
from CovidLesionSegLib.mrml.scene import ResultNodes

_LOG = logging.getLogger(__name__)
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def workerCommand() -> list[str]:
    """Return the command that a job's path is appended to.

    Slicer's own interpreter: it has numpy, scipy, SimpleITK, pydicom, and torch after the
    installation.
    """
    return [shutil.which("PythonSlicer") or sys.executable, "-m", "CovidLesionSegLib.worker"]


def segmentAndWait(
    volumeNode: Any,
    lobesNode: Any | None,
    onProgress: Callable[[str, float], None] | None,
    options: Mapping[str, Any],
) -> tuple[SegmentationResult, ResultNodes]:
    """Segment a CT of the scene and wait; see `CovidLesionSegLogic.segment`."""
    requireTorch()
    folder = Path(slicer.util.tempDirectory("CovidLesionSeg"))
    values = {
        key: str(value) if isinstance(value, Path) else value for key, value in options.items()
    }
    try:
        job = writeJobFromScene(folder, volumeNode, values, lobesNode)
        run_and_wait(workerCommand(), job, onProgress or (lambda _stage, _fraction: None))
        clock = time.strftime("%H:%M:%S")
        run = finish(importSteps(volumeNode.GetScene(), folder, volumeNode, clock))
        return run.result, run.nodes
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def segmentFolder(inputFolder: Path, outputFolder: Path) -> dict[str, str]:
    """Segment every CT of a folder; returns the message of each that failed, by file name."""
    failures = {}
    sources: dict[str, Path] = {}
    for path in sorted(inputFolder.iterdir()):
        if not path.name.lower().endswith(_SUFFIXES):
            continue
        name = _caseName(path)
        try:
            if name.lower() in sources:  # Windows and macOS tell no capitals apart
                raise _sameFolder(name, sources[name.lower()])
            sources[name.lower()] = path
            _segmentFile(path, outputFolder / name)
            _LOG.info("%s: done", path.name)
        except (CovidLesionSegError, OSError, RuntimeError) as error:
            failures[path.name] = str(error)
            _LOG.error("%s: %s", path.name, error)
    return failures


def _caseName(path: Path) -> str:
    """Return a file's name without its suffix; UIDs and versions have dots of their own."""
    suffix = next(suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix))
    return path.name[: -len(suffix)] or path.name


def _sameFolder(name: str, other: Path) -> InputError:
    return InputError(
        "case-name-taken",
        _("The folder '{name}' already holds the result of {other}.").format(
            name=name, other=other.name
        ),
        _("Give the file another name."),
    )


def _segmentFile(path: Path, folder: Path) -> None:
    slicer.mrmlScene.Clear(0)
    node = slicer.util.loadVolume(str(path))
    result, nodes = segmentAndWait(node, None, None, {})
    folder.mkdir(parents=True, exist_ok=True)
    slicer.util.saveNode(nodes.segmentation, str(folder / "segmentation.seg.nrrd"))
    source = TableSource.of(result)
    write_lobes_csv(folder / "lobes.csv", result.quantification, result.run, source)
    slicer.util.saveScene(str(folder / "scene.mrb"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    failed = segmentFolder(Path(sys.argv[-2]), Path(sys.argv[-1]))
    slicer.util.exit(1 if failed else 0)
