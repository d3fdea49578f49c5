"""Steps of a review that can be taken back and done again, also by another tool's undo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .masks import bounding_box, shifted_box
from .review import LesionBook
from .review_values import Change, Snapshot

_MAXIMUM = 50
_MAXIMUM_BYTES = 512 * 1024**2


class ReviewHistory:
    """What was done to a book, and what was undone since.

    Args:
        book: The lesions.
        maximum_bytes: What the voxels of all steps may take; beyond it the oldest are forgotten.
    """

    def __init__(self, book: LesionBook, maximum_bytes: int = _MAXIMUM_BYTES) -> None:
        self._book = book
        self._maximum_bytes = maximum_bytes
        self._done: list[tuple[str, Snapshot]] = []
        self._undone: list[tuple[str, Snapshot]] = []

    @property
    def next_undo(self) -> str:
        """The step that `undo` takes back, empty when there is none."""
        return self._done[-1][0] if self._done else ""

    @property
    def size_bytes(self) -> int:
        """What the voxels take of the steps that `undo` can take back."""
        return sum(step.infection.nbytes + step.labels.nbytes for _, step in self._done)

    def note(self, action: str, before: Snapshot) -> None:
        """Remember the step that was just taken and the state before it."""
        self._done = [*self._done[1 - _MAXIMUM :], (action, _trimmed(self._book, before))]
        while len(self._done) > 1 and self.size_bytes > self._maximum_bytes:
            del self._done[0]
        self._undone = []

    def undo(self) -> tuple[str, Change]:
        """Take the last step back; returns its name and what that did to the infection."""
        action, snapshot = self._done.pop()
        before = self._book.restore(snapshot)
        self._undone.append((action, before))
        return action, _change(before, snapshot)

    def follow(self, infection: NDArray[np.uint8]) -> tuple[str, Change] | None:
        """Take steps back, or do them again, if that leads to an infection.

        So the undo of another tool, which knows voxels only, brings decisions back as well.

        Args:
            infection: uint8 ``[z, y, x]`` after the other tool's undo or redo.

        Returns:
            What was done, for the log, and what it did to the infection; None when the
            infection is none that was there before.
        """
        for steps, verb in ((self._done, "undo"), (self._undone, "redo")):
            if steps and _leads_to(self._book, steps[-1][1], infection):
                if verb == "undo":
                    action, change = self.undo()
                else:
                    action, change = self._redo()
                return f"{verb} {action}", change
        return None

    def _redo(self) -> tuple[str, Change]:
        action, snapshot = self._undone.pop()
        before = self._book.restore(snapshot)
        self._done.append((action, before))
        return action, _change(before, snapshot)


def _trimmed(book: LesionBook, before: Snapshot) -> Snapshot:
    """Return the state before a step without the voxels that it left as they were.

    A lesion's box may be half a lung, where a stroke changed a few voxels.
    """
    differs = book.labels[before.box] != before.labels
    differs |= book.infection[before.box] != before.infection
    inner = bounding_box(differs) if differs.any() else (slice(0, 0),) * 3
    return replace(
        before,
        box=shifted_box(inner, tuple(part.start for part in before.box)),
        infection=before.infection[inner].copy(),
        labels=before.labels[inner].copy(),
    )


def _leads_to(book: LesionBook, snapshot: Snapshot, infection: NDArray[np.uint8]) -> bool:
    """Return whether restoring a snapshot gives this infection."""
    box = snapshot.box
    if not np.array_equal(infection[box] > 0, snapshot.infection > 0):
        return False
    # Outside of the snapshot's box nothing may differ.
    inside = int(np.count_nonzero((infection[box] > 0) != (book.infection[box] > 0)))
    return inside > 0 and inside == int(np.count_nonzero(infection != book.infection))


def _change(before: Snapshot, after: Snapshot) -> Change:
    difference = after.infection.astype(np.int16) - before.infection
    return Change(int(np.sum(difference > 0)), int(np.sum(difference < 0)), after.box)
