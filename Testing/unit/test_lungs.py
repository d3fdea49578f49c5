"""Lungs of plain chests: what belongs to them, what does not, and what is flagged."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lungs import segment_lungs
from CovidLesionSegLib.engine.lungs_grid import WorkingGrid
from CovidLesionSegLib.engine.result import Lung
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.errors import CancelledError, InputError
from Testing.support.plain_chest import STOMACH_MM, TRACHEA_MM, PlainChest, plain_chest


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def _check_both(chest: PlainChest, labels: NDArray[np.uint8], minimum: float = 0.97) -> None:
    for side in Lung:
        assert _dice(labels == side, chest.lungs == side) > minimum


@pytest.fixture(scope="module")
def chest() -> PlainChest:
    return plain_chest()


def test_both_lungs_and_nothing_else(chest: PlainChest) -> None:
    found = segment_lungs(chest.ct)
    _check_both(chest, found.labels)
    assert found.flags == ()
    assert found.air_hu == pytest.approx(-1000, abs=5)
    trachea = ((chest.x - 190) ** 2 + (chest.y - 165) ** 2 < 49) & (chest.z > TRACHEA_MM[0])
    assert not found.labels[trachea].any()
    around = zip((chest.z, chest.y, chest.x), STOMACH_MM, strict=True)
    stomach = sum((a - c) ** 2 for a, c in around) < 18**2
    assert not found.labels[stomach & (chest.lungs == 0)].any()
    assert not found.labels[chest.y > 262].any()  # the table


@pytest.mark.parametrize("spacing", [(0.5, 1.2, 1.2), (2.0, 0.9, 0.9), (10.0, 2.0, 2.0)])
def test_any_slice_thickness(spacing: tuple[float, float, float]) -> None:
    chest = plain_chest(spacing, scale=0.45 if spacing[0] < 1 else 0.6)
    _check_both(chest, segment_lungs(chest.ct).labels, 0.95)


def test_the_border_is_found_at_full_resolution() -> None:
    """Blocks of three voxels: the border lies within a voxel, not within a block."""
    chest = plain_chest((2.0, 0.7, 0.7), scale=0.5)
    assert WorkingGrid.of(chest.ct.hu, chest.ct.spacing_mm_zyx).factor == (1, 3, 3)
    _check_both(chest, segment_lungs(chest.ct).labels, 0.985)


@pytest.mark.parametrize("gap_mm", [0.0, 3.0])
def test_lungs_that_touch_are_parted(gap_mm: float) -> None:
    chest = plain_chest(gap_mm=gap_mm)
    labels = segment_lungs(chest.ct).labels
    _check_both(chest, labels, 0.95)


def test_consolidation_at_the_pleura_stays_inside() -> None:
    chest = plain_chest((4.0, 2.0, 2.0), lesion_mm=35.0)
    lesion = (chest.lungs == Lung.RIGHT) & (chest.ct.hu > -300) & (np.abs(chest.z - 130) < 35)
    labels = segment_lungs(chest.ct).labels
    assert np.count_nonzero(lesion & (labels == Lung.RIGHT)) > 0.95 * np.count_nonzero(lesion)
    _check_both(chest, labels, 0.96)


@pytest.mark.parametrize("side", list(Lung))
def test_one_lung(side: Lung) -> None:
    chest = plain_chest(sides=(int(side),))
    found = segment_lungs(chest.ct)
    assert found.flags == ("single-lung",)
    assert _dice(found.labels == side, chest.lungs == side) > 0.97


@pytest.mark.parametrize("part", ["low", "high", "field-of-view"])
def test_cut_lungs_are_flagged(chest: PlainChest, part: str) -> None:
    box = {
        "low": (slice(20, None), slice(None), slice(None)),
        "high": (slice(None, 30), slice(None), slice(None)),
        "field-of-view": (slice(None), slice(None), slice(32, 96)),
    }[part]
    ct = CtVolume.from_array(chest.ct.hu[box].copy(), chest.ct.affine_lps)
    found = segment_lungs(ct)
    assert "partial-lung" in found.flags
    truth = chest.lungs[box]
    assert _dice(found.labels > 0, truth > 0) > 0.93


def test_a_child() -> None:
    child = plain_chest((3.0, 1.5, 1.5), scale=0.45)
    _check_both(child, segment_lungs(child.ct).labels, 0.95)


def test_shifted_hu_are_noticed_and_do_not_matter(chest: PlainChest) -> None:
    shifted = (chest.ct.hu * 0.88).astype(np.int16)
    found = segment_lungs(CtVolume.from_array(shifted, chest.ct.affine_lps))
    assert "hu-offset-suspected" in found.flags
    _check_both(chest, found.labels)


def test_no_lung() -> None:
    nothing = plain_chest(sides=())
    with pytest.raises(InputError) as caught:
        segment_lungs(nothing.ct)
    assert caught.value.code == "no-lung-found"


def test_mirroring_the_patient_swaps_the_sides(chest: PlainChest) -> None:
    labels = segment_lungs(chest.ct).labels
    mirrored = CtVolume.from_array(chest.ct.hu[..., ::-1].copy(), chest.ct.affine_lps)
    swapped = np.array([0, 2, 1], dtype=np.uint8)[labels][..., ::-1]
    found = segment_lungs(mirrored).labels
    assert np.count_nonzero(found != swapped) < 0.002 * np.count_nonzero(labels)


def test_the_networks_consolidation_is_kept_and_its_mistakes_are_not(chest: PlainChest) -> None:
    hu = chest.ct.hu.copy()
    lobe = (chest.lungs == Lung.RIGHT) & (chest.z < 110)
    hu[lobe] = 40  # a lobe as dense as muscle: the CT alone can't know
    ct = CtVolume.from_array(hu, chest.ct.affine_lps)
    model = chest.lungs.copy()
    model[chest.y > 268] = Lung.LEFT  # the table
    model[(chest.lungs == Lung.LEFT) & (chest.z > 200)] = 0  # and a missed apex
    alone = segment_lungs(ct).labels
    together = segment_lungs(ct, model).labels
    inside = np.count_nonzero(lobe)
    assert np.count_nonzero(alone[lobe]) < 0.5 * inside
    assert np.count_nonzero(together[lobe] == Lung.RIGHT) > 0.97 * inside
    _check_both(chest, together, 0.96)


def test_an_empty_network_answer_leaves_the_classical_lungs(chest: PlainChest) -> None:
    nothing = np.zeros(chest.ct.hu.shape, dtype=np.uint8)
    together = segment_lungs(chest.ct, nothing).labels
    np.testing.assert_array_equal(together, segment_lungs(chest.ct).labels)


def test_working_grid_blocks_come_back_in_place() -> None:
    hu = np.arange(7 * 9 * 11, dtype=np.int16).reshape(7, 9, 11)
    grid = WorkingGrid.of(hu, (0.7, 1.0, 2.0))
    assert grid.factor == (3, 2, 1)
    assert grid.hu.shape == (3, 5, 11)
    assert grid.hu[0, 0, 0] == round(float(hu[:3, :2, 0].mean()))
    back = grid.expand(grid.hu)
    assert back.shape == hu.shape
    assert back[3, 2, 5] == grid.hu[1, 1, 5]


def test_a_network_asked_meanwhile_gives_the_same(chest: PlainChest) -> None:
    model = segment_lungs(chest.ct).labels
    asked: list[str] = []

    def ask() -> NDArray[np.uint8]:
        asked.append(threading.current_thread().name)
        return model

    together = segment_lungs(chest.ct, ask).labels
    np.testing.assert_array_equal(together, segment_lungs(chest.ct, model).labels)
    assert asked == [threading.current_thread().name]


def test_a_cancel_in_the_network_comes_through(chest: PlainChest) -> None:
    def cancelled() -> NDArray[np.uint8]:
        raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        segment_lungs(chest.ct, cancelled)
