"""Import of published checkpoints into the user's store."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .catalogue import is_valid_id
from .checkpoint import is_tensor_file, read_checkpoint
from .loading import build_network
from .packing import is_described, pack_model, require_finite, unpack_model
from .store import StoredModel, WeightsStore
from .tensorfile import parse_tensor_file

if TYPE_CHECKING:
    from torch import Tensor

    from CovidLesionSegLib.nets.config import InputContract, ModelConfig
    from CovidLesionSegLib.nets.official import OfficialFormat

# Display window of the lung, in which published data sets were turned into pictures.
_WINDOW_HU = (-1250.0, 250.0)
# A scan 350 mm wide at the 352 pixels of the papers.
_PIXEL_MM = 1.0
_TASKS = {"inf-net-multi-class": "lesion-classes", "lung-unet": "lungs"}


@dataclass(frozen=True)
class ImportOptions:
    """What the user may say about a file.

    Attributes:
        model_id: Id in the store; None derives it from what the file is.
        family: Refuse any other network family; None takes what is recognised.
        licence: Licence of the weights, as its publisher states it.
        incomplete: Accept a published file whose code never saved all of its layers. These
            get random values, so that it is a start for training and nothing else.
    """

    model_id: str | None = None
    family: str | None = None
    licence: str = "Not stated"
    incomplete: bool = False


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        model: The new model.
        layout: What the file was recognised as.
        unused: Entries of the file that the published network never uses; left out.
        random: Layers that the published code never saved; random values.
    """

    model: StoredModel
    layout: str
    unused: tuple[str, ...] = ()
    random: tuple[str, ...] = ()


def import_checkpoint(
    path: Path, store: WeightsStore, options: ImportOptions | None = None
) -> ImportReport:
    """Recognise a weights file, convert it and put it into the user's store.

    Accepted are files of ``torch.save`` that hold tensors only, safetensors files with the
    published names, and self-describing files of our own. On any error the store is as it
    was.

    Args:
        path: The file; nothing in it is executed.
        store: Where to put it.
        options: What the user says about it.

    Raises:
        InputError: ``checkpoint-unreadable``, ``checkpoint-empty``, ``checkpoint-damaged``,
            ``checkpoint-unsafe``, ``checkpoint-not-tensors``, ``checkpoint-unknown``,
            ``checkpoint-wrong-family``, ``checkpoint-encoder-only``,
            ``checkpoint-never-saved``, ``model-id-invalid``, ``model-exists``.
        CovidLesionSegError: ``checkpoint-mismatch``, ``checkpoint-old-torch``,
            ``weights-not-finite``, ``weights-format``, ``store-not-writable``.
    """
    options = options or ImportOptions()
    if options.model_id is not None and not is_valid_id(options.model_id):
        raise InputError(
            "model-id-invalid",
            f"{options.model_id!r} can't be the id of a model.",
            "Use lower case letters, digits and . _ - (64 at most).",
        )
    if not is_tensor_file(path):
        return _import_published(path, read_checkpoint(path), store, options)
    data = path.read_bytes()
    content = parse_tensor_file(data)
    if is_described(content):
        return _import_described(path, data, store, options)
    return _import_published(path, _as_torch(content.tensors), store, options)


def _import_described(
    path: Path, data: bytes, store: WeightsStore, options: ImportOptions
) -> ImportReport:
    entry, content = unpack_model(data, path.name)
    _require_family(entry.family, options)
    require_finite(content.tensors, path.name)
    build_network(entry, content.tensors)
    if options.model_id not in (None, entry.id):
        description = entry.to_dict()
        for name in ("file", "sha256", "bytes"):
            del description[name]
        entry, data = pack_model({**description, "id": options.model_id}, content.tensors)
    return ImportReport(store.add(entry, data), "CovidLesionSeg weights")


def _import_published(
    path: Path, state: Mapping[str, Tensor], store: WeightsStore, options: ImportOptions
) -> ImportReport:
    from CovidLesionSegLib.nets.official import official_key_map

    layout = _recognised(state)
    config = _usable_config(layout, options)
    names = official_key_map(layout, state)
    _require_distinct(names)
    tensors, random = _fitted(layout, config, state)
    if random and not options.incomplete:
        raise InputError(
            "checkpoint-never-saved",
            f"The published code of {layout.name} never saved {len(random)} of the tensors that "
            f"its output needs ({', '.join(random[:3])}, ...), so this file can't segment.",
            "To use it as a start for training only, add --incomplete.",
        )
    source = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "format": layout.name,
    }
    description = _description(layout.name, config, options, source, bool(random))
    entry, data = pack_model(description, tensors)
    unused = tuple(sorted(theirs for theirs, ours in names.items() if ours is None))
    return ImportReport(store.add(entry, data), layout.name, unused, random)


def _recognised(keys: Iterable[str]) -> OfficialFormat:
    from CovidLesionSegLib.nets.registry import get_family, list_families, recognise_checkpoint

    present = {key.removeprefix("module.") for key in keys}
    layout = recognise_checkpoint(present)
    if layout is not None:
        return layout
    known = [layout for name in list_families() for layout in get_family(name).official]
    closest = min(known, key=lambda item: len(set(item.signature) - present) / len(item.signature))
    lacking = [key for key in closest.signature if key not in present]
    resembles = (
        f" It resembles {closest.name}, but lacks {', '.join(lacking)}."
        if len(lacking) < len(closest.signature)
        else ""
    )
    raise InputError(
        "checkpoint-unknown",
        f"The names in this file belong to no network that CovidLesionSeg knows.{resembles}",
        f"Known are: {', '.join(item.name for item in known)}.",
    )


def _usable_config(layout: OfficialFormat, options: ImportOptions) -> ModelConfig:
    if layout.config is None:
        raise InputError(
            "checkpoint-encoder-only",
            f"This file is {layout.name}: an encoder trained on photographs, not a segmentation.",
            "It is of use for training only.",
        )
    _require_family(layout.config.family, options)
    return layout.config


def _require_family(family: str, options: ImportOptions) -> None:
    if options.family not in (None, family):
        raise InputError(
            "checkpoint-wrong-family",
            f"The file holds a network of the family {family!r}, not {options.family!r}.",
            "Leave out --family, or choose another file.",
        )


def _require_distinct(names: Mapping[str, str | None]) -> None:
    """Two entries that mean the same layer make a file ambiguous."""
    origin: dict[str, str] = {}
    for theirs, ours in names.items():
        if ours is not None and origin.setdefault(ours, theirs) != theirs:
            raise InputError(
                "checkpoint-ambiguous",
                f"{origin[ours]} and {theirs} in this file stand for the same layer.",
                "Ask its publisher for the plain state dict.",
            )


def _fitted(
    layout: OfficialFormat, config: ModelConfig, state: Mapping[str, Tensor]
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Load ``state`` into its network; return all its tensors, and the names of random ones."""
    import torch

    from CovidLesionSegLib.nets.official import load_official_state_dict
    from CovidLesionSegLib.nets.registry import create_from_config

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = create_from_config(config)
    random = load_official_state_dict(module, layout, state)
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}, random


def _description(
    layout: str,
    config: ModelConfig,
    options: ImportOptions,
    source: Mapping[str, str],
    incomplete: bool,
) -> dict[str, Any]:
    from CovidLesionSegLib.nets.registry import get_family, input_contract, resolve_config

    family = get_family(config.family)
    clinical = "Clinical decisions."
    return {
        "id": options.model_id or re.sub(r"[^a-z0-9]+", "-", layout.lower()).strip("-"),
        "version": "1",
        "task": "pretraining" if incomplete else _TASKS.get(family.name, "infection"),
        **resolve_config(config).to_dict(),
        "recipe": _recipe(input_contract(config)),
        "dtype": "float32",
        "threshold": 0.5,
        "temperature": 1.0,
        "licence": options.licence,
        "training_data": "Not stated in the file.",
        "split": "Not stated in the file.",
        "citation": family.reference,
        "intended_use": "Research. Imported by the user and not evaluated in CovidLesionSeg.",
        "not_for": f"Segmentation: some layers are random. {clinical}" if incomplete else clinical,
        "scores": {},
        "source": dict(source),
    }


def _recipe(contract: InputContract) -> dict[str, Any]:
    """Return the closest preprocessing of volumes, empty where there is none.

    The papers work on pictures: a whole slice, windowed to 8 bits and resized. Networks that
    do not take three slices have a preprocessing of their own.
    """
    if contract.dimensions != 2 or contract.channels != 3:
        return {}
    return {
        "window_hu": list(_WINDOW_HU),
        "pixel_mm": _PIXEL_MM,
        "context_mm": 0.0,
        "mean": list(contract.mean),
        "std": list(contract.std),
        "size_multiple": contract.size_multiple,
    }


def _as_torch(tensors: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    import torch

    return {name: torch.tensor(array) for name, array in tensors.items()}


def imported_summary(report: ImportReport) -> str:
    """Return one paragraph that tells a person what was imported."""
    parts = [f"Imported {report.layout} as {report.model.entry.id!r}."]
    if report.unused:
        parts.append(f"{len(report.unused)} entries that the network never uses were left out.")
    if report.random:
        parts.append(
            f"{len(report.random)} tensors were never saved by the published code and are random: "
            "this model is a start for training and can't segment."
        )
    return " ".join(parts)
