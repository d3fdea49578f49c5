"""``scene.mrb``, written by a process of its own.

`write_scene` needs nothing of Slicer in this process: a crash, a leak or a message of VTK stays
in the child, and the other outputs of a run are safe. The result travels through a pipe, so
that no copy of the CT lies on the disk.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.atomic import atomic_path

_LOG = logging.getLogger(__name__)
_CHILD = "CovidLesionSegLib.mrml.scene_child"
_TIMEOUT_S = 600.0


def scene_support() -> bool:
    """Return whether the MRML classes of Slicer are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("slicer", "vtk"))


def write_scene(
    path: str | os.PathLike[str], result: SegmentationResult, timeout_s: float = _TIMEOUT_S
) -> None:
    """Write CT, segmentation, maps, table and views as one file that 3D Slicer opens.

    Args:
        path: File to write, ending in ``.mrb``.
        result: The result.
        timeout_s: After this many seconds the writer counts as stuck.

    Raises:
        CovidLesionSegError: ``mrml-extra-missing`` without slicer-core,
            ``scene-not-written`` when it fails, ``output-not-written`` when the folder can't
            be written to.
    """
    if not scene_support():
        raise CovidLesionSegError(
            "mrml-extra-missing",
            "The scene for 3D Slicer can't be written, because the MRML classes are not installed.",
            'Install them with: pip install "CovidLesionSegLib[mrml]"',
        )
    with atomic_path(path) as partial, tempfile.TemporaryFile() as messages:
        _run_child(partial, result, messages, timeout_s)


def _run_child(
    path: Path, result: SegmentationResult, messages: IO[bytes], timeout_s: float
) -> None:
    package_folder = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, (package_folder, os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        [sys.executable, "-m", _CHILD, str(path)],
        stdin=subprocess.PIPE,
        stdout=messages,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": search_path},
    ) as child:
        try:
            code = _feed(child, result, timeout_s)
        except BaseException:
            child.kill()
            raise
    messages.seek(0)
    text = messages.read().decode(errors="replace").strip()
    if text:
        _LOG.log(logging.ERROR if code else logging.DEBUG, "Scene writer: %s", text)
    if code or not path.is_file():
        raise CovidLesionSegError(
            "scene-not-written",
            "The scene for 3D Slicer could not be written.",
            "The other files hold the same result; segmentation.seg.nrrd opens in 3D Slicer "
            "together with the CT.",
        )


def _feed(child: subprocess.Popen[bytes], result: SegmentationResult, timeout_s: float) -> int:
    """Send the result and wait; returns the exit code, not zero when the child is stuck."""
    if child.stdin is None:
        raise ValueError("the child has no standard input")
    try:
        with child.stdin as pipe:
            pickle.dump(result, pipe, protocol=5)
    except BrokenPipeError:
        _LOG.debug("The scene writer ended before it had read the result.")
    try:
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait() or 1
