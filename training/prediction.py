"""Logits of a whole slice stack on the recipe's grid."""

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
