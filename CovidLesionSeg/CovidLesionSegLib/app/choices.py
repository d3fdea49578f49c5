"""Which models and devices can be chosen, and what the run is told of it."""

from __future__ import annotations

import json
import platform
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.engine.flags import warnings_for
from CovidLesionSegLib.engine.models import (
    CONSENSUS,
    DEFAULT_MODEL,
    consensus_members,
    model_flags,
)
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.version import __version__
from CovidLesionSegLib.weights.catalogue import RESEARCH, CatalogueEntry
from CovidLesionSegLib.weights.store import default_store

from .runTime import RunTime, expectedTime
from .texts import durationText

DEVICES = ("auto", "cpu", "cuda:0", "cuda:1", "mps")


def infectionModels() -> list[CatalogueEntry]:
    """Return the models of the catalogue that find infection in a CT.

    The default comes first, those for research last.
    """
    found = [item.entry for item in default_store().models()]
    # One without a recipe is for training or for pictures, not for CT.
    tasks = ("infection", "severity")
    entries = [entry for entry in found if entry.task in tasks and entry.recipe]
    return sorted(
        entries, key=lambda entry: (entry.role == RESEARCH, entry.id != DEFAULT_MODEL, entry.id)
    )


def consensusMembers() -> tuple[str, ...]:
    """Return the models that a consensus joins; empty when there are too few."""
    try:
        return consensus_members()
    except CovidLesionSegError:
        return ()


def fillChoices(ui: Any) -> None:
    """Fill the lists of models and devices."""
    ui.modelComboBox.clear()
    try:
        models = [entry.id for entry in infectionModels()]
    except CovidLesionSegError as error:
        models = []
        ui.modelComboBox.setToolTip(error.message)
    models = models or [DEFAULT_MODEL]
    if consensusMembers():
        models.insert(1, CONSENSUS)
    for model in models:
        ui.modelComboBox.addItem(modelText(model), model)
    ui.deviceComboBox.clear()
    texts = {"auto": _("Automatic"), "cpu": _("Processor (CPU)"), "mps": _("Apple GPU (mps)")}
    for device in DEVICES:
        ui.deviceComboBox.addItem(
            texts.get(device) or _("NVIDIA GPU {name}").format(name=device), device
        )


def modelText(model: str) -> str:
    """Return a model as it stands in the list."""
    if model == DEFAULT_MODEL:
        return _("Fast: {model}").format(model=model)
    if model == CONSENSUS:
        return _("Accurate: consensus of {count} models").format(count=len(consensusMembers()))
    if _warnings(model):
        return _("Research: {model}").format(model=model)
    return model


def _warnings(model: str) -> tuple[str, ...]:
    """Return what every result of a model will warn of; empty for an unknown one."""
    try:
        found = [entry for entry in infectionModels() if entry.id == model]
    except CovidLesionSegError:
        return ()
    return warnings_for(model_flags(found[0])) if found else ()


def showTimes(ui: Any, device: str, voxels: int) -> None:
    """Say behind every model how long it will take.

    Args:
        ui: The panel's widgets.
        device: As chosen.
        voxels: Size of the CT; 0 without one.
    """
    box = ui.modelComboBox
    for row in range(box.count):
        model = str(box.itemData(row))
        time = expectedTime(model, device or "auto", voxels) if voxels else None
        text = modelText(model)
        if time is not None:
            text += _(" · about {duration}").format(duration=durationText(time.seconds))
        box.setItemText(row, text)
        box.setItemData(row, _modelTip(model, time), qt.Qt.ToolTipRole)


def _modelTip(model: str, time: RunTime | None) -> str:
    parts = [*_warnings(model)]
    if model == CONSENSUS:
        parts.append(
            _("{models} together: their mean decides, and a map shows where they disagree.").format(
                models=", ".join(consensusMembers())
            )
        )
    if time is None:
        parts.append(_("How long it takes is known after the first run."))
    elif time.machine:
        parts.append(_("Timed on {machine}, for this CT.").format(machine=time.machine))
    else:
        parts.append(_("From the last run on this computer, for this CT."))
    return " ".join(parts)


def optionsOf(parameters: Any) -> dict[str, Any]:
    """Return the fields of `SegmentOptions` that were chosen."""
    options: dict[str, Any] = {
        "device": parameters.device or "auto",
        "model": parameters.model or DEFAULT_MODEL,
    }
    if parameters.weights:
        options["weights"] = parameters.weights
    if parameters.useThreshold:
        options["threshold"] = parameters.threshold
    return options


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
