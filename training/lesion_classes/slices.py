"""Slices of COVID-SemiSeg brought back to what a clinical CT shows: HU, orientation, size.

The packaged slices are x/y arrays without window and pixel size. Transposed they are axial
slices as seen from below, the patient's right on the left. HU come from the tissues in the slice
(`training.lesion_classes.scale`). They are cropped to the lungs, so their width gives the size of
a pixel, up to the differences between people and between levels of the chest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.windowing import SliceRecipe, resample_in_plane, window_to_uint8
from training.semiseg.slices import (
    SliceSet,
    find_slices,
    layout_folders,
    load_folds,
    open_layout,
    read_slice,
)

from .scale import GreyScale, estimate_scale

LUNGS_WIDTH_MM = 280.0
"""Typical width of both lungs of an adult, at the levels that show lesions."""

_ROUND_FROM = 0.5


@dataclass(frozen=True, eq=False)
class ClassSlice:
    """One labelled slice on its own grid, in clinical orientation.

    Attributes:
        key: Name.
        hu: float32 ``[y, x]``.
        classes: uint8 ``[y, x]``: 0, 1 ground glass, 2 consolidation.
        pixel_mm: Estimated size of a pixel.
        scale: How grey values became HU.
    """

    key: str
    hu: NDArray[np.float32]
    classes: NDArray[np.uint8]
    pixel_mm: float
    scale: GreyScale


def estimated_pixel_mm(shape_yx: tuple[int, ...]) -> float:
    """Return the size of a pixel of a slice that is cropped to the lungs."""
    return LUNGS_WIDTH_MM / shape_yx[1]


def read_class_slices(data_dir: Path) -> list[ClassSlice]:
    """Read the labelled slices that a HU scale can be found for.

    Args:
        data_dir: Folder with ``covid_semiseg``.

    Raises:
        InputError: ``training-data-empty`` or ``training-data-mismatch``.
    """
    slices = []
    for files in find_slices(layout_folders("labelled", data_dir)):
        arrays = read_slice(files)
        grey, classes = arrays["images"].T, arrays["classes"].T
        scale = estimate_scale(grey)
        if scale is not None:
            pixel_mm = estimated_pixel_mm(grey.shape)
            slices.append(ClassSlice(files.key, scale.hu(grey), classes, pixel_mm, scale))
    return slices


def folds_of(slices: Sequence[ClassSlice]) -> list[list[str]]:
    """Return the committed folds without the slices that no HU scale was found for."""
    known = {item.key for item in slices}
    return [[key for key in fold if key in known] for fold in load_folds()]


def class_slice_set(data_dir: Path, recipe: SliceRecipe, size: int, cache_dir: Path) -> SliceSet:
    """Return the slices as the class network sees them: windowed, resampled, on a canvas.

    What lies beyond a slice repeats its edge, which is chest wall. Edges of lesions, which
    nothing here needs, are empty.

    Args:
        data_dir: Folder with ``covid_semiseg``.
        recipe: Window and pixel size.
        size: Height and width of the canvas in pixels.
        cache_dir: Folder of the prepared slices, for the digest of the files.
    """
    source = open_layout("labelled", data_dir, size, cache_dir)
    slices = read_class_slices(data_dir)
    planes = [on_canvas(item, recipe, size) for item in slices]
    images, classes = (np.stack(arrays) for arrays in zip(*planes, strict=True))
    masks = np.where(classes > 0, 255, 0).astype(np.uint8)
    keys = tuple(item.key for item in slices)
    return SliceSet(
        "labelled-hu", keys, images, masks, np.zeros_like(masks), classes, source.digest
    )


def grid_of(item: ClassSlice, recipe: SliceRecipe) -> tuple[int, int]:
    """Return height and width of a slice at the recipe's pixel size."""
    height, width = item.classes.shape
    return recipe.grid_size((height, width), (item.pixel_mm, item.pixel_mm))


def on_canvas(
    item: ClassSlice, recipe: SliceRecipe, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return image and classes on a square canvas; larger slices are cut evenly.

    Args:
        item: The slice.
        recipe: Window and pixel size.
        size: Height and width of the canvas in pixels.
    """
    levels = window_to_uint8(np.round(item.hu).astype(np.int16), recipe.window_hu)
    shares = np.stack([(item.classes == value) * np.uint8(255) for value in (1, 2)])
    planes = resample_in_plane(np.concatenate([levels[None], shares]), grid_of(item, recipe))
    ground_glass, consolidation = planes[1:].astype(np.float32) / 255.0
    classes = np.where(consolidation > ground_glass, 2, 1).astype(np.uint8)
    classes[ground_glass + consolidation < _ROUND_FROM] = 0
    return _centred(planes[0], size, "edge"), _centred(classes, size, "constant")


def _centred(plane: NDArray[np.uint8], size: int, mode: str) -> NDArray[np.uint8]:
    for axis in (0, 1):
        excess = plane.shape[axis] - size
        if excess > 0:
            plane = np.take(plane, np.arange(excess // 2, excess // 2 + size), axis=axis)
    before = [(size - count) // 2 for count in plane.shape]
    padding = [(n, size - count - n) for n, count in zip(before, plane.shape, strict=True)]
    if mode == "edge":
        return np.pad(plane, padding, mode="edge")
    return np.pad(plane, padding)
