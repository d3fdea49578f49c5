"""Patient-level splits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from CovidLesionSegLib.errors import InputError
from training.config import DataConfig

VOLUMES = Path(__file__).with_name("volumes.json")
SEMISEG = Path(__file__).with_name("semiseg.json")


@dataclass(frozen=True)
class Split:
    """Cases to train on and cases to validate on, without a shared patient."""

    name: str
    training: tuple[str, ...]
    validation: tuple[str, ...]


def split_of(data: DataConfig) -> Split:
    """Return the split that a run uses; see `load_split`."""
    return load_split(data.split, Path(data.split_file) if data.split_file else VOLUMES)


def load_split(name: str, path: Path = VOLUMES) -> Split:
    """Read one split of a split file.

    Raises:
        InputError: ``split-unknown`` for a name that is not there, ``split-invalid`` for a
            case that belongs to two patients or a patient that does not exist.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    patients: dict[str, list[str]] = content["patients"]
    if name not in content["splits"]:
        raise InputError(
            "split-unknown",
            f"There is no split {name!r}.",
            f"Known splits: {', '.join(content['splits'])}.",
        )
    cases = [case for group in patients.values() for case in group]
    held_out: list[str] = content["splits"][name]["validation"]
    unknown = sorted(set(held_out) - set(patients))
    if unknown or len(cases) != len(set(cases)):
        raise InputError(
            "split-invalid",
            f"The split file is wrong: {', '.join(unknown) or 'a case is listed twice'}.",
            "Every case belongs to exactly one patient, and splits name patients.",
        )
    validation = tuple(case for patient in held_out for case in patients[patient])
    return Split(name, tuple(case for case in cases if case not in validation), validation)
