"""Ground glass and consolidation as experts draw them, called by a network.

Beside the table's border by HU, which takes every voxel for itself: experts draw areas, in which
vessels and noise are no consolidation and air bronchograms no ground glass. The network was taught
by single slices, so it looks at each axial slice by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.loading import load_model
from CovidLesionSegLib.weights.store import WeightsStore, default_store

from .masks import Mask, bounding_box, mean_within
from .result import Opacity
from .volume import CtVolume

if TYPE_CHECKING:
    import torch

CLASS_MODEL = "density-classes-lite"
TASK = "lesion-classes"
OWN_SCORES, BORDER_SCORES = "held-out slices", "border in HU"
"""Variants of scores: networks on slices that they had not seen, and the border beside them."""

SCALES_MM = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations of the Gaussians within the infection, in the slice."""

_CENTRE_HU, _UNIT_HU = -400.0, 400.0
_HU_RANGE = (-1024.0, 1024.0)


@dataclass(frozen=True, eq=False)
class ClassModel:
    """A network over `density_features`, ready to run.

    Attributes:
        id: Catalogue id.
        module: Network in evaluation mode.
        sha256: Digest of the weight file.
        role: ``"clinical"`` or ``"research"``.
        scores: Means against experts by variant (`OWN_SCORES`, `BORDER_SCORES`) and score, as
            the catalogue has them.
    """

    id: str
    module: torch.nn.Module
    sha256: str
    role: str
    scores: Mapping[str, Mapping[str, float]]


def density_recipe() -> dict[str, Any]:
    """Return what a network was made for, as its catalogue entry says it."""
    return {"scales_mm": list(SCALES_MM)}


def open_class_model(model: str = CLASS_MODEL, store: WeightsStore | None = None) -> ClassModel:
    """Open the network that tells the classes apart; it runs on the CPU.

    Args:
        model: Id in the catalogue.
        store: Where to look; the default is the user's.

    Raises:
        InputError: ``model-unknown``, or ``model-wrong-task`` for any other.
        CovidLesionSegError: The weight file is missing or damaged.
    """
    store = store or default_store()
    module, entry = load_model(store.find(model).entry, store, "cpu")
    if entry.task != TASK or dict(entry.recipe) != density_recipe():
        raise InputError(
            "model-wrong-task",
            f"The model {entry.id!r} does not tell ground glass from consolidation by densities.",
            f"Use {CLASS_MODEL!r}.",
        )
    scores = {
        variant: {name: float(score["mean"]) for name, score in entry.card.scores[variant].items()}
        for variant in (OWN_SCORES, BORDER_SCORES)
        if variant in entry.card.scores
    }
    return ClassModel(entry.id, module, entry.sha256, entry.role, scores)


def smoothed_within(
    hu: NDArray[Any], infected: Mask, sigma: tuple[float, ...]
) -> NDArray[np.float32]:
    """Return values smoothed within the infection; they mean nothing outside of it.

    Args:
        hu: Of any shape.
        infected: Mask of the same shape.
        sigma: Standard deviation of the Gaussian in pixels, per axis.

    Returns:
        float32 of the same shape.
    """
    # Nothing beyond the picture, so that cropping to the infection changes nothing.
    least = float(np.finfo(np.float32).tiny)
    return mean_within(hu, infected, sigma, mode="constant", least_weight=least)


def density_features(
    hu: NDArray[Any], infected: Mask, pixel_mm_yx: tuple[float, float]
) -> NDArray[np.float32]:
    """Return HU, and mean and standard deviation within the infection at every scale.

    Args:
        hu: ``[y, x]``, an axial slice.
        infected: Mask of the same shape.
        pixel_mm_yx: Size of a pixel.

    Returns:
        float32 ``[pixel, feature]`` for the infected pixels, in units of 400 HU around -400.
    """
    value = (np.clip(hu, *_HU_RANGE).astype(np.float32) - _CENTRE_HU) / _UNIT_HU
    planes = [value]
    for scale in SCALES_MM:
        sigma = (scale / pixel_mm_yx[0], scale / pixel_mm_yx[1])
        mean = smoothed_within(value, infected, sigma)
        square = smoothed_within(value * value, infected, sigma)
        planes += [mean, np.sqrt(np.maximum(square - mean * mean, 0.0))]
    return np.stack([plane[infected] for plane in planes], axis=1).astype(np.float32)


def call_pixels(module: torch.nn.Module, features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which pixels a network calls consolidation.

    Args:
        module: The network.
        features: ``[pixel, feature]``, see `density_features`.
    """
    return pixel_logits(module, features) > 0


def pixel_logits(module: torch.nn.Module, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a network's logit of consolidation for every pixel; arguments as `call_pixels`."""
    import torch

    with torch.inference_mode():
        channels = torch.from_numpy(np.ascontiguousarray(features.T))[None, :, None]
        logits: torch.Tensor = module(channels).infection[0, 0, 0]
    return np.asarray(logits.numpy())


def split_by_network(
    ct: CtVolume, infection: NDArray[np.uint8], model: ClassModel
) -> NDArray[np.uint8]:
    """Return the labels of `Opacity` inside the infection, as the network calls them.

    Args:
        ct: The CT.
        infection: uint8 ``[z, y, x]``, non-zero where infected.
        model: The network.

    Returns:
        uint8 ``[z, y, x]``.
    """
    opacity = np.zeros(infection.shape, dtype=np.uint8)
    infected = infection > 0
    _, row_mm, column_mm = ct.spacing_mm_zyx
    for index in np.flatnonzero(infected.any(axis=(1, 2))):
        _, *box_yx = bounding_box(infected[index : index + 1])
        box = tuple(box_yx)
        mask = infected[index][box]
        features = density_features(ct.hu[index][box], mask, (row_mm, column_mm))
        called = call_pixels(model.module, features)
        opacity[index][box][mask] = np.where(
            called, np.uint8(Opacity.CONSOLIDATION), np.uint8(Opacity.GROUND_GLASS)
        )
    return opacity
