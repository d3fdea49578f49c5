"""All folders below one, also those behind links, each once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk_folders(
    root: Path, onerror: Callable[[OSError], None]
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield every folder at or below ``root`` as ``os.walk`` does, in the order of their names.

    Archives are often arranged by links, so these are followed. One that leads to a folder that
    was searched already, or to one that holds ``root``, is not: it goes round in a circle.

    Args:
        root: Where to begin.
        onerror: Told of a folder that can't be read; what it raises ends the walk.

    Yields:
        A folder, its subfolders and its files, sorted. The caller may remove subfolders.
    """
    start = os.path.realpath(root)
    searched = {start}

    def is_new(path: Path) -> bool:
        real = os.path.realpath(path)
        if real in searched or Path(start).is_relative_to(real):
            return False
        searched.add(real)
        return True

    for name, subfolders, files in os.walk(root, onerror=onerror, followlinks=True):
        folder = Path(name)
        subfolders.sort()
        yield folder, subfolders, sorted(files)
        subfolders[:] = [sub for sub in subfolders if is_new(folder / sub)]


def may_be_file(path: Path) -> bool:
    """Tell whether a path is a regular file, or lies where nobody may look.

    In the second case opening it tells; a folder or a pipe, which would wait for ever, is none.
    """
    try:
        return path.is_file()
    except PermissionError:
        return True
