"""The pictures of a report: the right slices, the right way round, marked, and readable in grey."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import Lobe, Lung, SegmentationResult
from CovidLesionSegLib.export.canvas import BLACK, WHITE, Canvas
from CovidLesionSegLib.export.key_slices import KeySlice, key_slices
from CovidLesionSegLib.export.png import encode_png
from CovidLesionSegLib.export.report_pictures import (
    INVOLVEMENT_CLASSES,
    SLICE_RATIO,
    involvement_maps,
    outline_infection,
    slice_png,
)
from CovidLesionSegLib.export.segments import segment_definition
from CovidLesionSegLib.export.slices import AXIAL, CORONAL
from Testing.support.results import make_ct, make_result

_LUMA = np.array([0.299, 0.587, 0.114])


def decoded(png: bytes) -> NDArray[np.float64]:
    from matplotlib.image import imread

    pixels: NDArray[np.float64] = imread(io.BytesIO(png), format="png")
    return np.rint(255.0 * pixels[..., :3]) if pixels.ndim == 3 else np.rint(255.0 * pixels)


def near(pixels: NDArray[np.float64], color: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(pixels - np.array(color)).max(axis=-1) < 30)


def is_white(pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(pixels.min(axis=-1) > 250)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1, 3)])
def test_png_keeps_every_pixel(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(decoded(encode_png(pixels)), pixels)


def test_png_refuses_what_it_can_not_write() -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_png(np.zeros((2, 2), np.float32))


def test_an_outline_lies_on_the_border() -> None:
    rows, columns = np.indices((60, 60))
    inside = np.clip(20.5 - np.hypot(rows - 30, columns - 30), 0.0, 1.0)
    canvas = Canvas(np.zeros((60, 60)))
    canvas.outline(inside, WHITE, 2.0)
    distance = np.abs(np.hypot(rows - 30, columns - 30) - 20.0)
    light = canvas.to_uint8()[..., 0]
    assert light[distance < 0.5].min() > 128
    assert light[distance > 3.0].max() == 0


def test_letters_are_told_apart() -> None:
    drawn = {}
    for letter in "RLAP5cm":
        canvas = Canvas(np.zeros((40, 50)))
        canvas.text(letter, (8.0, 8.0), 22.0, WHITE, BLACK)
        drawn[letter] = canvas.to_uint8()[..., 0]
        assert (drawn[letter] > 128).sum() > 60
    pictures = list(drawn.values())
    for first in range(len(pictures)):
        for second in range(first):
            different = np.abs(pictures[first].astype(int) - pictures[second]) > 128
            assert different.sum() > 20


def test_key_slices_are_the_worst_of_each_affected_lobe() -> None:
    result = make_result()
    lobes = result.anatomy.lobes
    assert lobes is not None
    *axial, coronal = key_slices(result)
    affected = {Lobe(int(label)) for label in np.unique(lobes[result.infection > 0])}
    assert {region for key in axial for region in key.regions} == affected
    for key in axial:
        for region in key.regions:
            areas = ((lobes == region) & (result.infection > 0)).sum(axis=(1, 2))
            assert areas[key.index] == areas.max()
    assert [key.index for key in axial] == sorted((key.index for key in axial), reverse=True)
    assert coronal.axis == CORONAL
    assert coronal.index == result.infection.sum(axis=(0, 2)).argmax()


def test_without_lobes_each_lung_has_its_worst_slice() -> None:
    axial = key_slices(make_result(with_lobes=False))[:-1]
    assert {region for key in axial for region in key.regions} == set(Lung)


def test_without_infection_slices_go_through_the_lungs() -> None:
    result = make_result("none")
    keys = key_slices(result)
    assert [key.axis for key in keys] == [AXIAL, AXIAL, CORONAL]
    for key in keys:
        assert key.regions == ()
        assert np.take(result.anatomy.lungs, key.index, key.axis).any()


def bright_corner() -> SegmentationResult:
    """A dark CT with a bright block in the patient's right, front, upper corner."""
    result = make_result("none")
    hu = np.full(result.ct.shape_zyx, -1000, np.int16)
    hu[-8:, :16, :20] = 1000
    nothing = np.zeros_like(result.infection)
    anatomy = replace(result.anatomy, lungs=nothing, lobes=None)
    return replace(result, ct=make_ct(hu), anatomy=anatomy)


@pytest.mark.parametrize(("axis", "index"), [(AXIAL, 24), (CORONAL, 5)])
def test_right_is_left_and_front_and_head_are_up(axis: int, index: int) -> None:
    pixels = decoded(slice_png(bright_corner(), KeySlice(axis, index)))
    height, width = pixels.shape[:2]
    assert height == round(SLICE_RATIO * width)
    # The letters stand in the middle of the sides, the scale in the lower right corner.
    assert is_white(pixels[: height // 3, : width // 2]).any()
    assert not is_white(pixels[: height // 3, width // 2 :]).any()
    assert not is_white(pixels[2 * height // 3 :, : width // 2]).any()


def test_every_slice_is_marked_right_left_and_with_a_scale() -> None:
    pixels = decoded(slice_png(bright_corner(), KeySlice(CORONAL, 40)))
    height, width = pixels.shape[:2]
    white = is_white(pixels)
    middle = slice(height // 2 - 20, height // 2 + 20)
    letters = white[middle, :40], white[middle, width - 40 :]
    assert all(letter.sum() > 30 for letter in letters)
    # R has a bowl at its upper right, L has nothing there.
    assert letters[0][:20, 18:].any()
    assert not letters[1][:18, -22:].any()
    bar = white[height - 60 :, width // 2 :]
    assert bar.any(axis=0).sum() > 60


def test_the_infection_is_outlined_where_it_lies() -> None:
    result = make_result()
    key = next(key for key in key_slices(result) if Lobe.RLL in key.regions)
    orange = near(decoded(slice_png(result, key)), segment_definition("infection").color_rgb)
    rows, columns = np.nonzero(orange)
    height, width = orange.shape
    # In this slice there is infection in the back of both lungs, none in the front.
    assert rows.min() > 0.4 * height
    assert columns.min() < 0.4 * width
    assert columns.max() > 0.6 * width
    healthy = decoded(slice_png(make_result("none"), key))
    assert not near(healthy, segment_definition("infection").color_rgb).any()


@pytest.mark.parametrize("ground", [0, 60, 110, 140, 170, 210, 255])
def test_the_outline_is_seen_in_greyscale_on_any_ground(ground: int) -> None:
    rows, columns = np.indices((40, 40))
    canvas = Canvas(np.full((40, 40), float(ground)))
    outline_infection(canvas, np.clip((columns - 19.5) / 4.0 + 0.5, 0.0, 1.0) + 0.0 * rows)
    grey = (_LUMA * canvas.to_uint8()).sum(axis=-1)[20]
    assert np.abs(grey - ground).max() > 80
    assert np.ptp(grey[15:25]) > 80


def test_the_map_shows_shares_where_they_are() -> None:
    result = make_result()
    front, right, left = involvement_maps(result)
    assert (front.name, right.name, left.name) == (
        "Both lungs from the front",
        "Right lung from the side",
        "Left lung from the side",
    )
    pixels = decoded(front.png)
    shares = (result.infection > 0).sum(axis=1) / np.maximum(
        (result.anatomy.lungs > 0).sum(axis=1), 1
    )
    shown = {
        number
        for number, (_, _, color) in enumerate(INVOLVEMENT_CLASSES)
        if (np.abs(pixels - np.array(color)).max(axis=-1) < 2).any()
    }
    borders = [lowest for lowest, _, _ in INVOLVEMENT_CLASSES]
    assert max(shown) == np.searchsorted(borders, 100.0 * shares.max(), side="right") - 1
    # The large lesion is low in the right lung: on the left of the picture, in its lower half.
    rows, columns = np.nonzero(near(pixels, INVOLVEMENT_CLASSES[max(shown)][2]))
    assert np.median(rows) > 0.5 * pixels.shape[0]
    assert np.median(columns) < 0.5 * pixels.shape[1]


def test_a_healthy_map_has_one_class_and_no_lungs_no_map() -> None:
    for view in involvement_maps(make_result("none")):
        pixels = decoded(view.png)
        for _, _, color in INVOLVEMENT_CLASSES[1:]:
            assert not (np.abs(pixels - np.array(color)).max(axis=-1) < 2).any()
    assert involvement_maps(bright_corner()) == ()


def test_classes_are_told_apart_in_greyscale() -> None:
    grey = [float((_LUMA * np.array(color)).sum()) for _, _, color in INVOLVEMENT_CLASSES]
    assert all(a - b > 12 for a, b in pairwise(grey))
    borders = [lowest for lowest, _, _ in INVOLVEMENT_CLASSES]
    assert borders == sorted(borders)
