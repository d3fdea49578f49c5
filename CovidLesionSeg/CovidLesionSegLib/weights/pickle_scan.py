"""What a pickle would call if it were executed, found without executing it.

`torch.load(weights_only=True)` is what keeps code from running. This only tells the user
why a file was refused: because it holds code, and whose, or because it is damaged.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# What a plain state dict needs.
_HARMLESS = re.compile(
    r"collections\.OrderedDict|torch(\.cuda)?\.\w+Storage|torch\.storage\.\w+Storage"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter)|torch\.Size"
)
# The format before PyTorch 1.6: three pickles of constants, the object, its storage keys.
_LEGACY_PICKLES = 5


def foreign_names(path: Path) -> tuple[str, ...]:
    """Return the functions and classes in a checkpoint that a state dict has no use for.

    Args:
        path: A checkpoint written by ``torch.save``, or any other file.

    Returns:
        Dotted names in order of appearance; empty for anything that is not a pickle.
    """
    names: dict[str, None] = {}
    try:
        for name in _global_names(path):
            if not _HARMLESS.fullmatch(name):
                names[name] = None
    except (ValueError, OSError, IndexError, zipfile.BadZipFile, NotImplementedError):
        # A damaged or foreign file; what was found before it broke off still counts.
        pass
    return tuple(names)


def _global_names(path: Path) -> Iterator[str]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(".pkl"):
                    with archive.open(member) as stream:
                        yield from _names_in_pickle(stream)
        return
    with path.open("rb") as stream:
        for _ in range(_LEGACY_PICKLES):
            yield from _names_in_pickle(stream)


def _names_in_pickle(stream: IO[bytes]) -> Iterator[str]:
    recent: list[str] = []
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(recent[-2:])
        elif isinstance(argument, str):
            recent.append(argument)
