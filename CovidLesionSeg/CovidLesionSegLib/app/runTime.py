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


@dataclass(frozen=True)
class _Line:
    """Seconds of a run by the number of voxels."""

    start: float
    perVoxel: float
    machine: str

    def at(self, voxels: int) -> float:
        return self.start + self.perVoxel * voxels


def expectedTime(model: str, device: str, voxels: int) -> RunTime | None:
    """Return how long a CT will take; None when nobody has timed such a run.

    The last run on this computer counts; before the first one the record that comes with the
    module. Starting takes as long for a small CT as for a large one, the rest grows with the
    number of voxels; how much is which, the record tells where it holds CTs of two sizes.

    Args:
        model: Id of a model, or ``"consensus"``.
        device: As chosen in the panel, for example ``"auto"``.
        voxels: Size of the CT.
    """
    line = _recorded(model, "cpu" if device == "auto" else device)
    own = recall(_MEMORY, {}).get(_key(model, device))
    if own and own["voxels"] > 0:
        grown = line or _Line(0.0, 1.0, "")
        return RunTime(own["seconds"] * grown.at(voxels) / grown.at(own["voxels"]))
    return None if line is None else RunTime(line.at(voxels), line.machine)


def rememberTime(model: str, device: str, voxels: int, seconds: float) -> None:
    """Keep how long a run took on this computer; see `expectedTime`."""
    times = {**recall(_MEMORY, {}), _key(model, device): {"seconds": seconds, "voxels": voxels}}
    remember(_MEMORY, times)


def _key(model: str, device: str) -> str:
    return f"{model} on {device}"


def _recorded(model: str, device: str) -> _Line | None:
    """Return the line through the smallest and the largest CT that the record has of a model."""
    runs = sorted(
        (math.prod(entry["shape_zyx"]), sum(entry["median_s"].values()), str(entry["machine"]))
        for entry in _record()
        if (entry["model"], entry["device"]) == (model, device)
    )
    if not runs:
        return None
    (few, short, _), (many, long, machine) = runs[0], runs[-1]
    perVoxel = max(0.0, long - short) / (many - few) if many > few else long / many
    return _Line(max(0.0, long - perVoxel * many), perVoxel, machine)


def _record() -> list[dict[str, Any]]:
    """Return what ``covid-lesion-seg benchmark --json`` wrote for the bundled models."""
    path = resources_dir() / _RECORD
    if not path.is_file():
        return []
    record: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return record
