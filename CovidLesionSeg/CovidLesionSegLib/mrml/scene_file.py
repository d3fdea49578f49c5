"""``scene.mrb``, written by a process of its own.

`write_scene` needs nothing of Slicer in this process: a crash, a leak or a message of VTK stays
in the child, and the other outputs of a run are safe. The child gets an outline of the result
through a pipe and makes the scene; the voxels, which other files hold as well, are compressed
here and put into the bundle.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.packed import PackedResult

from .scene_bundle import fill_bundle, is_complete_bundle
from .scene_outline import SceneOutline

_LOG = logging.getLogger(__name__)
_CHILD = "CovidLesionSegLib.mrml.scene_child"
_TIMEOUT_S = 600.0
_POLL_S = 0.1


def scene_support() -> bool:
    """Return whether the MRML classes of Slicer are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("slicer", "vtk"))


def write_scene(
    path: str | os.PathLike[str],
    result: SegmentationResult,
    timeout_s: float = _TIMEOUT_S,
    stop: threading.Event | None = None,
    packed: PackedResult | None = None,
) -> None:
    """Write CT, segmentation, maps, table and views as one file that 3D Slicer opens.

    Args:
        path: File to write, ending in ``.mrb``.
        result: The result.
        timeout_s: After this many seconds the writer counts as stuck.
        stop: Ends the writer when it is set from another thread.
        packed: The result's voxels, if they are being compressed already; saves time.

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
    name = Path(path).name
    # MRML refuses relative paths, writes nothing where a folder has brackets in its name, and
    # names the content after the file: give it a plain folder of its own.
    with (
        atomic_path(path) as partial,
        tempfile.TemporaryDirectory(prefix="scene-") as folder,
        tempfile.TemporaryFile() as messages,
        nullcontext(packed) if packed is not None else PackedResult(result) as voxels,
    ):
        scene = Path(folder) / name
        code = _run_child(scene, result, messages, timeout_s, stop or threading.Event())
        messages.seek(0)
        text = messages.read().decode(errors="replace").strip()
        if text:
            _LOG.log(logging.ERROR if code else logging.WARNING, "Scene writer: %s", text)
        if code or not is_complete_bundle(scene):
            raise _not_written()
        try:
            fill_bundle(scene, partial, result, voxels)
        except KeyError as error:
            raise _not_written() from error


def _not_written() -> CovidLesionSegError:
    return CovidLesionSegError(
        "scene-not-written",
        "The scene for 3D Slicer could not be written.",
        "The other files hold the same result; segmentation.seg.nrrd opens in 3D Slicer "
        "together with the CT.",
    )


def _run_child(
    path: Path,
    result: SegmentationResult,
    messages: IO[bytes],
    timeout_s: float,
    stop: threading.Event,
) -> int:
    """Write the scene in a child process; returns its exit code, not zero when killed."""
    package_folder = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, (package_folder, os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        [sys.executable, "-m", _CHILD, str(path)],
        stdin=subprocess.PIPE,
        stdout=messages,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": search_path},
    ) as child:
        # Not a time-out of wait: a stuck child may block the sending already.
        ended = threading.Event()
        watchdog = threading.Thread(
            target=_kill_in_time, args=(child, timeout_s, stop, ended), daemon=True
        )
        watchdog.start()
        try:
            _send(child, result)
            return child.wait()
        except BaseException:
            child.kill()
            raise
        finally:
            ended.set()


def _kill_in_time(
    child: subprocess.Popen[bytes], timeout_s: float, stop: threading.Event, ended: threading.Event
) -> None:
    """Kill a child that takes too long, or that nobody wants any more."""
    deadline = time.monotonic() + timeout_s
    while not ended.wait(_POLL_S):
        if stop.is_set() or time.monotonic() > deadline:
            child.kill()
            return


def _send(child: subprocess.Popen[bytes], result: SegmentationResult) -> None:
    if child.stdin is None:
        raise ValueError("the child has no standard input")
    try:
        with child.stdin as pipe:
            pickle.dump(SceneOutline.of(result), pipe, protocol=5)
    except OSError:
        # The child has gone; its exit code says more than the broken pipe.
        _LOG.debug("The scene writer ended before it had read the outline.")
