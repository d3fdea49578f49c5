"""What can be chosen below Advanced, and what the run is told of it."""

from __future__ import annotations

import json
import platform
from typing import Any

import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.engine.models import DEFAULT_MODEL
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.version import __version__
from CovidLesionSegLib.weights.catalogue import CatalogueEntry
from CovidLesionSegLib.weights.store import default_store

DEVICES = ("auto", "cpu", "cuda:0", "cuda:1", "mps")


def infectionModels() -> list[CatalogueEntry]:
    """Return the models of the catalogue that find infection, the default first."""
    entries = [item.entry for item in default_store().models() if item.entry.task == "infection"]
    return sorted(entries, key=lambda entry: (entry.id != DEFAULT_MODEL, entry.id))


def fillChoices(ui: Any) -> None:
    """Fill the lists of models and devices."""
    ui.modelComboBox.clear()
    try:
        models = infectionModels()
    except CovidLesionSegError as error:
        models = []
        ui.modelComboBox.setToolTip(error.message)
    for entry in models:
        ui.modelComboBox.addItem(entry.id, entry.id)
    if not models:
        ui.modelComboBox.addItem(DEFAULT_MODEL, DEFAULT_MODEL)
    ui.deviceComboBox.clear()
    texts = {"auto": _("Automatic"), "cpu": _("Processor (CPU)"), "mps": _("Apple GPU (mps)")}
    for device in DEVICES:
        ui.deviceComboBox.addItem(
            texts.get(device) or _("NVIDIA GPU {name}").format(name=device), device
        )


def optionsOf(parameters: Any) -> dict[str, Any]:
    """Return the fields of `SegmentOptions` that differ from the defaults."""
    options: dict[str, Any] = {"device": parameters.device or "auto"}
    if parameters.model:
        options["model"] = parameters.model
    if parameters.weights:
        options["weights"] = parameters.weights
    if parameters.useThreshold:
        options["threshold"] = parameters.threshold
    return options


def modelCardText(modelId: str) -> str:
    """Return the card of a model as plain text."""
    for entry in infectionModels():
        if entry.id == modelId:
            facts = {
                _("Model"): entry.id,
                _("Intended use"): entry.card.intended_use,
                _("Not for"): entry.card.not_for,
                _("Training data"): entry.card.training_data,
                _("Split"): entry.card.split,
                _("Scores"): ", ".join(
                    f"{key} {value}" for key, value in entry.card.scores.items()
                ),
                _("Licence"): entry.card.licence,
                _("Cite"): entry.card.citation,
            }
            return "\n\n".join(f"{key}: {value}" for key, value in facts.items() if value)
    return _("The model {model} is not installed.").format(model=modelId)


def diagnostics(parameters: Any, lastError: CovidLesionSegError | None) -> str:
    """Return what a maintainer asks for, without names, paths or images."""
    from importlib import metadata

    versions = {"CovidLesionSeg": __version__, "Python": platform.python_version()}
    versions["Slicer"] = str(slicer.app.applicationVersion)
    for package in ("torch", "numpy", "scipy", "SimpleITK", "pydicom"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "absent"
    return json.dumps(
        {
            "versions": versions,
            "system": f"{platform.system()} {platform.machine()}",
            "model": parameters.model or DEFAULT_MODEL,
            "device": parameters.device,
            "last_error": None if lastError is None else [lastError.code, lastError.message],
        },
        indent=2,
    )
