"""The folder that a training run leaves behind: config, versions, logs, curves, checkpoint."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.version import __version__

from .config import TrainingConfig, load_config
from .splits import Split

_PACKAGES = ("torch", "numpy", "scipy", "SimpleITK", "lightning-fabric", "monai")

CHECKPOINT_SUFFIX = ".ckpt"


class RunFolder:
    """Paths and writers of one run.

    Args:
        path: The folder; made if absent.

    Raises:
        InputError: ``training-run-folder`` if it can't be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                "training-run-folder",
                f"The folder {path.name!r} can't be made: {error.strerror}.",
                "Choose another output folder.",
            ) from error

    @classmethod
    def existing(cls, path: Path) -> RunFolder:
        """Open the folder of a run that has begun, for reading.

        Raises:
            InputError: ``training-run-empty``.
        """
        if not (path / "config.json").is_file():
            raise InputError(
                "training-run-empty",
                f"There is no run in {path.name!r}.",
                "Give the folder that a training was told to write to with --out.",
            )
        return cls(path)

    @property
    def checkpoint(self) -> Path:
        """State to resume from."""
        return self.path / f"last{CHECKPOINT_SUFFIX}"

    @property
    def config(self) -> Path:
        """The run's config with every default written out."""
        return self.path / "config.json"

    @property
    def provenance(self) -> Path:
        """What the run was made from: code, packages, cases, digests of data and weights."""
        return self.path / "provenance.json"

    def open(
        self,
        config: TrainingConfig,
        split: Split,
        digests: Mapping[str, str],
        weights: Path | None = None,
    ) -> None:
        """Write config and provenance of a new run, or check that a run is being continued.

        Only the number of steps and logging intervals may differ between the parts of one run.
        Where it came from stays written down: a part run by other code is added to it.

        Args:
            config: The run.
            split: Cases to train on and to validate on.
            digests: SHA-256 of the files of every case, by case.
            weights: A model to continue from; a run that is continued does without.

        Raises:
            InputError: ``training-run-differs`` for another configuration, other data or other
                weights to start from.
        """
        provenance = _provenance(split, digests, weights)
        if self.checkpoint.exists():
            if identity(load_config(self.config).to_dict()) != identity(config.to_dict()):
                raise self._differs("another configuration")
            stored: dict[str, Any] = {}
            if self.provenance.exists():
                stored = json.loads(self.provenance.read_text(encoding="utf-8"))
            self._check_origin(stored, provenance)
            provenance = _continued(stored, provenance)
        _write(self.config, config.to_dict())
        _write(self.provenance, provenance)

    def _check_origin(self, stored: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        for name, what in (("training", "training cases"), ("validation", "validation cases")):
            if stored.get(name, found[name]) != found[name]:
                raise self._differs(f"other {what}")
        old, new = stored.get("data_sha256", found["data_sha256"]), found["data_sha256"]
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        if changed:
            raise self._differs(f"other files of {', '.join(changed)}")
        start = found["initial_weights_sha256"]
        if start is not None and stored.get("initial_weights_sha256", start) != start:
            raise self._differs("other weights than those of --weights")

    def _differs(self, by: str) -> InputError:
        return InputError(
            "training-run-differs",
            f"The run {self.path.name!r} was started with {by}.",
            "Choose another output folder.",
        )

    def append(self, table: str, row: Mapping[str, float]) -> None:
        """Append a row to ``<table>.csv``; the first row makes the header."""
        path = self.path / f"{table}.csv"
        fresh = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(row))
            if fresh:
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" for k, v in row.items()})

    def truncate(self, step: int) -> None:
        """Drop rows after ``step``: a resumed run writes them again."""
        for path in self.path.glob("*.csv"):
            with path.open(newline="", encoding="utf-8") as stream:
                rows = [row for row in csv.DictReader(stream) if float(row["step"]) <= step]
            path.unlink()
            for row in rows:
                self.append(path.stem, {k: float(v) for k, v in row.items()})

    def read(self, table: str) -> list[dict[str, float]]:
        """Return the rows of ``<table>.csv``, none if it does not exist."""
        path = self.path / f"{table}.csv"
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as stream:
            return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]

    def draw_curves(self) -> None:
        """Draw loss, and validation scores if there are any, to ``curves.png``."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        training, validation = self.read("training"), self.read("validation")
        left.plot([row["step"] for row in training], [row["loss"] for row in training])
        left.set(xlabel="step", ylabel="training loss", yscale="log")
        for name in validation[0] if validation else ():
            if name != "step":
                style = {"linewidth": 3, "color": "black"} if name == "mean" else {"alpha": 0.6}
                values = [row[name] for row in validation]
                right.plot([row["step"] for row in validation], values, label=name, **style)
        right.set(xlabel="step", ylabel="validation Dice", ylim=(0, 1))
        if validation:
            right.legend(fontsize="small")
        figure.savefig(self.path / "curves.png", dpi=100)


def _provenance(split: Split, digests: Mapping[str, str], weights: Path | None) -> dict[str, Any]:
    return {
        "code": _code_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "training": list(split.training),
        "validation": list(split.validation),
        "initial_weights_sha256": None if weights is None else sha256_of(weights),
        "data_sha256": dict(digests),
    }


def _continued(stored: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored provenance, and what runs from now on where that is other code."""
    here = {name: found[name] for name in ("code", "packages")}
    parts = [*stored.get("continued_with", [])]
    last = parts[-1] if parts else {name: stored.get(name) for name in here}
    if stored and last != here:
        parts.append(here)
    return {**found, **stored, **({"continued_with": parts} if parts else {})}


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON; a kill during writing leaves the old file."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def identity(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a config that the parts of one run, and its repetition, share."""
    free = ("steps", "checkpoint_seconds", "validate_every")
    optimisation = {k: v for k, v in values["optimisation"].items() if k not in free}
    shown = {k: v for k, v in values.items() if k != "card"}
    return {**shown, "optimisation": optimisation}


def start_file(path: Path | None) -> Path | None:
    """Return the file to start from: a weights file, or the checkpoint of a run folder.

    Raises:
        InputError: ``training-start-missing``.
    """
    found = path / f"last{CHECKPOINT_SUFFIX}" if path is not None and path.is_dir() else path
    if found is not None and not found.is_file():
        raise InputError(
            "training-start-missing",
            f"There are no weights in {path}.",
            "Give a .safetensors file, or the folder of a run of the same network.",
        )
    return found


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _code_version() -> str:
    """Return package version and, in a checkout, the commit with a mark for local changes."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__}+{described}"
