"""Small pictures of axial slices with the expert's and the model's outline.

They show pixels of the data, whose terms are not those of this project, so they are written to a
folder that git ignores, each with source and licence.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics import Mask

PICTURES = Path("runs/failure-cases")
_WINDOW_HU = (-1200, 200)
_GREYS = 24
_COLOURS = 64
_KEEPS_OUTLINES = 2
"""Pillow's octree; its median cut spends all colours on greys."""

_EXPERT, _MODEL, _AROUND = "#00d0ff", "#ff8c00", "#ffffff"


@dataclass(frozen=True, eq=False)
class Panel:
    """One slice of a picture.

    Attributes:
        hu: ``[y, x]``, already cut to what is to be seen.
        expert, model: Masks of the same shape, to be outlined.
        caption: What the slice shows.
        aspect: Height of a pixel over its width.
        around: Mask of the region that both speak of, outlined in white; None without.
    """

    hu: NDArray[Any]
    expert: Mask
    model: Mask
    caption: str
    aspect: float = 1.0
    around: Mask | None = None


def draw_panels(panels: Sequence[Panel], title: str, source: str, path: Path) -> None:
    """Draw slices side by side as a small PNG.

    Args:
        panels: The slices.
        title: What stands above all of them.
        source: Source and licence of the pixels, which stand below.
        path: The PNG; its folder is made.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(3.2 * len(panels), 3.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grey_levels = np.linspace(*_WINDOW_HU, _GREYS)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        levels = np.digitize(panel.hu, grey_levels)
        axis.imshow(levels, cmap="gray", vmin=0, vmax=_GREYS, aspect=panel.aspect)
        outlines = ((panel.around, _AROUND), (panel.expert, _EXPERT), (panel.model, _MODEL))
        for mask, colour in outlines:
            if mask is not None and mask.any():
                axis.contour(mask, (0.5,), colors=colour, linewidths=1.1)
        axis.set_title(panel.caption, fontsize=8)
        axis.axis("off")
    figure.suptitle(f"{title} (blue: expert, orange: model)", fontsize=9)
    figure.supxlabel(textwrap.fill(source, 60 * len(panels)), fontsize=6)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(_COLOURS, _KEEPS_OUTLINES, dither=Image.Dither.NONE).save(path, optimize=True)
