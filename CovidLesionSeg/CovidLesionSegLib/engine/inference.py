"""Running 2D networks over a CT: slices with lung only, cropped to the lungs, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .blending import Blend
from .devices import half_precision
from .progress import Reporter
from .resampling import BilinearMap, Window, bilinear_taps, bounding_window, grid_window
from .result import Prediction
from .slice_batches import run_batches
from .slice_model import InfectionModel, SliceModel
from .volume import CtVolume
from .windowing import SliceRecipe, neighbour_indices, normalise, slice_stack

if TYPE_CHECKING:
    from torch import Tensor

_MARGIN_MM = 20.0
"""Context around the lungs, so that the chest wall is in the picture."""

_LUNG_STEP_MM = 3.0
"""Distance of the slices the lung network sees; between them its map is interpolated."""


@dataclass(frozen=True, eq=False)
class _View:
    """Slices of a CT as the networks of one recipe see them.

    Attributes:
        recipe: The recipe.
        stack: uint8 ``(slices, height, width)`` on the networks' device.
        context: Distance of the neighbouring channels in slices.
    """

    recipe: SliceRecipe
    stack: Tensor
    context: int

    @classmethod
    def of(cls, stack: NDArray[np.uint8], window: Window, context: int, model: SliceModel) -> _View:
        """Crop a stack to a window; what of it lies beyond the stack is air (0)."""
        import torch

        padded = torch.from_numpy(_padded_crop(stack, window)).to(model.device)
        return cls(model.recipe, padded, context)

    def batch(self, indices: NDArray[np.intp]) -> Tensor:
        """Return normalised input ``(n, 3, height, width)`` for the slices with these indices."""
        import torch

        chosen = neighbour_indices(self.stack.shape[0], indices, self.context)
        batch = normalise(self.stack[torch.from_numpy(chosen)], self.recipe)
        return batch.contiguous(memory_format=torch.channels_last)


def _padded_crop(stack: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    height, width = stack.shape[-2:]
    inside = stack[..., window.y0 : min(window.y1, height), window.x0 : min(window.x1, width)]
    missing = [(0, max(window.y1 - height, 0)), (0, max(window.x1 - width, 0))]
    if not any(after for _, after in missing):
        return np.ascontiguousarray(inside)
    return np.pad(inside, [(0, 0), *missing])


@dataclass(frozen=True, eq=False)
class _LesionView:
    """Where networks of one recipe look for infection, and the way back to the CT's grid."""

    models: tuple[SliceModel, ...]
    view: _View
    first: int
    to_ct: BilinearMap

    @classmethod
    def of(
        cls, models: Sequence[SliceModel], ct: CtVolume, z_range: slice, window: Window
    ) -> _LesionView:
        """Prepare the slices ``z_range`` of a CT, cropped to a window and a margin around it."""
        recipe, spacing, size_yx = models[0].recipe, ct.spacing_mm_zyx, ct.shape_zyx[1:]
        context = recipe.context_slices(spacing[0])
        # The neighbours of the first and the last slice are needed as well.
        first = max(z_range.start - context, 0)
        last = min(z_range.stop + context, ct.shape_zyx[0])
        stack = slice_stack(ct.hu[first:last], spacing, recipe)
        grid_yx = (stack.shape[1], stack.shape[2])
        margin = round(_MARGIN_MM / recipe.pixel_mm)
        crop = grid_window(window, size_yx, grid_yx, margin, recipe.size_multiple)
        rows = bilinear_taps((window.y0, window.y1), (crop.y0, crop.y1), size_yx[0], grid_yx[0])
        columns = bilinear_taps((window.x0, window.x1), (crop.x0, crop.x1), size_yx[1], grid_yx[1])
        return cls(
            tuple(models),
            _View.of(stack, crop, context, models[0]),
            z_range.start - first,
            BilinearMap(rows, columns, models[0].device),
        )

    def add_to(self, blend: Blend, part: slice) -> None:
        """Join the answers of the networks for some of the slices, on the CT's grid."""
        batch = self.view.batch(np.arange(self.first + part.start, self.first + part.stop))
        for model in self.models:
            with half_precision(model.device):
                output = model.module(batch)
            infection = (output.infection[:, 0].float() / model.temperature).sigmoid()
            edge = output.boundary if model.shows_boundary else None
            boundary = None if edge is None else self.to_ct(edge[:, 0].float().sigmoid())
            blend.add(self.to_ct(infection), boundary)


def predict_infection(
    ct: CtVolume,
    lungs: NDArray[np.uint8],
    model: InfectionModel,
    reporter: Reporter,
    *,
    overlapped: bool = True,
) -> Prediction:
    """Predict infection and boundary of a CT with one network or a consensus.

    Networks of equal recipes share one preprocessed stack of slices, and the answers are
    joined batch by batch: memory grows with the CT, not with the number of networks.

    Args:
        ct: The CT.
        lungs: uint8 ``[z, y, x]``, non-zero in the lungs; the search is limited to them.
        model: The network or the consensus.
        reporter: Progress and cancel.
        overlapped: False does one thing after the other; the result is the same.

    Returns:
        Maps on the CT's grid; outside the lungs the probabilities are 0 and the agreement of
        a consensus 1.
    """
    volumes = {"infection": np.zeros(ct.shape_zyx, dtype=np.float16)}
    if len(model.members) > 1:
        volumes["agreement"] = np.ones(ct.shape_zyx, dtype=np.float16)
    found = bounding_window(lungs > 0)
    if found is None:
        return Prediction(**volumes)
    z_range, window = found
    by_recipe: dict[SliceRecipe, list[SliceModel]] = {}
    for member in model.members:
        by_recipe.setdefault(member.recipe, []).append(member)
    views = [_LesionView.of(models, ct, z_range, window) for models in by_recipe.values()]

    def compute(part: slice) -> None:
        blend = Blend()
        for view in views:
            view.add_to(blend, part)
        where = (slice(z_range.start + part.start, z_range.start + part.stop), *window.slices)
        inside = lungs[where] > 0
        for name, values in blend.maps().items():
            # Made by the first batch, which runs alone.
            if name not in volumes:
                volumes[name] = np.zeros(ct.shape_zyx, dtype=np.float16)
            np.copyto(volumes[name][where], values.half().cpu().numpy(), where=inside)

    count = z_range.stop - z_range.start
    run_batches(count, model.device, compute, reporter, overlapped=overlapped)
    return Prediction(**volumes)


def predict_lungs(ct: CtVolume, model: SliceModel, reporter: Reporter) -> NDArray[np.uint8]:
    """Predict the right (1) and the left lung (2) on the CT's grid with the lung network.

    The network sees whole slices about 3 mm apart; its probabilities are interpolated
    between them.

    Returns:
        uint8 ``[z, y, x]`` with the labels of `Lung`; to be refined by the CT itself.
    """
    recipe, spacing = model.recipe, ct.spacing_mm_zyx
    depth = ct.shape_zyx[0]
    stack = slice_stack(ct.hu, spacing, recipe)
    grid_yx = (stack.shape[1], stack.shape[2])
    padded = recipe.padded_size(grid_yx)
    step = max(1, round(_LUNG_STEP_MM / spacing[0]))
    indices = np.unique(np.append(np.arange(0, depth, step), depth - 1))
    context = recipe.context_slices(spacing[0])
    view = _View.of(stack, Window(0, padded[0], 0, padded[1]), context, model)
    maps = np.empty((len(indices), 2, *grid_yx), dtype=np.float16)

    def compute(part: slice) -> None:
        with half_precision(model.device):
            output = model.module(view.batch(indices[part]))
        logits: Tensor = output.infection.float() / model.temperature
        sides = logits.softmax(dim=1)[:, 1:, : grid_yx[0], : grid_yx[1]]
        maps[part] = sides.half().cpu().numpy()

    run_batches(len(indices), model.device, compute, reporter)
    return _interpolated_labels(maps, indices, ct.shape_zyx)


def _interpolated_labels(
    maps: NDArray[np.float16], indices: NDArray[np.intp], shape_zyx: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Return the most probable label of every voxel between slices that were looked at.

    Args:
        maps: ``(n, 2, height, width)``, probability of the right and the left lung.
        indices: The slices they belong to, rising; the first and the last of the CT too.
        shape_zyx: Size of the CT.
    """
    import torch

    depth, height, width = shape_zyx
    grid_yx = maps.shape[-2:]
    to_ct = BilinearMap(
        bilinear_taps((0, height), (0, grid_yx[0]), height, grid_yx[0]),
        bilinear_taps((0, width), (0, grid_yx[1]), width, grid_yx[1]),
    )
    sides = torch.from_numpy(maps)
    labels = np.zeros(shape_zyx, dtype=np.uint8)
    upper = np.clip(np.searchsorted(indices, np.arange(depth), side="right"), 1, len(indices) - 1)

    def label(part: slice) -> None:
        for z in range(part.start, part.stop):
            below, above = indices[upper[z] - 1], indices[upper[z]]
            weight = (z - below) / (above - below)
            blend = torch.lerp(sides[upper[z] - 1].float(), sides[upper[z]].float(), weight)
            if float(blend.max()) < 1.0 / 3.0:  # three classes: nothing can win here
                continue
            right, left = to_ct(blend)
            other = 1.0 - right - left
            winner = (2 - (right >= left).byte()) * (torch.maximum(right, left) > other)
            labels[z] = winner.numpy()

    run_batches(depth, "cpu", label, Reporter())
    return labels
