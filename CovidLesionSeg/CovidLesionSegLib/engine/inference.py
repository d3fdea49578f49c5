"""Running 2D networks over a CT: slices with lung only, cropped to the lungs, in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import CovidLesionSegError

from .progress import Reporter
from .resampling import Window, bilinear_weights, bounding_window, grid_window
from .result import Prediction
from .volume import CtVolume
from .windowing import SliceRecipe, neighbour_indices, normalise, slice_stack

if TYPE_CHECKING:
    import torch

_MARGIN_MM = 20.0
"""Context around the lungs, so that the chest wall is in the picture."""

_BATCH_SLICES = {"cpu": 4, "cuda": 64, "mps": 16}
"""First try; halved when memory runs out. More than a few slices do not help a CPU."""

_LUNG_STEP_MM = 3.0
"""Distance of the slices the lung network sees; between them its map is interpolated."""


@dataclass(frozen=True, eq=False)
class SliceModel:
    """A 2D network ready to run.

    Attributes:
        id: Catalogue id.
        module: Network in evaluation mode, returning a `ModelOutput` of logits.
        recipe: Its preprocessing.
        device: Where it runs.
        temperature: Logits are divided by it.
        threshold: Calibrated probability threshold.
        sha256: Digest of the weight file.
    """

    id: str
    module: torch.nn.Module
    recipe: SliceRecipe
    device: str
    temperature: float
    threshold: float
    sha256: str


Maps = list[NDArray[np.float32]]
"""Probability maps ``(n, classes, height, width)``, one array per output of a network."""


def _padded_crop(stack: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    """Crop the last two axes; what lies beyond the grid is air (0)."""
    height, width = stack.shape[-2:]
    inside = stack[..., window.y0 : min(window.y1, height), window.x0 : min(window.x1, width)]
    missing_y, missing_x = window.y1 - height, window.x1 - width
    if missing_y <= 0 and missing_x <= 0:
        return inside
    pad = [(0, 0)] * (stack.ndim - 2) + [(0, max(missing_y, 0)), (0, max(missing_x, 0))]
    return np.pad(inside, pad)


def run_slices(
    model: SliceModel,
    stack: NDArray[np.uint8],
    indices: NDArray[np.intp],
    context_slices: int,
    head: Callable[[torch.nn.Module, torch.Tensor, float], Sequence[torch.Tensor]],
    reporter: Reporter,
) -> Maps:
    """Run a network over chosen slices of a stack.

    Args:
        model: The network.
        stack: uint8 ``[z, height, width]``, both a multiple of the recipe's.
        indices: Slices to run.
        context_slices: Distance of the neighbouring channels.
        head: Turns a normalised batch into the probability maps to keep.
        reporter: Progress and cancel.

    Raises:
        CovidLesionSegError: ``out-of-memory`` when not even one slice fits.
    """
    import torch

    batch_size = _BATCH_SLICES.get(model.device.split(":")[0], 4)
    chunks: list[Maps] = []
    start = 0
    while start < len(indices):
        chosen = neighbour_indices(
            stack.shape[0], indices[start : start + batch_size], context_slices
        )
        try:
            with torch.inference_mode():
                batch = normalise(torch.from_numpy(stack[chosen]).to(model.device), model.recipe)
                batch = batch.contiguous(memory_format=torch.channels_last)
                outputs = head(model.module, batch, model.temperature)
                chunks.append([output.float().cpu().numpy() for output in outputs])
        except (torch.OutOfMemoryError, MemoryError) as error:
            if batch_size == 1:
                raise CovidLesionSegError(
                    "out-of-memory",
                    f"There is not enough memory on {model.device} for a single slice.",
                    "Close other programs, or choose the device 'cpu'.",
                ) from error
            batch_size = max(batch_size // 2, 1)
            continue
        start += len(chosen)
        reporter.advance(start, len(indices))
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _sigmoid_head(
    module: torch.nn.Module, batch: torch.Tensor, temperature: float
) -> list[torch.Tensor]:
    output = module(batch)
    maps = [(output.infection / temperature).sigmoid()]
    if output.boundary is not None:
        maps.append(output.boundary.sigmoid())
    return maps


def _softmax_head(
    module: torch.nn.Module, batch: torch.Tensor, temperature: float
) -> list[torch.Tensor]:
    return [(module(batch).infection / temperature).softmax(dim=1)[:, 1:]]


def predict_infection(
    ct: CtVolume,
    lungs: NDArray[np.uint8],
    model: SliceModel,
    reporter: Reporter,
) -> Prediction:
    """Predict infection and boundary of a CT with one network.

    Args:
        ct: The CT.
        lungs: uint8 ``[z, y, x]``, non-zero in the lungs; the search is limited to them.
        model: The network.
        reporter: Progress and cancel.

    Returns:
        Probabilities on the CT's grid, 0 outside the lungs.
    """
    infection = np.zeros(ct.shape_zyx, dtype=np.float16)
    found = bounding_window(lungs > 0)
    if found is None:
        return Prediction(infection)
    z_range, window = found
    recipe, spacing = model.recipe, ct.spacing_mm_zyx
    context = recipe.context_slices(spacing[0])
    # The neighbours of the first and the last slice with lung are needed as well.
    first = max(z_range.start - context, 0)
    last = min(z_range.stop + context, ct.shape_zyx[0])
    stack = slice_stack(ct.hu[first:last], spacing, recipe)
    size_yx, grid_yx = ct.shape_zyx[1:], (stack.shape[1], stack.shape[2])
    margin = round(_MARGIN_MM / recipe.pixel_mm)
    crop = grid_window(window, size_yx, grid_yx, margin, recipe.size_multiple)
    indices = np.arange(z_range.start - first, z_range.stop - first)
    maps = run_slices(model, _padded_crop(stack, crop), indices, context, _sigmoid_head, reporter)

    rows = bilinear_weights((window.y0, window.y1), (crop.y0, crop.y1), size_yx[0], grid_yx[0])
    columns = bilinear_weights((window.x0, window.x1), (crop.x0, crop.x1), size_yx[1], grid_yx[1])
    volumes = [infection] + [np.zeros_like(infection) for _ in maps[1:]]
    for volume, values in zip(volumes, maps, strict=True):
        for number, z in enumerate(range(z_range.start, z_range.stop)):
            inside = lungs[z][window.slices] > 0
            on_grid = rows @ values[number, 0] @ columns.T
            volume[z][window.slices] = np.where(inside, on_grid, 0.0)
    return Prediction(*volumes)


def predict_lungs(ct: CtVolume, model: SliceModel, reporter: Reporter) -> NDArray[np.uint8]:
    """Predict the right (1) and the left lung (2) on the CT's grid with the lung network.

    The network sees whole slices about 3 mm apart; its probabilities are interpolated
    between them.

    Returns:
        uint8 ``[z, y, x]`` with the labels of `Lung`; to be refined by the CT itself.
    """
    recipe, spacing = model.recipe, ct.spacing_mm_zyx
    depth, height, width = ct.shape_zyx
    stack = slice_stack(ct.hu, spacing, recipe)
    grid_yx = (stack.shape[1], stack.shape[2])
    padded = recipe.padded_size(grid_yx)
    step = max(1, round(_LUNG_STEP_MM / spacing[0]))
    indices = np.unique(np.append(np.arange(0, depth, step), depth - 1))
    everything = _padded_crop(stack, Window(0, padded[0], 0, padded[1]))
    context = recipe.context_slices(spacing[0])
    (maps,) = run_slices(model, everything, indices, context, _softmax_head, reporter)
    maps = maps[:, :, : grid_yx[0], : grid_yx[1]]

    rows = bilinear_weights((0, height), (0, grid_yx[0]), height, grid_yx[0])
    columns = bilinear_weights((0, width), (0, grid_yx[1]), width, grid_yx[1])
    labels = np.zeros(ct.shape_zyx, dtype=np.uint8)
    upper = np.clip(np.searchsorted(indices, np.arange(depth), side="right"), 1, len(indices) - 1)
    for z in range(depth):
        below, above = indices[upper[z] - 1], indices[upper[z]]
        weight = (z - below) / (above - below)
        blend = maps[upper[z] - 1] * (1.0 - weight) + maps[upper[z]] * weight
        if blend.max() < 1.0 / 3.0:  # three classes: nothing can win here
            continue
        right, left = (rows @ side @ columns.T for side in blend)
        other = 1.0 - right - left
        labels[z] = np.where(right >= left, 1, 2) * (np.maximum(right, left) > other)
    return labels
