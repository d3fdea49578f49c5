"""Choosing the device a network runs on."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from CovidLesionSegLib.errors import InputError

_NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_device_name(name: str) -> None:
    """Refuse a device name that means nothing; needs no torch.

    Raises:
        InputError: ``device-unknown``.
    """
    if not _NAMES.fullmatch(name):
        raise InputError(
            "device-unknown", f"There is no device {name!r}.", "Use auto, cpu, cuda:N or mps."
        )


def resolve_device(name: str) -> str:
    """Return the device to use: ``"cpu"``, ``"cuda:N"`` or ``"mps"``.

    Args:
        name: ``"auto"`` takes the first CUDA device and else the CPU; ``"mps"`` is used only
            when asked for, because some operations are missing there.

    Raises:
        InputError: ``device-unknown`` for a name that means nothing, ``device-missing`` for
            a device that this machine has not.
    """
    check_device_name(name)
    import torch

    if name == "cpu":
        return "cpu"
    if name == "mps":
        if torch.backends.mps.is_available():
            return "mps"
        raise InputError("device-missing", "This computer has no 'mps' device.", "Use auto or cpu.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if count else "cpu"
    number = int(name.partition(":")[2] or 0)
    if number >= count:
        raise InputError(
            "device-missing",
            f"This computer has no device {name!r}; torch sees {count} CUDA device(s).",
            "Use auto or cpu.",
        )
    return f"cuda:{number}"


def half_precision(device: str) -> AbstractContextManager[Any]:
    """Return a context in which networks compute in 16 bits, where the device is made for it.

    That is a CUDA device: in bfloat16 where it has that, which like float32 can't overflow,
    else in float16. A CPU without matrix units would only be slower, so there and on MPS
    nothing changes.
    """
    if not device.startswith("cuda"):
        return nullcontext()
    import torch

    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.autocast("cuda", dtype=dtype)


def use_all_cores() -> None:
    """Let torch use every core this process may run on, unless the user said otherwise."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ and hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(max(len(os.sched_getaffinity(0)), 1))
