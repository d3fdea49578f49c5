"""Turn a run into a model of the catalogue: ``python -m training.export_weights RUN --data DIR``.

The averaged weights are stored as fp16 safetensors with their whole description inside.
Temperature and threshold of an infection model are chosen on the validation patients.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from CovidLesionSegLib.engine.tissue_model import TissueRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.family import SegmentationModel
from CovidLesionSegLib.nets.registry import create_from_config
from CovidLesionSegLib.nets.relation import RelationNet, without_general_decoder
from CovidLesionSegLib.weights.catalogue import (
    CLINICAL,
    RESEARCH,
    CatalogueEntry,
    format_catalogue,
    read_catalogue,
)
from CovidLesionSegLib.weights.packing import pack_model

from .calibration import Calibration, calibrate, collect
from .command_line import command
from .config import TrainingConfig, load_config
from .data.store import StoredCase, open_store
from .origin import general_cases, source_of, training_data_of
from .run_folder import RunFolder
from .splits import Split, split_of

_LOG = logging.getLogger("training")
_CALIBRATED = ("infection", "relation")
_CATALOGUE_TASKS = {"relation": "infection"}
RESOURCES = Path(__file__).resolve().parents[1] / "CovidLesionSeg" / "Resources"


def load_average(run: RunFolder, config: TrainingConfig) -> tuple[SegmentationModel, int]:
    """Return the averaged network of a run's checkpoint and the step it is from.

    Weights are rounded to fp16 here, so that whatever is measured is what is shipped.

    Raises:
        InputError: ``training-run-empty``.
    """
    if not run.checkpoint.exists():
        raise InputError(
            "training-run-empty",
            f"The run {run.path.name!r} has no checkpoint yet.",
            "Train first.",
        )
    content = torch.load(run.checkpoint, map_location="cpu", weights_only=True)
    model = create_from_config(config.model)
    model.load_state_dict(content["average"])
    return model.half().float().eval(), int(content["step"])


def split_text(split: Split, calibrated_on: Sequence[str] = (), general: Sequence[str] = ()) -> str:
    """Describe a split in a sentence.

    Args:
        split: The split.
        calibrated_on: Cases that temperature and threshold were chosen on; none for a model
            that was not calibrated.
        general: Cases of other sources that taught the general encoder.
    """
    trained = f"By patient, split {split.name!r}: trained on {', '.join(split.training)}; "
    if general:
        trained += f"general encoder on {', '.join(general)}; "
    validation = ", ".join(split.validation)
    if not calibrated_on:
        return f"{trained}validation (the scores here): {validation}."
    if set(calibrated_on) == set(split.validation):
        return f"{trained}validation (temperature, threshold and the scores here): {validation}."
    return (
        f"{trained}held out: {validation}; temperature and threshold chosen on "
        f"{', '.join(calibrated_on)} with the networks that these were held out of."
    )


def export(
    run: RunFolder,
    cases: Sequence[StoredCase],
    version: str,
    calibration: Calibration | None = None,
) -> tuple[CatalogueEntry, bytes]:
    """Make catalogue entry and weights file of a run.

    Scores are left out: they are measured on the file, so they can't be part of it. See
    `training.model_cards`.

    Args:
        run: The run folder.
        cases: Validation cases, for the calibration of an infection model.
        version: Version of the weights.
        calibration: Temperature and threshold chosen elsewhere; ``cases`` are not used then.
    """
    config = load_config(run.config)
    model, step = load_average(run, config)
    if isinstance(model, RelationNet):
        model = without_general_decoder(model)
    calibration = calibration or _calibrated(model, config, cases)
    split = split_of(config.data)
    description: dict[str, Any] = {
        "id": config.name,
        "version": version,
        "task": _CATALOGUE_TASKS.get(config.task, config.task),
        **model.config.to_dict(),
        "recipe": _recipe(config),
        "role": RESEARCH if config.task == "severity" else CLINICAL,
        "dtype": "float16",
        "threshold": calibration.threshold,
        "temperature": calibration.temperature,
        **config.card,
        "training_data": training_data_of(run, config),
        "split": split_text(split, tuple(calibration.dice), general_cases(run, config, split)),
        "source": source_of(run, config, step),
    }
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    return pack_model(description, tensors)


def _recipe(config: TrainingConfig) -> dict[str, Any]:
    if config.severity is None:
        return config.recipe.to_dict()
    if config.severity.inputs == "tissue":
        return dict(TissueRecipe(candidate_odds=config.severity.candidate_odds).to_dict())
    return {}  # windowed lobes have a preprocessing of their own, see `training.data.lobes`


def _calibrated(
    model: SegmentationModel, config: TrainingConfig, cases: Sequence[StoredCase]
) -> Calibration:
    if config.task not in _CALIBRATED:
        return Calibration(1.0, 0.5, {})
    calibration = calibrate(collect(model, cases, config.recipe, torch.device("cpu")))
    _LOG.info("Calibration: %s", calibration)
    return calibration


def install(entry: CatalogueEntry, data: bytes, folder: Path) -> Path:
    """Write a model into a folder with a catalogue, in place of one with the same id.

    Returns:
        The weights file.
    """
    catalogue = folder / "models.json"
    entries = read_catalogue(catalogue) if catalogue.exists() else ()
    weights = folder / "Weights" / entry.file
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(data)
    others = [other for other in entries if other.id != entry.id]
    ordered = tuple(sorted([*others, entry], key=lambda item: item.id))
    catalogue.write_text(format_catalogue(ordered), encoding="utf-8")
    return weights


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(prog="python -m training.export_weights", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--data", type=Path, required=True, help="folder with the volume sets")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="prepared slices")
    parser.add_argument("--out", type=Path, default=RESOURCES, help="folder with models.json")
    parser.add_argument("--version", default="1", help="version of the weights")
    options = parser.parse_args(arguments)
    run = RunFolder.existing(options.run)
    config = load_config(run.config)
    cases = validation_cases(config, options.data, options.cache)
    entry, data = export(run, cases, options.version)
    path = install(entry, data, options.out)
    _LOG.info("%s: %d bytes, sha256 %s", path, entry.bytes, entry.sha256)
    return 0


def validation_cases(config: TrainingConfig, data_dir: Path, cache_dir: Path) -> list[StoredCase]:
    """Open the validation cases of a run, none for a task without calibration."""
    if config.task not in _CALIBRATED:
        return []
    split = split_of(config.data)
    return open_store(data_dir, config.data.sources, config.recipe, cache_dir, split.validation)


if __name__ == "__main__":
    sys.exit(main())
