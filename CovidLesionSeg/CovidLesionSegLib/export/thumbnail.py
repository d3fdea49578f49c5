"""A small picture of a result for a wall of many: its most affected slice."""

from __future__ import annotations

import os

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.result import SegmentationResult

from .slice_view import add_sides, draw_slice, field_of_view
from .slices import AXIAL, choose_slices

_WIDTH_IN, _HEIGHT_IN, _DPI = 3.2, 2.4, 100


def write_thumbnail(path: str | os.PathLike[str], result: SegmentationResult) -> None:
    """Write the axial slice with the largest infected area as PNG, 320 x 240 pixels.

    Without infection it is the middle slice of the lungs. No text but the sides is in it.

    Args:
        path: File to write, ending in ``.png``.
        result: The result.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    field = field_of_view(result, AXIAL).widened(_HEIGHT_IN / _WIDTH_IN, result.ct.shape_zyx[1:])
    choice = choose_slices(result, AXIAL, 3)
    index = choice.indices[1] if choice.worst is None else choice.worst
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    draw_slice(axes, result, AXIAL, index, field)
    add_sides(axes)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=_DPI, metadata={"Software": None})
