"""Files that are either complete or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from CovidLesionSegLib.errors import CovidLesionSegError


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
