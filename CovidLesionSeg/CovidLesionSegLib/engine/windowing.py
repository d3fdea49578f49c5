"""From Hounsfield units to network input: the one preprocessing of training and inference.

A volume is windowed to 8 bits and resampled in-plane to a fixed pixel size (`SliceStack`);
2D networks then see three slices as channels: one below, the slice itself, one above, a
fixed distance apart (2.5D). z is never resampled.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import CovidLesionSegError

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_SLICES = 32


@dataclass(frozen=True)
class SliceRecipe:
    """What a 2D network expects to see; travels with its weights.

    Attributes:
        window_hu: Lower and upper end of the linear window.
        pixel_mm: In-plane pixel size of the network's input.
        context_mm: Distance of the neighbouring slices that fill the first and the third
            channel; at least one slice. 0 shows the same slice in all three, as networks
            published for single pictures expect.
        mean, std: Normalisation of the windowed value in 0..1, one pair for all channels or
            one value per channel.
        size_multiple: Height and width are padded to a multiple of this.
    """

    window_hu: tuple[float, float] = (-1250.0, 250.0)
    pixel_mm: float = 1.4
    context_mm: float = 2.0
    mean: float | tuple[float, ...] = 0.449
    std: float | tuple[float, ...] = 0.226
    size_multiple: int = 32

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        values = asdict(self).items()
        return {name: list(item) if isinstance(item, tuple) else item for name, item in values}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SliceRecipe:
        """Read `to_dict`'s mapping; an unknown key is an error, not a silent default."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise CovidLesionSegError(
                "recipe-unknown-key",
                f"The preprocessing recipe has unknown entries: {', '.join(sorted(unknown))}.",
                "The weights may need a newer version of CovidLesionSeg.",
            )
        low, high = values.get("window_hu", cls.window_hu)
        tuples = {name: tuple(item) for name, item in values.items() if isinstance(item, list)}
        return cls(**{**values, **tuples, "window_hu": (float(low), float(high))})

    def context_slices(self, spacing_z_mm: float) -> int:
        """Return how many slices away the neighbouring channels lie; 0 for no neighbours."""
        if self.context_mm == 0:
            return 0
        return max(1, round(self.context_mm / spacing_z_mm))

    def grid_size(
        self, shape_yx: tuple[int, int], spacing_mm_yx: tuple[float, float]
    ) -> tuple[int, int]:
        """Return height and width of the resampled slice, before padding."""
        height, width = (
            max(1, round(count * spacing / self.pixel_mm))
            for count, spacing in zip(shape_yx, spacing_mm_yx, strict=True)
        )
        return height, width

    def padded_size(self, size_yx: tuple[int, int]) -> tuple[int, int]:
        """Return height and width padded to the network's size multiple."""
        height, width = (math.ceil(n / self.size_multiple) * self.size_multiple for n in size_yx)
        return height, width


def window_to_uint8(hu: NDArray[np.int16], window_hu: tuple[float, float]) -> NDArray[np.uint8]:
    """Map HU linearly to 0..255, clipped at the ends of the window.

    The 65,536 possible values are mapped through a table, slice by slice, so that neither a
    float copy nor an index as large as the CT is made.
    """
    low, high = window_hu
    # Indexed by the bits of the int16: 0..32767, then -32768..-1.
    levels = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.float64)
    table = np.clip(np.round((levels - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)
    windowed = np.empty(hu.shape, dtype=np.uint8)
    for target, values in zip(np.atleast_2d(windowed), np.atleast_2d(hu), strict=True):
        table.take(values.astype(np.int16, copy=False).view(np.uint16), out=target, mode="clip")
    return windowed


def resample_in_plane(stack_zyx: NDArray[np.uint8], size_yx: tuple[int, int]) -> NDArray[np.uint8]:
    """Resample each slice to ``size_yx`` (bilinear, antialiased, edges aligned).

    The extent of the slice is kept, so the true pixel size may differ from the recipe's by
    less than half a pixel over the whole width.
    """
    if stack_zyx.shape[1:] == size_yx:
        return np.ascontiguousarray(stack_zyx)
    import torch
    from torch.nn.functional import interpolate

    resampled = np.empty((stack_zyx.shape[0], *size_yx), dtype=np.uint8)
    for start in range(0, stack_zyx.shape[0], _CHUNK_SLICES):
        chunk = torch.from_numpy(np.ascontiguousarray(stack_zyx[start : start + _CHUNK_SLICES]))
        scaled = interpolate(chunk[:, None].float(), size=size_yx, mode="bilinear", antialias=True)
        resampled[start : start + _CHUNK_SLICES] = scaled[:, 0].round_().byte().numpy()
    return resampled


def slice_stack(
    hu_zyx: NDArray[np.int16], spacing_mm_zyx: tuple[float, float, float], recipe: SliceRecipe
) -> NDArray[np.uint8]:
    """Window a CT and resample it in-plane to the recipe's pixel size.

    Args:
        hu_zyx: int16 HU ``[z, y, x]`` in LPS axis order.
        spacing_mm_zyx: Voxel edge lengths in mm.
        recipe: The network's recipe.

    Returns:
        uint8 ``[z, height, width]``.
    """
    size_yx = recipe.grid_size(
        (hu_zyx.shape[1], hu_zyx.shape[2]), (spacing_mm_zyx[1], spacing_mm_zyx[2])
    )
    return resample_in_plane(window_to_uint8(hu_zyx, recipe.window_hu), size_yx)


def neighbour_indices(
    slice_count: int, indices: NDArray[np.intp], context_slices: int
) -> NDArray[np.intp]:
    """Return the three slices each network input is made of, ``(n, 3)``; ends repeat."""
    offsets = np.array([-context_slices, 0, context_slices])
    neighbours: NDArray[np.intp] = np.clip(indices[:, None] + offsets[None, :], 0, slice_count - 1)
    return neighbours


def normalise(batch_uint8: Tensor, recipe: SliceRecipe) -> Tensor:
    """Turn uint8 0..255 ``(..., C, H, W)`` into normalised float32."""
    batch = batch_uint8.float().div_(255.0)
    # One value per channel stands before height and width; a single one fits any shape.
    mean, std = (
        batch.new_tensor(values)[:, None, None] if isinstance(values, tuple) else values
        for values in (recipe.mean, recipe.std)
    )
    return batch.sub_(mean).div_(std)
