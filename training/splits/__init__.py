"""Patient-level splits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    return load_split(data.split, _file_of(data))


def patients_of(data: DataConfig) -> dict[str, str]:
    """Return the patient of every case of a run's split file; see `load_split`."""
    patients = _read(_file_of(data))["patients"]
    return {case: patient for patient, cases in patients.items() for case in cases}


def _file_of(data: DataConfig) -> Path:
    return Path(data.split_file) if data.split_file else VOLUMES


def load_split(name: str, path: Path = VOLUMES) -> Split:
    """Read one split of a split file.

    Raises:
        InputError: ``split-unknown`` for a name that is not there, ``split-invalid`` for a
            file that is none, a case that belongs to two patients, a patient that does not
            exist, or a split that leaves nothing to train on.
    """
    content = _read(path)
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
        raise _invalid(path, ", ".join(unknown) or "a case is listed twice")
    validation = tuple(case for patient in held_out for case in patients[patient])
    training = tuple(case for case in cases if case not in validation)
    if not training:
        raise _invalid(path, f"the split {name!r} leaves no case to train on")
    return Split(name, training, validation)


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a split file, of which the form is certain afterwards."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        groups = content["patients"].values()
        sides = [split["validation"] for split in content["splits"].values()]
    except OSError as error:
        raise _invalid(path, error.strerror or "it can't be read") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(path, f"{type(error).__name__}: {error}") from error
    for names in (*groups, *sides):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _invalid(path, f"{names!r} is no list of names")
    found: dict[str, Any] = content
    return found


def _invalid(path: Path, reason: str) -> InputError:
    return InputError(
        "split-invalid",
        f"The split file {path.name!r} is wrong: {reason}.",
        'It looks like {"patients": {"P1": ["case-1"], "P2": ["case-2"]}, "splits": '
        '{"ours": {"validation": ["P2"]}}}: every case belongs to exactly one patient, and '
        "splits name patients.",
    )
