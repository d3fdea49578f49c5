"""One training in several processes: who starts them, who acts first, who decides.

Lightning Fabric joins what ``torchrun`` or SLURM has started, and starts a process per GPU itself.
Files are the first process's business; whatever may differ between processes, as clocks and
signals do, is decided by the first one for all, since a process that waits for a checkpoint while
another waits for its gradients waits for ever.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from CovidLesionSegLib.errors import CovidLesionSegError, InputError

_PATIENCE = timedelta(hours=24)
"""How long processes wait for the first one, which prepares the cases and validates."""

Made = TypeVar("Made")


def layout(devices: str) -> tuple[int, int]:
    """Return the number of processes on this machine, and the number of machines.

    Args:
        devices: Fabric's accelerator. Without a launcher there is one process per GPU.

    Raises:
        InputError: ``training-processes-uneven``.
    """
    if TorchElasticEnvironment.detect():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return _even(TorchElasticEnvironment().world_size(), here)
    if SLURMEnvironment.detect():
        tasks = SLURMEnvironment().world_size()
        return _even(tasks, tasks // int(os.environ.get("SLURM_NNODES", "1")))
    return max(1, torch.cuda.device_count()) if devices in ("auto", "cuda", "gpu") else 1, 1


def _even(processes: int, here: int) -> tuple[int, int]:
    if here < 1 or processes % here:
        raise InputError(
            "training-processes-uneven",
            f"{processes} processes can't be spread evenly with {here} on this machine.",
            "Start the same number of processes on every machine.",
        )
    return here, processes // here


def open_fabric(devices: str, precision: str, logs: Path | None = None) -> Fabric:
    """Start or join the processes of a training.

    Args:
        devices: Fabric's accelerator: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: Fabric's name of it.
        logs: Run folder to log to; only the first process does.

    Raises:
        InputError: ``training-device`` where there is no such device, or too few of them;
            ``training-processes-uneven``.
    """
    here, machines = layout(devices)
    several = here * machines > 1
    logger = None if logs is None else TensorBoardLogger(logs, name="tensorboard", version="")
    try:
        fabric = Fabric(
            accelerator=devices,
            strategy=DDPStrategy(timeout=_PATIENCE) if several else "auto",
            devices=here,
            num_nodes=machines,
            precision=precision,  # type: ignore[arg-type]
            loggers=logger,
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(
            "training-device",
            f"{here} processes on {devices!r} with the precision {precision!r} can't be started: "
            f"{error}",
            "Choose --devices cpu, or fewer processes.",
        ) from error
    fabric.launch()
    return fabric


def require_one_process(fabric: Fabric, what: str) -> None:
    """Refuse what can't be spread over processes.

    Raises:
        InputError: ``training-one-process``.
    """
    if fabric.world_size > 1:
        raise InputError(
            "training-one-process",
            f"{what} runs in one process, not in {fabric.world_size}.",
            "Start the command without torchrun, on the CPU or with one visible GPU.",
        )


def first_then_others(fabric: Fabric, action: Callable[[], Made]) -> Made:
    """Let the first process act before the others do the same and find its files.

    Args:
        fabric: The processes.
        action: Returns something other than None.

    Raises:
        CovidLesionSegError: What the first process met, in every process.
    """
    made: Made | None = None
    failure: CovidLesionSegError | None = None
    if fabric.is_global_zero:
        try:
            made = action()
        except CovidLesionSegError as error:
            failure = error
    failure = fabric.broadcast(failure)
    if failure is not None:
        raise failure
    return action() if made is None else made


def decided_by_first(fabric: Fabric, *choices: bool) -> tuple[bool, ...]:
    """Return the choices of the first process in every process."""
    return fabric.broadcast(choices)
