"""Reading published checkpoints as plain tensors; nothing in them is ever executed."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CovidLesionSegLib.errors import CovidLesionSegError, InputError

from .pickle_scan import foreign_names
from .tensorfile import looks_like_tensor_file

if TYPE_CHECKING:
    from torch import Tensor

# Under these names training scripts keep the state dict, beside epoch and optimiser.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")
_MAX_WRAPPERS = 3
_AGAIN = "Get the file again from where it was published."
# Before these, a crafted file could run code or corrupt memory even with `weights_only`:
# CVE-2025-32434 (fixed in 2.6) and CVE-2026-24747 (fixed in 2.10).
_SAFE_TORCH = (2, 10)
# A member that only the archive of a compiled TorchScript program has.
_PROGRAM_MEMBER = "constants.pkl"


def is_tensor_file(path: Path) -> bool:
    """Say whether ``path`` looks like a safetensors file, whatever its name.

    Raises:
        InputError: ``checkpoint-unreadable`` or ``checkpoint-empty``.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise InputError(
            "checkpoint-unreadable", f"The file {path} can't be read: {error.strerror}."
        ) from error
    if not head:
        raise InputError("checkpoint-empty", f"The file {path} is empty.", _AGAIN)
    return looks_like_tensor_file(head)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a file written by ``torch.save``.

    A wrapping table such as ``{"state_dict": ..., "epoch": ...}`` is unwrapped.

    Raises:
        InputError: ``checkpoint-damaged``, ``checkpoint-unsafe`` for a file that wants to
            run code, ``checkpoint-not-tensors``, ``checkpoint-empty``.
        CovidLesionSegError: ``checkpoint-old-torch``: this PyTorch can't open such a file
            without risk.
    """
    _require_safe_torch()
    state = _unwrapped(_load(path))
    if not isinstance(state, Mapping):
        raise _not_tensors(path, f"it holds a value of type {type(state).__name__}")
    if not state:
        raise InputError("checkpoint-empty", f"The file {path} holds no weights.", _AGAIN)
    others = [str(name) for name, value in state.items() if not _is_plain_tensor(name, value)]
    if others:
        raise _not_tensors(path, f"{', '.join(others[:10])} ({len(others)} in all) are not")
    return dict(state)


def _load(path: Path) -> Any:
    import torch

    _check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path) from error
    except Exception as error:  # a damaged file makes the unpickler trip over almost anything
        raise _damaged(path) from error


def _require_safe_torch() -> None:
    import torch

    numbers = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if numbers is None or tuple(map(int, numbers.groups())) < _SAFE_TORCH:
        wanted = ".".join(map(str, _SAFE_TORCH))
        raise CovidLesionSegError(
            "checkpoint-old-torch",
            f"PyTorch {torch.__version__} can't open a checkpoint without the risk that it runs "
            "code.",
            f"Update PyTorch to {wanted} or later, or convert the file to safetensors elsewhere.",
        )


def _check_archive(path: Path) -> None:
    """Refuse programs, and compare the checksums in a zip archive, which torch does not."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            program = any(Path(name).name == _PROGRAM_MEMBER for name in archive.namelist())
            damaged = None if program else archive.testzip()
    except Exception as error:  # zlib, struct, codec and archive errors alike
        raise _damaged(path) from error
    if program:
        raise _unsafe(path, "is a compiled TorchScript program, not plain weights")
    if damaged is not None:
        raise _damaged(path)


def _refused(path: Path) -> InputError:
    """Tell a file with code from one that is merely broken."""
    names = foreign_names(path)
    if not names:
        return _damaged(path)
    return _unsafe(path, f"holds more than weights; opening it would use {', '.join(names[:5])}")


def _unsafe(path: Path, reason: str) -> InputError:
    return InputError(
        "checkpoint-unsafe",
        f"The file {path} {reason}.",
        "It was not opened. Ask its publisher for the plain state dict, or for safetensors.",
    )


def _damaged(path: Path) -> InputError:
    return InputError(
        "checkpoint-damaged", f"The file {path} is incomplete, damaged, or no checkpoint.", _AGAIN
    )


def _not_tensors(path: Path, reason: str) -> InputError:
    return InputError(
        "checkpoint-not-tensors",
        f"The file {path} must hold named tensors and nothing else: {reason}.",
        "Ask its publisher for the plain state dict.",
    )


def _unwrapped(content: Any) -> Any:
    for _ in range(_MAX_WRAPPERS):
        inner = next(
            (
                content[name]
                for name in _WRAPPERS
                if isinstance(content, Mapping) and isinstance(content.get(name), Mapping)
            ),
            None,
        )
        if inner is None:
            break
        content = inner
    return content


def _is_plain_tensor(name: object, value: object) -> bool:
    import torch

    return (
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
        and not value.is_complex()
    )
