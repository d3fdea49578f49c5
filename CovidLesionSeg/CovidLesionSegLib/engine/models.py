"""From a model's id or a weight file to a network that the pipeline can run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.catalogue import RESEARCH, CatalogueEntry
from CovidLesionSegLib.weights.loading import load_model, load_weights_file
from CovidLesionSegLib.weights.store import WeightsStore, default_store

from .flags import UNFITTED, research_flag
from .slice_model import Consensus, InfectionModel, SliceModel
from .tissue import CHANNELS
from .tissue_model import TissueModel, TissueRecipe
from .windowing import SliceRecipe

if TYPE_CHECKING:
    from torch import nn

DEFAULT_MODEL = "inf-net-lite"
LUNG_MODEL = "lung-unet-lite"
CONSENSUS = "consensus"
"""Stands for all installed models for infection in volumes together."""

_JOIN = "+"
_CHANNELS = 3
"""A slice and its neighbours."""


def open_infection_model(
    model: str, weights: Path | None, device: str, store: WeightsStore | None = None
) -> InfectionModel | TissueModel:
    """Open the network, or the networks, that find the infection.

    Args:
        model: Id in the catalogue, several joined by ``+``, or `CONSENSUS` for all networks
            that `consensus_members` returns; not used with ``weights``.
        weights: A self-describing weight file to use instead.
        device: Torch device.
        store: Where to look; the default is the user's.

    Raises:
        InputError: ``model-unknown``, ``model-wrong-task``, ``consensus-too-small``,
            ``consensus-repeats``, ``consensus-not-possible`` or ``consensus-with-weights``.
        CovidLesionSegError: A weight file is missing or damaged.
    """
    if weights is not None:
        if is_consensus(model):
            raise InputError(
                "consensus-with-weights",
                f"One weight file can't stand for the models of {model!r}.",
                "Leave out the file, or choose a single model.",
            )
        return _ready_alone(*load_weights_file(weights, device), device)
    store = store or default_store()
    ids = member_ids(model, store)
    if len(ids) == 1:
        return _ready_alone(*load_model(store.find(ids[0]).entry, store, device), device)
    return Consensus(model, tuple(_member(m, device, store) for m in ids))


def member_ids(model: str, store: WeightsStore) -> tuple[str, ...]:
    """Return the ids of the models that a text names; see `open_infection_model`.

    Raises:
        InputError: ``consensus-too-small`` or ``consensus-repeats``.
    """
    if model == CONSENSUS:
        return consensus_members(store)
    ids = tuple(model.split(_JOIN))
    repeated = sorted({member for member in ids if ids.count(member) > 1})
    if repeated:
        raise InputError(
            "consensus-repeats",
            f"The model {repeated[0]!r} is named more than once in {model!r}.",
            "Name every model of a consensus once.",
        )
    return ids


def is_consensus(model: str) -> bool:
    """Return whether the text names several models."""
    return model == CONSENSUS or _JOIN in model


def consensus_members(store: WeightsStore | None = None) -> tuple[str, ...]:
    """Return the ids of the models that `CONSENSUS` joins, sorted.

    That is every installed model for infection that sees slices with their neighbours, so
    one trained for volumes; not a research model, and not what the user imported, because a
    consensus must mean the same on every computer.

    Raises:
        InputError: ``consensus-too-small`` when there are fewer than two.
    """
    found = sorted(
        model.entry.id
        for model in (store or default_store()).models()
        if model.origin != "user"
        and model.entry.task == "infection"
        and model.entry.role != RESEARCH
        and model.entry.recipe
        and SliceRecipe.from_dict(dict(model.entry.recipe)).context_mm > 0
    )
    if len(found) < 2:
        raise InputError(
            "consensus-too-small",
            "A consensus needs at least two installed models for infection in volumes; there "
            f"{'is only ' + found[0] if found else 'are none'}.",
            "Choose a single model (covid-lesion-seg models list).",
        )
    return tuple(found)


def model_flags(entry: CatalogueEntry) -> tuple[str, ...]:
    """Return what a reader of a model's results must know, as flags."""
    if entry.role != RESEARCH:
        return ()
    dice = entry.card.pipeline_score("dice_diseased")
    return (research_flag(None if dice is None else dice["mean"]),)


def open_lung_model(device: str, store: WeightsStore | None = None) -> SliceModel:
    """Open the bundled network that finds the lungs."""
    return open_slice_model(LUNG_MODEL, device, "lungs", store)


def open_slice_model(
    model_id: str, device: str, task: str = "infection", store: WeightsStore | None = None
) -> SliceModel:
    """Open one network that sees slices.

    Args:
        model_id: Id in the catalogue.
        device: Torch device.
        task: What it must be for, one of the catalogue's tasks.
        store: Where to look; the default is the user's.

    Raises:
        InputError: ``model-unknown`` or ``model-wrong-task``.
        CovidLesionSegError: The weight file is missing or damaged.
    """
    store = store or default_store()
    module, entry = load_model(store.find(model_id).entry, store, device)
    return _ready(module, entry, device, task)


def _member(model_id: str, device: str, store: WeightsStore) -> SliceModel:
    """Open a network that is to agree with others."""
    if store.find(model_id).entry.task == "severity":
        raise InputError(
            "consensus-not-possible",
            f"{model_id!r} can't join a consensus: it looks at blocks of tissue, not at slices.",
            "Use it alone.",
        )
    return open_slice_model(model_id, device, "infection", store)


def _ready_alone(module: nn.Module, entry: CatalogueEntry, device: str) -> SliceModel | TissueModel:
    """Make a network for infection ready that needs not agree with others."""
    if entry.task != "severity" or not entry.recipe:
        return _ready(module, entry, device, "infection")
    from CovidLesionSegLib.nets.registry import input_contract

    input_contract(entry.config).check_shape((1, len(CHANNELS), 1, 1, 1))
    recipe = TissueRecipe.from_dict(entry.recipe)
    return TissueModel(
        id=entry.id,
        module=module,
        device=device,
        candidate_odds=recipe.candidate_odds,
        threshold=entry.threshold,
        sha256=entry.sha256,
        # Scores teach how much of a lobe is diseased; nothing fitted the map to single voxels.
        flags=(*model_flags(entry), UNFITTED),
    )


def _ready(module: nn.Module, entry: CatalogueEntry, device: str, task: str) -> SliceModel:
    from CovidLesionSegLib.nets.registry import get_family

    _check_task(entry, task)
    recipe = SliceRecipe.from_dict(dict(entry.recipe))
    _check_recipe(entry, recipe)
    return SliceModel(
        id=entry.id,
        module=_for_inference(module, device),
        recipe=recipe,
        device=device,
        temperature=entry.temperature,
        threshold=entry.threshold,
        sha256=entry.sha256,
        shows_boundary=get_family(entry.family).shows_boundary,
        flags=model_flags(entry),
    )


def _for_inference(module: nn.Module, device: str) -> nn.Module:
    """Fold the batch normalisation and lay weights out as convolutions like them, in place."""
    import torch

    from CovidLesionSegLib.nets.folding import fold_batch_norm
    from CovidLesionSegLib.nets.fusing import fuse_convolutions

    folded: nn.Module = fold_batch_norm(module, inplace=True)
    folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fuse_convolutions(folded, inplace=True) if device == "cpu" else folded


def _check_recipe(entry: CatalogueEntry, recipe: SliceRecipe) -> None:
    """Refuse a recipe that pads slices to sizes which the network can't take."""
    from CovidLesionSegLib.nets.registry import input_contract

    contract = input_contract(entry.config)
    odd = contract.minimum_size + 1
    contract.check_shape((1, _CHANNELS, *recipe.padded_size((odd, odd))))


def _check_task(entry: CatalogueEntry, task: str) -> None:
    if entry.task != task or not entry.recipe:
        raise InputError(
            "model-wrong-task",
            f"The model {entry.id!r} does not find {task} in a CT; its task is {entry.task!r}.",
            "Choose another model (covid-lesion-seg models list).",
        )
