"""One batch at a time in a folder."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from CovidLesionSegLib.errors import InputError

LOCK_FILE = ".lock"
_LOG = logging.getLogger(__name__)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process.

    The lock is the operating system's, on an open file: it goes with its process however that
    ends, so a killed batch leaves nothing that a clock or a process number would have to
    disprove. The file's text only says who holds it.

    Raises:
        InputError: ``batch-locked`` when another process holds it, ``output-not-writable``.
    """
    path = folder / LOCK_FILE
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(
            "output-not-writable",
            f"The output folder {folder} can't be written: {error.strerror}.",
            "Choose another folder.",
        ) from error
    with file:
        if not _locked(file):
            raise InputError(
                "batch-locked",
                f"Another batch ({_holder(file)}) is writing into {folder}.",
                "Wait for it to end, or choose another folder.",
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def _holder(file: IO[str]) -> str:
    try:
        file.seek(0)
        return file.read().strip() or "just starting"
    except OSError:  # Windows locks the text as well
        return "see the task manager"


def _locked(file: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        # Without it two batches would only work twice: a case's folder appears as a whole.
        _LOG.warning("The file system of %s has no locks: %s", file.name, error)
    return True
