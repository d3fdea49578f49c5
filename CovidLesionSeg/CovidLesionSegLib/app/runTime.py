"""How long a run will take, from runs that were timed and from nothing else."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from CovidLesionSegLib.resources import resources_dir

from .memory import recall, remember

_RECORD = "run-times.json"
_MEMORY = "RunTimes"


@dataclass(frozen=True)
class RunTime:
    """A time to expect.

    Attributes:
        seconds: For the CT that was asked about.
        machine: What was timed, in words; empty for this computer.
    """

    seconds: float
    machine: str = ""


def expectedTime(model: str, device: str, voxels: int) -> RunTime | None:
    """Return how long a CT will take; None when nobody has timed such a run.

    The last run on this computer counts; before the first one the record that comes with the
    module. Times grow with the number of voxels.

    Args:
        model: Id of a model, or ``"consensus"``.
        device: As chosen in the panel, for example ``"auto"``.
        voxels: Size of the CT.
    """
    own = recall(_MEMORY, {}).get(_key(model, device))
    if own and own["voxels"] > 0:
        return RunTime(own["seconds"] * voxels / own["voxels"])
    wanted = "cpu" if device == "auto" else device
    for entry in _record():
        if (entry["model"], entry["device"]) == (model, wanted):
            seconds = sum(entry["median_s"].values())
            return RunTime(seconds * voxels / math.prod(entry["shape_zyx"]), entry["machine"])
    return None


def rememberTime(model: str, device: str, voxels: int, seconds: float) -> None:
    """Keep how long a run took on this computer; see `expectedTime`."""
    times = {**recall(_MEMORY, {}), _key(model, device): {"seconds": seconds, "voxels": voxels}}
    remember(_MEMORY, times)


def _key(model: str, device: str) -> str:
    return f"{model} on {device}"


def _record() -> list[dict[str, Any]]:
    """Return what ``covid-lesion-seg benchmark --json`` wrote for the bundled models."""
    path = resources_dir() / _RECORD
    if not path.is_file():
        return []
    record: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return record
