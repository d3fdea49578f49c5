"""From a model's id or a weight file to a network that the pipeline can run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.catalogue import CatalogueEntry
from CovidLesionSegLib.weights.loading import load_model, load_weights_file
from CovidLesionSegLib.weights.store import WeightsStore, default_store

from .inference import SliceModel
from .windowing import SliceRecipe

if TYPE_CHECKING:
    from torch import nn

DEFAULT_MODEL = "inf-net-lite"
LUNG_MODEL = "lung-unet-lite"


def open_infection_model(
    model_id: str, weights: Path | None, device: str, store: WeightsStore | None = None
) -> SliceModel:
    """Open the network that finds the infection.

    Args:
        model_id: Id in the catalogue; not used with ``weights``.
        weights: A self-describing weight file to use instead.
        device: Torch device.
        store: Where to look; the default is the user's.

    Raises:
        InputError: ``model-unknown`` or ``model-wrong-task``.
        CovidLesionSegError: The weight file is missing or damaged.
    """
    return _open(model_id, weights, device, "infection", store)


def open_lung_model(device: str, store: WeightsStore | None = None) -> SliceModel:
    """Open the bundled network that finds the lungs."""
    return _open(LUNG_MODEL, None, device, "lungs", store)


def _open(
    model_id: str, weights: Path | None, device: str, task: str, store: WeightsStore | None
) -> SliceModel:
    if weights is not None:
        module, entry = load_weights_file(weights, device)
    else:
        store = store or default_store()
        module, entry = load_model(store.find(model_id).entry, store, device)
    _check_task(entry, task)
    return SliceModel(
        id=entry.id,
        module=_for_inference(module),
        recipe=SliceRecipe.from_dict(dict(entry.recipe)),
        device=device,
        temperature=entry.temperature,
        threshold=entry.threshold,
        sha256=entry.sha256,
    )


def _for_inference(module: nn.Module) -> nn.Module:
    """Fold the batch normalisation and lay weights out as convolutions like them."""
    import torch

    from CovidLesionSegLib.nets.folding import fold_batch_norm

    folded: nn.Module = fold_batch_norm(module)
    folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return folded


def _check_task(entry: CatalogueEntry, task: str) -> None:
    if entry.task != task or not entry.recipe:
        raise InputError(
            "model-wrong-task",
            f"The model {entry.id!r} does not find {task} in a CT; its task is {entry.task!r}.",
            "Choose another model (covid-lesion-seg models list).",
        )
