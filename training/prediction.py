"""Probabilities of a whole slice stack, on the recipe's grid and on the CT's."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from CovidLesionSegLib.engine.windowing import SliceRecipe, neighbour_indices, normalise


def predict_stack(
    model: nn.Module,
    stack: NDArray[np.uint8],
    spacing_z_mm: float,
    recipe: SliceRecipe,
    device: torch.device,
    indices: NDArray[np.intp] | None = None,
    batch_size: int = 8,
) -> NDArray[np.float32]:
    """Return the network's logits for the slices of a stack.

    Args:
        model: A network of the registry, in evaluation mode on ``device``.
        stack: uint8 ``[z, height, width]``, as `slice_stack` makes it.
        spacing_z_mm: Distance of the slices.
        recipe: Context and normalisation.
        device: Where to compute.
        indices: Slices to predict; all by default.
        batch_size: Slices at a time.

    Returns:
        float32 ``[slice, class, height, width]`` logits.
    """
    wanted = np.arange(len(stack)) if indices is None else indices
    neighbours = neighbour_indices(len(stack), wanted, recipe.context_slices(spacing_z_mm))
    height, width = stack.shape[1:]
    padded_height, padded_width = recipe.padded_size((height, width))
    padding = (0, padded_width - width, 0, padded_height - height)
    parts: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for start in range(0, len(wanted), batch_size):
            slices = torch.from_numpy(np.asarray(stack[neighbours[start : start + batch_size]]))
            images = normalise(F.pad(slices.to(device), padding), recipe)
            logits: Tensor = model(images).infection
            parts.append(logits[..., :height, :width].float().cpu().numpy())
    return np.concatenate(parts)


def to_grid(
    planes: NDArray[np.float32], size_yx: tuple[int, int], batch_size: int = 16
) -> NDArray[np.float32]:
    """Resample planes ``[z, height, width]`` bilinearly to another in-plane size."""
    if planes.shape[1:] == size_yx:
        return planes
    result = np.empty((len(planes), *size_yx), dtype=np.float32)
    for start in range(0, len(planes), batch_size):
        chunk = torch.from_numpy(planes[start : start + batch_size])[:, None]
        scaled = F.interpolate(chunk, size=size_yx, mode="bilinear", antialias=True)
        result[start : start + batch_size] = scaled[:, 0].numpy()
    return result
