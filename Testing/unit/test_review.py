"""Lesions keep their identity through edits; numbers equal those of a fresh start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.result import Lobe
from CovidLesionSegLib.engine.review import LesionBook
from CovidLesionSegLib.engine.review_history import ReviewHistory
from CovidLesionSegLib.engine.review_tools import grow_at, index_of_point, split_at
from CovidLesionSegLib.engine.review_values import (
    ACCEPTED,
    EDITED,
    REJECTED,
    ReviewContext,
    is_small,
    volume_in_doubt_ml,
)
from CovidLesionSegLib.engine.uncertainty import doubt
from CovidLesionSegLib.errors import InputError
from Testing.support.results import make_result
from Testing.support.reviews import assert_measured_as_if_fresh


@pytest.fixture
def context() -> ReviewContext:
    result = make_result("moderate")
    return ReviewContext(result.ct, result.anatomy, result.prediction, result.infection)


@pytest.fixture
def book(context: ReviewContext) -> LesionBook:
    return LesionBook(context, context.ai_infection)


def voxels(book: LesionBook, lesion_id: int) -> NDArray[np.intp]:
    return np.argwhere(book.labels == lesion_id)


def test_nothing_changed_is_no_change(book: LesionBook) -> None:
    assert book.update(book.infection.copy()) is None
    assert not book.is_edited()
    assert book.dice_to_ai() == 1.0


def test_the_largest_volume_in_doubt_comes_first(book: LesionBook) -> None:
    assert len(book.all) == 3
    large = [lesion for lesion in book.all if not is_small(lesion)]
    assert book.all[: len(large)] == tuple(large)
    doubts = [volume_in_doubt_ml(lesion) for lesion in large]
    assert doubts == sorted(doubts, reverse=True)


def test_the_volume_in_doubt_is_what_the_interval_counts(
    book: LesionBook, context: ReviewContext
) -> None:
    inside = book.labels == 1
    wrong = doubt(context.prediction.infection[inside], np.ones(inside.sum(), bool), None)
    assert book.lesion(1).doubt_ml == pytest.approx(wrong.sum() * context.ct.voxel_volume_ml)


def test_added_voxels_belong_to_the_lesion_they_touch(
    book: LesionBook, context: ReviewContext
) -> None:
    infection = book.infection.copy()
    box = book.box(1)
    z, y, x = (part.start + (part.stop - part.start) // 2 for part in box)
    infection[z, y, box[2].start - 2 : x] = 1
    done = book.update(infection)
    assert done is not None
    change, _ = done
    assert change.added_voxels > 0
    assert change.removed_voxels == 0
    assert [lesion.id for lesion in book.current] == [1, 2, 3]
    assert book.lesion(1).state == EDITED
    assert book.lesion(2).state == "unreviewed"
    assert_measured_as_if_fresh(book, context)


def test_a_cut_makes_two_lesions_and_the_larger_keeps_the_id(
    book: LesionBook, context: ReviewContext
) -> None:
    infection = book.infection.copy()
    box = book.box(1)
    infection[:, :, box[2].start + (box[2].stop - box[2].start) // 3][
        book.labels[:, :, box[2].start + (box[2].stop - box[2].start) // 3] == 1
    ] = 0
    book.update(infection)
    assert [lesion.id for lesion in book.current] == [1, 2, 3, 4]
    assert book.lesion(1).volume_ml > book.lesion(4).volume_ml
    assert_measured_as_if_fresh(book, context)


def test_a_drawn_lesion_is_new_and_a_dot_is_none(book: LesionBook, context: ReviewContext) -> None:
    infection = book.infection.copy()
    infection[22:25, 20:24, 15:19] = 1
    book.update(infection)
    assert book.lesion(4).state == EDITED
    assert_measured_as_if_fresh(book, context)


def test_reject_undo_and_the_segment_editors_undo(book: LesionBook) -> None:
    before = book.infection.copy()
    book.decide([1], ACCEPTED)
    change, snapshot = book.reject([1])
    assert change.removed_voxels == int(np.sum(before)) - int(np.sum(book.infection))
    states = {lesion.id: lesion.state for lesion in book.all}
    assert states == {1: REJECTED, 2: "unreviewed", 3: "unreviewed"}
    assert book.progress == (1, 3)
    book.restore(snapshot)
    assert np.array_equal(book.infection, before)
    assert book.lesion(1).state == ACCEPTED
    book.reject([1])
    book.update(before)  # as another tool's undo does
    assert {lesion.id: lesion.state for lesion in book.all}[1] == "unreviewed"


def bridge(book: LesionBook) -> NDArray[np.uint8]:
    """The infection with a straight bridge between the lesions 1 and 2."""
    infection = book.infection.copy()
    ends = [voxels(book, lesion).mean(axis=0) for lesion in (1, 2)]
    for part in np.linspace(0.0, 1.0, 400):
        z, y, x = np.rint((1.0 - part) * ends[0] + part * ends[1]).astype(int)
        infection[z, y, x] = 1
    return infection


def test_several_are_rejected_in_one_step(book: LesionBook) -> None:
    before, states = book.infection.copy(), [lesion.state for lesion in book.all]
    change, snapshot = book.reject([1, 3])
    assert {lesion.id for lesion in book.current} == {2}
    assert np.array_equal(book.infection > 0, book.labels == 2)
    assert change.removed_voxels == int(before.sum()) - int(book.infection.sum())
    assert book.is_edited()
    book.restore(snapshot)
    assert np.array_equal(book.infection, before)
    assert [lesion.state for lesion in book.all] == states
    assert not book.is_edited()


def test_a_bridge_makes_one_lesion_of_two(book: LesionBook, context: ReviewContext) -> None:
    done = book.update(bridge(book))
    assert done is not None
    assert [lesion.id for lesion in book.current] == [1, 3]
    assert book.lesion(1).state == EDITED
    assert_measured_as_if_fresh(book, context)
    book.restore(done[1])
    assert [lesion.id for lesion in book.current] == [1, 2, 3]
    assert {lesion.state for lesion in book.current} == {"unreviewed"}


def test_what_was_split_by_hand_is_not_joined_by_a_stroke(
    book: LesionBook, context: ReviewContext
) -> None:
    z, y, x = voxels(book, 1)[0].tolist()
    new_id, _ = book.split(1, split_at(book, context, 1, (z, y, x)), book.box(1))
    infection = book.infection.copy()
    grown = np.zeros_like(infection)
    box = book.box(1)
    grown[box] = 1
    infection[(grown > 0) & (book.labels == 0)] = 1
    book.update(infection)
    assert {1, new_id} <= {lesion.id for lesion in book.current}


def test_another_tool_that_undoes_brings_decisions_back(book: LesionBook) -> None:
    history = ReviewHistory(book)
    computed = book.infection.copy()
    history.note("accept", book.decide([2], ACCEPTED))
    _, before = book.reject([1])
    history.note("reject", before)
    rejected = book.infection.copy()
    done = history.follow(computed)
    assert done is not None
    assert done[0] == "undo reject"
    assert done[1].removed_voxels == 0 < done[1].added_voxels
    assert {lesion.id: lesion.state for lesion in book.all} == {
        1: "unreviewed",
        2: ACCEPTED,
        3: "unreviewed",
    }
    again = history.follow(rejected)
    assert again is not None
    assert again[0] == "redo reject"
    assert [lesion.id for lesion in book.all if lesion.state == REJECTED] == [1]
    other = rejected.copy()
    other[0, 0, 0] = 1
    assert history.follow(other) is None
    assert history.next_undo == "reject"


def test_undo_after_corrected_lobes_keeps_the_correction(
    book: LesionBook, context: ReviewContext
) -> None:
    history = ReviewHistory(book)
    history.note("accept", book.decide([1], ACCEPTED))
    place = tuple(voxels(book, 1)[0])
    lobes, lobe = context.anatomy.lobes, book.lesion(1).lobe
    assert lobes is not None
    other = next(known for known in Lobe if known != lobe)
    corrected = np.where(lobes == lobe, other, lobes).astype(np.uint8)
    anatomy = replace(context.anatomy, lobes=corrected, lungs=np.ones_like(corrected))
    now = replace(context, anatomy=anatomy)
    book.adapt(now)
    infection = book.infection.copy()
    infection[place] = 0
    _, before = book.update(infection) or pytest.fail("nothing changed")
    history.note("edit", before)
    history.undo()
    history.undo()
    assert (book.lesion(1).state, book.lesion(1).lobe) == ("unreviewed", other)
    assert_measured_as_if_fresh(book, now)


def test_split_and_merge_change_no_voxel(book: LesionBook, context: ReviewContext) -> None:
    before, volume = book.infection.copy(), book.lesion(1).volume_ml
    place = tuple(int(i) for i in voxels(book, 1)[0])
    part = split_at(book, context, 1, (place[0], place[1], place[2]))
    new_id, snapshot = book.split(1, part, book.box(1))
    assert np.array_equal(book.infection, before)
    assert book.labels[place] == new_id
    assert book.lesion(1).volume_ml + book.lesion(new_id).volume_ml == pytest.approx(volume)
    book.merge([1, new_id])
    assert book.lesion(1).volume_ml == pytest.approx(volume)
    assert [lesion.id for lesion in book.current] == [1, 2, 3]
    book.restore(snapshot)
    assert_measured_as_if_fresh(book, context)


@pytest.mark.parametrize(
    ("decided", "state"),
    [
        ({}, "unreviewed"),
        ({1: ACCEPTED}, "unreviewed"),
        ({2: ACCEPTED}, "unreviewed"),
        ({2: EDITED}, "unreviewed"),
        ({1: ACCEPTED, 2: ACCEPTED}, ACCEPTED),
        ({1: ACCEPTED, 2: EDITED}, EDITED),
    ],
)
def test_merged_lesions_are_decided_only_if_all_of_them_were(
    book: LesionBook, decided: dict[int, str], state: str
) -> None:
    for lesion_id, decision in decided.items():
        book.decide([lesion_id], decision)
    before = book.merge([1, 2])
    assert book.lesion(1).state == state
    assert book.decided_mask()[book.labels == 1].all() == (state != "unreviewed")
    book.restore(before)
    assert {lesion.id: lesion.state for lesion in book.current} == {
        lesion_id: decided.get(lesion_id, "unreviewed") for lesion_id in (1, 2, 3)
    }


def test_lesions_merged_by_hand_stay_one_through_an_edit(book: LesionBook) -> None:
    book.merge([1, 2])
    z, y, x = voxels(book, 1)[0]
    infection = book.infection.copy()
    infection[z, y, x] = 0
    book.update(infection)
    assert [lesion.id for lesion in book.current] == [1, 3]
    assert book.lesion(1).state == EDITED


def test_a_lesion_too_small_is_not_split(context: ReviewContext) -> None:
    tiny = np.zeros_like(context.ai_infection)
    tiny[10, 30, 20] = 1
    book = LesionBook(context, tiny)
    with pytest.raises(InputError, match="split"):
        split_at(book, context, 1, (10, 30, 20))


def test_a_missed_lesion_grows_on_the_probability(context: ReviewContext) -> None:
    without = np.where(
        find_lesions(context.ai_infection, context.prediction, context.ct, context.anatomy, 0.05)[1]
        == 2,
        0,
        context.ai_infection,
    ).astype(np.uint8)
    book = LesionBook(context, without)
    missed = find_lesions(
        context.ai_infection, context.prediction, context.ct, context.anatomy, 0.05
    )[0][1]
    index = index_of_point(context, missed.centroid_lps_mm)
    book.update(grow_at(context, without, index))
    assert len(book.current) == 3
    assert book.lesion(3).volume_ml == pytest.approx(missed.volume_ml, rel=0.5)


@pytest.mark.parametrize("index", [(0, 0, 0), (14, 25, 12)])
def test_nothing_grows_where_nothing_was_seen(
    context: ReviewContext, index: tuple[int, int, int]
) -> None:
    with pytest.raises(InputError, match="Segment Editor"):
        grow_at(context, context.ai_infection, index)


def test_a_saved_book_opens_as_it_was(book: LesionBook, context: ReviewContext) -> None:
    book.decide([2], ACCEPTED)
    book.reject([3])
    again = LesionBook(
        context,
        book.infection,
        book.labels,
        {lesion.id: lesion.state for lesion in book.current},
        [lesion for lesion in book.all if lesion.state == REJECTED],
    )
    assert again.update(book.infection) is None
    for one, other in zip(again.all, book.all, strict=True):
        assert (one.id, one.state, one.lobe) == (other.id, other.state, other.lobe)
        assert one.centroid_lps_mm == pytest.approx(other.centroid_lps_mm)
    assert again.progress == book.progress == (2, 3)
