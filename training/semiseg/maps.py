"""Maps as 8-bit pictures of the slices' own size: what networks hand to each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.command_line import read_report

from .slices import SliceFiles

NOTE = "maps.json"
HALF_LEVEL = 128
"""Level from which a pixel of a map counts as called."""


def to_size(levels: NDArray[np.uint8], width_height: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a map bilinearly; an 8-bit level stays one."""
    from PIL import Image

    resized = Image.fromarray(levels).resize(width_height, Image.Resampling.BILINEAR)
    return np.asarray(resized)


def own_size(files: SliceFiles) -> tuple[int, int]:
    """Return width and height of a slice's image."""
    from PIL import Image

    with Image.open(files.paths["images"]) as image:
        return image.size


def write_map(levels: NDArray[np.uint8], folder: Path, key: str) -> None:
    """Write a map to ``folder/key.png``; a kill leaves no half a file under that name."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{key}.partial"
    Image.fromarray(levels).save(partial, format="PNG")
    partial.replace(folder / f"{key}.png")


def write_note(folder: Path, about: Mapping[str, Any]) -> None:
    """Write beside maps what they are, see `read_note`."""
    text = json.dumps(about, indent=1) + "\n"
    (folder / NOTE).write_text(text, encoding="utf-8")


def read_note(folder: Path) -> dict[str, Any]:
    """Return what was noted beside maps: ``run``, and what else their command knows of them.

    Raises:
        InputError: ``training-report-unreadable``.
    """
    return read_report(folder / NOTE, "training.semiseg.predict or training.semiseg.combine")


def write_label(levels: NDArray[np.uint8], folder: Path, key: str) -> None:
    """Write a map as a label: ``GT/key.png`` and ``Edge/key.png``.

    The edge comes last: where there is one, the slice is complete.
    """
    write_map(levels, folder / "GT", key)
    write_map(edge_of(levels), folder / "Edge", key)


def read_map(folder: Path, key: str) -> NDArray[np.uint8]:
    """Return the levels of ``folder/key.png``."""
    from PIL import Image

    with Image.open(folder / f"{key}.png") as image:
        return np.asarray(image.convert("L"))


def edge_of(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the edge of a map cut at a half: one pixel inside, one outside, as 0 or 255."""
    mask = levels >= HALF_LEVEL
    square = np.ones((3, 3), dtype=bool)
    edge = ndimage.binary_dilation(mask, square) ^ ndimage.binary_erosion(
        mask, square, border_value=1
    )
    return np.where(edge, 255, 0).astype(np.uint8)
