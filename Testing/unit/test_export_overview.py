"""Which slices are shown, where their pixels go, and that every kind of case can be drawn."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from CovidLesionSegLib.engine.quantify import quantify
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.export.lobe_chart import format_interval, format_percent, format_volume
from CovidLesionSegLib.export.overview import overview_figure, position_text, write_overview
from CovidLesionSegLib.export.palette import BOUNDARY_RAMP_RGB, ramp_color
from CovidLesionSegLib.export.segments import segment_definition
from CovidLesionSegLib.export.slice_view import draw_slice, field_of_view
from CovidLesionSegLib.export.slices import AXIAL, CORONAL, choose_slices
from Testing.support.grids import GRIDS
from Testing.support.results import make_ct, make_result


def _measured(result: SegmentationResult) -> SegmentationResult:
    """The result with the table that the engine makes."""
    table = quantify(result.ct, result.infection, result.anatomy, result.prediction, result.lesions)
    return replace(result, quantification=table)


def _pixels(figure: Any, dpi: int = 60) -> np.ndarray[Any, Any]:
    import matplotlib.image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    buffer.seek(0)
    pixels: np.ndarray[Any, Any] = matplotlib.image.imread(buffer)
    return pixels[..., :3]


@pytest.mark.parametrize("axis", [AXIAL, CORONAL])
def test_the_worst_slice_is_among_those_shown(axis: int) -> None:
    result = make_result()
    others = tuple(other for other in range(3) if other != axis)
    areas = np.count_nonzero(result.infection, axis=others)

    choice = choose_slices(result, axis, 5)

    assert choice.worst == int(areas.argmax())
    assert choice.worst in choice.indices
    assert len(set(choice.indices)) == 5
    assert list(choice.indices) == sorted(choice.indices, reverse=axis == AXIAL)


def test_slices_stay_where_there_is_infection_or_lung() -> None:
    result = make_result()
    infected = np.flatnonzero(result.infection.any(axis=(1, 2)))
    lungs = np.flatnonzero(result.anatomy.lungs.any(axis=(1, 2)))

    choice = choose_slices(result, AXIAL, 5)

    assert min(choice.indices) >= lungs[0]
    assert max(choice.indices) <= lungs[-1]
    assert sum(infected[0] <= index <= infected[-1] for index in choice.indices) >= 3


def test_a_tiny_lesion_is_shown_with_its_surroundings() -> None:
    result = make_result("none")
    infection = np.zeros_like(result.infection)
    infection[9, 40, 22] = 1

    choice = choose_slices(replace(result, infection=infection), AXIAL, 5)

    assert 9 in choice.indices
    assert len(set(choice.indices)) == 5
    assert max(choice.indices) - min(choice.indices) >= 8


def test_without_lesion_and_lungs_the_whole_ct_is_shown() -> None:
    result = make_result("none")
    empty = replace(result.anatomy, lungs=np.zeros_like(result.anatomy.lungs))

    choice = choose_slices(replace(result, anatomy=empty), AXIAL, 3)

    assert choice.worst is None
    assert choice.indices == (27, 14, 0)


def test_a_ct_of_few_slices_shows_them_all() -> None:
    result = make_result()
    assert choose_slices(result, AXIAL, 99).indices == tuple(range(27, -1, -1))


@pytest.mark.parametrize("axis", [AXIAL, CORONAL])
def test_right_is_left_front_is_up_and_head_is_up(axis: int) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    result = make_result("none")
    # Bright blocks in the patient's right, front, upper corner of an otherwise dark CT.
    hu = np.full(result.ct.shape_zyx, -1000, np.int16)
    hu[-8:, :16, :20] = 1000
    result = replace(result, ct=make_ct(hu), anatomy=replace(result.anatomy, lobes=None))
    figure = Figure(figsize=(3, 3))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    index = 24 if axis == AXIAL else 5

    draw_slice(axes, result, axis, index, field_of_view(result, axis))

    bright = np.argwhere(_pixels(figure).mean(axis=2) > 0.9)
    size = 180
    assert bright[:, 0].max() < size / 2, "what is in front or above must be in the upper half"
    assert bright[:, 1].max() < size / 2, "the patient's right must be in the left half"


def test_a_millimetre_is_as_long_across_as_up() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    result = make_result()
    figure = Figure(figsize=(4, 2))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_slice(axes, result, CORONAL, 32, field_of_view(result, CORONAL))

    across = axes.bbox.width / np.ptp(axes.get_xlim())
    up = axes.bbox.height / np.ptp(axes.get_ylim())
    assert across == pytest.approx(up)


def test_the_outline_lies_on_the_border_of_the_infection() -> None:
    result = make_result()
    figure = overview_figure(_measured(result))
    orange = np.array(segment_definition("infection").color)

    pixels = _pixels(figure, dpi=100)
    assert (np.abs(pixels - orange).max(axis=2) < 0.04).sum() > 200

    none = _pixels(overview_figure(_measured(make_result("none"))), dpi=100)
    left_of_text = none[:, : none.shape[1] * 2 // 3]
    assert (np.abs(left_of_text - orange).max(axis=2) < 0.04).sum() == 0


@pytest.mark.parametrize("complete", [True, False])
def test_a_case_without_lesions_says_so(complete: bool) -> None:
    result = _measured(
        make_result("none", with_boundary=complete, with_lobes=complete, with_opacity=complete)
    )

    texts = [text.get_text() for text in overview_figure(result).texts]

    assert "0 %" in texts
    assert "No infection was found in the lungs." in texts


def test_a_severe_case_is_drawn_with_its_number(tmp_path: Path) -> None:
    result = _measured(make_result("severe"))
    percent = result.quantification.row("total").measures["infected_percent"].value
    assert percent is not None
    write_overview(tmp_path / "overview.png", result)

    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")
    texts = [text.get_text() for text in overview_figure(result).texts]
    assert f"{percent:.0f} %" in texts


def test_the_input_grid_does_not_change_the_picture() -> None:
    degrees = GRIDS["sagittal-oblique"]["degrees"]
    expected = _pixels(overview_figure(make_result(degrees=degrees)))

    found = _pixels(overview_figure(make_result(**GRIDS["sagittal-oblique"])))

    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("count", [0, 3, 40])
def test_no_text_leaves_the_picture_or_covers_another(count: int) -> None:
    from matplotlib.text import Text

    warning = "The slices are more than 8 mm apart; small lesions can be missed. " * 2
    figure = overview_figure(replace(make_result(), warnings=(warning,) * count))
    figure.canvas.draw()

    legend_bottom = figure.legends[0].get_window_extent().y0
    (remarks,) = (text for text in figure.texts if "not a medical device" in text.get_text())
    assert remarks.get_window_extent().y1 < legend_bottom
    assert ("more remarks" in remarks.get_text()) == (count == 40)
    for text in figure.findobj(Text):
        box = text.get_window_extent()
        if text.get_text() and box.width > 0:
            assert box.x0 >= 0, text.get_text()
            assert box.x1 <= figure.bbox.width, text.get_text()
            assert box.y0 >= 0, text.get_text()
            assert box.y1 <= figure.bbox.height, text.get_text()


def test_the_file_is_the_same_twice_and_holds_no_name(tmp_path: Path) -> None:
    base = make_result()
    named = replace(
        base, ct=replace(base.ct, provenance=replace(base.ct.provenance, name="Doe^Jane"))
    )
    write_overview(tmp_path / "first.png", base)
    write_overview(tmp_path / "second.png", named)

    first = (tmp_path / "first.png").read_bytes()
    assert first == (tmp_path / "second.png").read_bytes()
    assert b"matplotlib" not in first


def test_drawing_leaves_no_global_state() -> None:
    package_folder = Path(write_overview.__code__.co_filename).parents[2]
    code = (
        "import sys, matplotlib\n"
        "before = matplotlib.rcParams.copy()\n"
        "from CovidLesionSegLib.export.overview import overview_figure\n"
        "from Testing.support.results import make_result\n"
        "overview_figure(make_result()).canvas.draw()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict.__eq__(matplotlib.rcParams, before)\n"
        "assert 'torch' not in sys.modules\n"
    )
    paths = (
        f"import sys; sys.path[:0] = [{str(package_folder)!r}, {str(package_folder.parent)!r}]\n"
    )
    subprocess.run([sys.executable, "-c", paths + code], check=True)


def test_positions_are_those_that_slicer_shows() -> None:
    result = make_result()
    x, y, z = result.ct.affine_lps[:3, 3]
    assert x < 0

    assert position_text(result, AXIAL, 0) == f"I {abs(z):.0f} mm"
    assert position_text(result, CORONAL, 0) == f"A {abs(y):.0f} mm"


def test_numbers_have_the_digits_they_deserve() -> None:
    assert [format_percent(value) for value in (0.0, 0.04, 0.55, 9.94, 57.2)] == [
        *("0", "< 0.1", "0.6", "9.9", "57"),
    ]
    assert [format_volume(value) for value in (0.0, 0.27, 12.4)] == ["0", "0.3", "12"]


def test_an_interval_that_says_nothing_is_left_out() -> None:
    percent = make_result().quantification.row("total").measures["infected_percent"]
    assert format_interval(replace(percent, value=29.2, low=25.4, high=31.9)) == "25 – 32"
    assert format_interval(replace(percent, value=0.0, low=0.0, high=0.0)) == ""
    assert format_interval(replace(percent, low=None, high=None)) == ""


def test_the_boundary_colours_grow_steadily_lighter() -> None:
    colors = np.array([ramp_color(BOUNDARY_RAMP_RGB, n / 20.0) for n in range(21)])
    lightness = colors @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(lightness) > 0.0).all()
    assert ramp_color(BOUNDARY_RAMP_RGB, 2.0) == ramp_color(BOUNDARY_RAMP_RGB, 1.0)
