"""Files that are either complete or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from CovidLesionSegLib.errors import CovidLesionSegError, InputError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new path beside the target, and move it over the target at the end.

    A failure, a cancel or a kill leaves the old file as it was; only a kill leaves the new one
    behind, under a hidden name. The name ends like the target's, because writers choose the
    format by it.

    Args:
        path: The file to write; its folder is made when it is missing.

    Raises:
        CovidLesionSegError: ``output-not-written`` when the disk is full, the folder is
            read-only or the old file is open elsewhere.
    """
    target = Path(path)
    partial = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A folder that refuses files says so here, in words; writers like ITK's say less.
        partial.touch()
        partial.unlink()
        yield partial
        partial.replace(target)
    except OSError as error:
        raise CovidLesionSegError(
            "output-not-written",
            f"{target.name} could not be written: {error.strerror or error}.",
            "Choose a folder that you may write to and that has space left, and close the file "
            "in other programs.",
        ) from error
    finally:
        # A folder that can't be written to has nothing to clean up.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def staged(folder: Path, publish: Callable[[Path, Path], None]) -> Iterator[Path]:
    """Yield a temporary folder inside a folder, and hand both to ``publish`` at the end.

    When the block or ``publish`` raises, the temporary folder is removed, and the folders that
    were made for it too.

    Args:
        folder: Where the files shall end; made when it is missing.
        publish: Moves the files from the temporary folder (first) into the folder (second).

    Raises:
        InputError: ``output-not-writable``.
    """
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    except OSError as error:
        raise InputError(
            "output-not-writable",
            f"The output folder {folder} can't be written: {error.strerror}.",
            "Choose another folder.",
        ) from error
    try:
        yield staging
        publish(staging, folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        # The folder may have gone meanwhile, with its disk; what went wrong is still told.
        with contextlib.suppress(OSError):
            for parent in made:
                if not any(parent.iterdir()):
                    parent.rmdir()
        raise
    shutil.rmtree(staging, ignore_errors=True)
