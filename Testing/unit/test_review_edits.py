"""What edits by any tool do to lesions: cuts, crumbs, borders, and what following them costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.postprocess import MINIMUM_LESION_ML
from CovidLesionSegLib.engine.review import LesionBook
from CovidLesionSegLib.engine.review_history import ReviewHistory
from CovidLesionSegLib.engine.review_tools import split_at
from CovidLesionSegLib.engine.review_values import EDITED
from Testing.support.reviews import assert_measured_as_if_fresh, millimetre_context


def test_a_cut_parts_only_what_hung_together() -> None:
    wide, apart = (slice(2, 8), slice(2, 8), slice(2, 30)), (slice(12, 20),) * 3
    context = millimetre_context((24, 24, 36), wide, apart)
    book = LesionBook(context, context.ai_infection)
    book.merge([1, 2])
    infection = book.infection.copy()
    infection[wide][:, :, 20] = 0
    book.update(infection)
    assert np.array_equal(book.labels[wide][0, 0], [1] * 20 + [0] + [3] * 7)
    assert (book.labels[apart] == 1).all()


def test_crumbs_of_an_edit_are_no_lesions_and_stay_in_the_infection() -> None:
    whole = (slice(2, 14), slice(2, 8), slice(2, 8))
    context = millimetre_context((16, 10, 10), whole)
    book = LesionBook(context, context.ai_infection)
    infection = book.infection.copy()
    infection[12] = 0
    book.update(infection)
    assert [lesion.id for lesion in book.current] == [1]
    assert (book.infection[13, 2:8, 2:8] == 1).all()
    assert not book.labels[13].any()
    assert_measured_as_if_fresh(book, context)
    infection[:13] = 0
    book.update(infection)
    assert book.all == ()
    assert np.count_nonzero(book.infection) == 36
    infection[10:13, 2:5, 2:4] = 1  # a stroke that makes a lesion with the crumb below it
    book.update(infection)
    assert [lesion.state for lesion in book.current] == [EDITED]
    assert_measured_as_if_fresh(book, context)


def test_a_crumb_along_a_split_goes_to_the_lesion_it_touches() -> None:
    whole = (slice(2, 14), slice(2, 8), slice(2, 8))
    context = millimetre_context((16, 10, 10), whole)
    book = LesionBook(context, context.ai_infection)
    lower = np.zeros((12, 6, 6), dtype=bool)
    lower[6:] = True
    new_id, _ = book.split(1, lower, book.box(1))
    infection = book.infection.copy()
    infection[6] = 0
    _, before = book.update(infection) or pytest.fail("nothing changed")
    assert (book.labels[7:14, 2:8, 2:8] == new_id).all()
    assert book.lesion(new_id).volume_ml == pytest.approx(7 * 36 / 1000)
    assert book.decided_mask()[whole].all()
    book.restore(before)
    assert (book.labels[7, 2:8, 2:8] == 1).all()
    assert not book.decided_mask().any()


@pytest.mark.parametrize("seed", range(6))
def test_after_any_edits_the_lesions_are_those_of_a_fresh_search(seed: int) -> None:
    random = np.random.default_rng(seed)
    context = millimetre_context((24, 40, 40))
    book = LesionBook(context, context.ai_infection)
    for _ in range(8):
        infection = book.infection.copy()
        z, y, x = (int(random.integers(0, size - 4)) for size in infection.shape)
        box = (slice(z, z + 12), slice(y, y + 20), slice(x, x + 20))
        blurred = ndimage.gaussian_filter(random.normal(size=infection[box].shape), 1.0)
        infection[box] = blurred > random.uniform(0.0, 0.3)
        book.update(infection)
        _, fresh = find_lesions(
            infection, context.prediction, context.ct, context.anatomy, MINIMUM_LESION_ML
        )
        assert np.array_equal(fresh > 0, book.labels > 0)
        pairs = set(zip(fresh[fresh > 0].tolist(), book.labels[fresh > 0].tolist(), strict=True))
        assert len(pairs) == len(book.current) == int(fresh.max())
    assert_measured_as_if_fresh(book, context)


def test_a_step_costs_the_undo_what_it_changed_not_what_it_touched() -> None:
    whole = (slice(2, 38),) * 3
    context = millimetre_context((40, 40, 40), whole)
    book = LesionBook(context, context.ai_infection)
    history = ReviewHistory(book)
    infection = book.infection.copy()
    infection[20, 20:23, 20:24] = 0
    history.note("edit", (book.update(infection) or pytest.fail("nothing changed"))[1])
    assert history.size_bytes == 3 * 4 * 3  # one byte of infection, two of the label
    action, change = history.undo()
    assert (action, change.added_voxels) == ("edit", 12)
    assert np.array_equal(book.infection, context.ai_infection)
    assert (book.labels[whole] == 1).all()
    assert book.lesion(1).volume_ml == pytest.approx(36**3 / 1000)
    followed = history.follow(infection)
    assert followed is not None
    assert followed[0] == "redo edit"
    assert np.array_equal(book.infection, infection)


def test_the_oldest_steps_are_forgotten_when_they_take_too_much_memory() -> None:
    context = millimetre_context((40, 40, 40), (slice(2, 38),) * 3)
    book = LesionBook(context, context.ai_infection)
    history = ReviewHistory(book, maximum_bytes=1000)
    states = [book.infection.copy()]
    for z in range(4, 12):
        infection = book.infection.copy()
        infection[z, 4:16, 4:14] = 0
        history.note(f"edit {z}", (book.update(infection) or pytest.fail("nothing changed"))[1])
        states.append(infection)
    taken_back = 0
    while history.next_undo:
        history.undo()
        taken_back += 1
        assert np.array_equal(book.infection, states[-1 - taken_back])
    assert taken_back == 1000 // (12 * 10 * 3)


def test_a_lesion_at_the_border_of_the_ct_is_split() -> None:
    """The pleural distance knows blocks of 2 mm, and the last slice is half a block."""
    last = (slice(8, 9), slice(2, 18), slice(2, 18))
    context = millimetre_context((9, 20, 20), last)
    book = LesionBook(context, context.ai_infection)
    new_id, _ = book.split(1, split_at(book, context, 1, (8, 2, 2)), book.box(1))
    whole = find_lesions(context.ai_infection, context.prediction, context.ct, context.anatomy, 0)
    assert (
        min(book.lesion(part).pleural_distance_mm or 0.0 for part in (1, new_id))
        == whole[0][0].pleural_distance_mm
    )


def test_a_filter_over_many_lesions_costs_each_its_own_box(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looking at the whole segment for every lesion would cost a volume for each of them."""
    specks = [
        (slice(z, z + 5), slice(y, y + 5), slice(x, x + 5))
        for z in range(2, 38, 9)
        for y in range(3, 90, 9)
        for x in range(3, 90, 9)
    ]
    context = millimetre_context((40, 96, 96), *specks)
    book = LesionBook(context, context.ai_infection)
    searched: list[int] = []
    label = ndimage.label

    def counted(mask: NDArray[Any], *arguments: Any, **options: Any) -> Any:
        searched.append(mask.size)
        return label(mask, *arguments, **options)

    monkeypatch.setattr(ndimage, "label", counted)
    book.update(ndimage.binary_dilation(context.ai_infection).astype(np.uint8))
    assert len(book.current) == len(specks)
    assert 0 < sum(searched) < 8 * context.ai_infection.size, "in all, not for each lesion"
