"""Lesions under review: identities that outlive edits, and what a person decided.

A lesion keeps its id while voxels are added to it or taken from it. What is drawn apart is a
new lesion, what is cut off becomes one, and crumbs below `MINIMUM_LESION_ML` are infection but
no lesion, as in a fresh search. Splitting or merging by hand changes who owns the voxels, never
the voxels, and lasts. After an edit only the lesions near it are measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .lesions import find_lesions
from .masks import Box, bounding_box, grown_box
from .postprocess import MINIMUM_LESION_ML
from .result import Lesion
from .review_joins import JoiningLesions, lesion_boxes, lesion_of_piece
from .review_measure import LesionMeter
from .review_pieces import Piece, divided, joined, pieces_of, pieces_of_lesion
from .review_values import (
    EDITED,
    REJECTED,
    UNREVIEWED,
    WHOLE,
    Change,
    Labels,
    ReviewContext,
    Snapshot,
    review_rank,
    union_box,
)

_NOWHERE: Box = (slice(0, 0), slice(0, 0), slice(0, 0))


class LesionBook:
    """The lesions of one CT under review.

    Args:
        context: What stays the same.
        infection: uint8 ``[z, y, x]``, 0 or 1: the infection now, or the one that the labels were
            recorded with; `update` then follows what has changed since.
        labels: uint16 of the same shape with the lesions' ids from an earlier session.
        decisions: What was decided then, by id.
        rejected: Lesions rejected then.
    """

    def __init__(
        self,
        context: ReviewContext,
        infection: NDArray[np.uint8],
        labels: Labels | None = None,
        decisions: Mapping[int, str] | None = None,
        rejected: Iterable[Lesion] = (),
    ) -> None:
        self._context = context
        self._meter = LesionMeter(context)
        self._anatomy_version = 0
        self._decisions = dict(decisions or {})
        self._rejected = {lesion.id: lesion for lesion in rejected}
        self._lesions: dict[int, Lesion] = {}
        self._boxes: dict[int, Box] = {}
        self.infection = (infection > 0).astype(np.uint8)
        if labels is None:
            found, self.labels = find_lesions(
                infection,
                context.prediction,
                context.ct,
                context.anatomy,
                MINIMUM_LESION_ML,
                self._meter.pleura,
            )
            self._lesions = {lesion.id: lesion for lesion in found}
            self._boxes = lesion_boxes(self.labels)
        else:
            self.labels = labels.copy()
            for lesion_id, box in lesion_boxes(self.labels).items():
                self._measure(lesion_id, box)
        self._counts = self._count(WHOLE)
        self._decided = np.zeros(infection.shape, dtype=bool)
        self._stale: list[Box] = [WHOLE]
        self._ai_count = int(np.count_nonzero(context.ai_infection))
        self._next_id = max([0, *self._lesions, *self._rejected, *self._decisions]) + 1

    def adapt(self, context: ReviewContext) -> None:
        """Measure again after lungs or lobes were corrected."""
        self._context = context
        self._meter = LesionMeter(context)
        self._anatomy_version += 1
        self._measure_all()

    @property
    def current(self) -> tuple[Lesion, ...]:
        """The lesions that are there, by id, with their states."""
        return tuple(self._with_state(lesion) for _, lesion in sorted(self._lesions.items()))

    @property
    def all(self) -> tuple[Lesion, ...]:
        """Lesions that are there and rejected ones, in the order of the review."""
        rejected = (replace(lesion, state=REJECTED) for lesion in self._rejected.values())
        return tuple(sorted((*self.current, *rejected), key=review_rank))

    @property
    def progress(self) -> tuple[int, int]:
        """How many lesions are decided, and of how many."""
        states = [lesion.state for lesion in self.all]
        return sum(state != UNREVIEWED for state in states), len(states)

    def lesion(self, lesion_id: int) -> Lesion:
        """Return a lesion that is there; KeyError when there is none."""
        return self._with_state(self._lesions[lesion_id])

    def box(self, lesion_id: int) -> Box:
        """Return where a lesion lies; KeyError when it is not there."""
        return self._boxes[lesion_id]

    def decide(self, lesion_ids: Iterable[int], decision: str) -> Snapshot:
        """Note a decision about lesions; returns the state before."""
        before = self.snapshot(_NOWHERE)
        for lesion_id in lesion_ids:
            self._stale.append(self._boxes[lesion_id])
            self._decisions[lesion_id] = decision
        return before

    def reject(self, lesion_ids: Iterable[int]) -> tuple[Change, Snapshot]:
        """Remove lesions and remember them as rejected; KeyError when one is not there."""
        boxes = {lesion_id: self._boxes[lesion_id] for lesion_id in lesion_ids}
        box, (voxels, _) = union_box(boxes.values()), self._counts
        before, counted = self.snapshot(box), self._count(box)
        for lesion_id, own in boxes.items():
            inside = self.labels[own] == lesion_id
            self.infection[own][inside] = 0
            self.labels[own][inside] = 0
            self._rejected[lesion_id] = self._lesions[lesion_id]
            self._forget(lesion_id)
        self._recount(counted, box)
        return Change(0, voxels - self._counts[0], box), before

    def update(self, infection: NDArray[np.uint8]) -> tuple[Change, Snapshot] | None:
        """Follow an edit of the infection, whoever made it.

        Args:
            infection: uint8 ``[z, y, x]``, 0 or 1, the infection after the edit.

        Returns:
            What changed and the state before; None when nothing did.
        """
        differs = np.not_equal(infection, self.infection)
        slices = np.flatnonzero(differs.any(axis=(1, 2)))
        if slices.size == 0:
            return None
        z = slice(int(slices[0]), int(slices[-1]) + 1)
        box = (z, *bounding_box(differs[z])[1:])
        was, now = self.infection[box] > 0, infection[box] > 0
        change = Change(int(np.sum(now & ~was)), int(np.sum(was & ~now)), box)
        near = self._region_of(box)
        before = self.snapshot(near)
        edited = set(np.unique(self.labels[box][differs[box]]).tolist()) - {0}
        counted = self._count(box)
        self.infection[box] = now
        self._recount(counted, box)
        for lesion_id in edited:
            self._decisions[lesion_id] = EDITED
        concerned = self._relabel(before, grown_box(box, self.labels.shape))
        found = lesion_boxes(self.labels, near)
        for lesion_id in concerned:
            places = [boxes[lesion_id] for boxes in (found, self._boxes) if lesion_id in boxes]
            self._measure(lesion_id, union_box(places))
        return change, before

    def split(self, lesion_id: int, parts: NDArray[np.bool_], box: Box) -> tuple[int, Snapshot]:
        """Give a part of a lesion an id of its own; no voxel of the infection changes.

        Args:
            lesion_id: The lesion.
            parts: Boolean on ``box``, true for the new lesion.
            box: The lesion's box.

        Returns:
            The new id and the state before.
        """
        before = self.snapshot(box)
        new_id = self._take_id()
        self.labels[box][parts & (self.labels[box] == lesion_id)] = new_id
        for part in (lesion_id, new_id):
            self._measure(part, before.box)
        return new_id, before

    def merge(self, lesion_ids: Iterable[int]) -> Snapshot:
        """Make one lesion of several: the one with the smallest id remains.

        It is decided only if all of them were: with their decision, or as edited where that
        differed. Returns the state before.
        """
        first, *others = sorted(lesion_ids)
        states = {self.lesion(lesion_id).state for lesion_id in (first, *others)}
        box = union_box(self.box(lesion_id) for lesion_id in (first, *others))
        before = self.snapshot(box)
        for lesion_id in others:
            self.labels[before.box][self.labels[before.box] == lesion_id] = first
            self._forget(lesion_id)
        if UNREVIEWED in states:
            self._decisions.pop(first, None)
        else:
            self._decisions[first] = states.pop() if len(states) == 1 else EDITED
        self._measure(first, before.box)
        return before

    def snapshot(self, box: Box) -> Snapshot:
        """Return the state now, with the voxels of a box."""
        self._stale.append(box)
        return Snapshot(
            box,
            self.infection[box].copy(),
            self.labels[box].copy(),
            dict(self._lesions),
            dict(self._boxes),
            dict(self._decisions),
            dict(self._rejected),
            self._anatomy_version,
        )

    def restore(self, snapshot: Snapshot) -> Snapshot:
        """Go back to a snapshot; returns the state before, for redo."""
        before = self.snapshot(snapshot.box)
        changed = set(self._decisions.items()) ^ set(snapshot.decisions.items())
        counted = self._count(snapshot.box)
        self.infection[snapshot.box] = snapshot.infection
        self._recount(counted, snapshot.box)
        self.labels[snapshot.box] = snapshot.labels
        self._lesions = dict(snapshot.lesions)
        self._boxes = dict(snapshot.boxes)
        self._decisions = dict(snapshot.decisions)
        self._rejected = dict(snapshot.rejected)
        if snapshot.anatomy_version != self._anatomy_version:
            self._measure_all()
        self._stale += [self._boxes[key] for key, _ in changed if key in self._boxes]
        return before

    def dice_to_ai(self) -> float:
        """Return the Dice coefficient of the infection now and as computed; 1 if both empty."""
        now, both = self._counts
        total = now + self._ai_count
        return 1.0 if total == 0 else 2.0 * both / total

    def is_edited(self) -> bool:
        """Return whether the infection differs from the one that was computed."""
        now, both = self._counts
        return not now == both == self._ai_count

    def decided_mask(self) -> NDArray[np.bool_]:
        """Return where a person decided: boolean ``[z, y, x]``; only what changed is redone."""
        decided = np.zeros(np.iinfo(np.uint16).max + 1, dtype=bool)
        decided[[lesion.id for lesion in self.current if lesion.state != UNREVIEWED]] = True
        for box in self._stale:
            removed = (self._context.ai_infection[box] > 0) & (self.infection[box] == 0)
            self._decided[box] = decided[self.labels[box]] | removed
        self._stale = []
        return self._decided

    def _count(self, box: Box) -> tuple[int, int]:
        """Return how many voxels are infected now, and now as well as computed."""
        now = self.infection[box] > 0
        both = now & (self._context.ai_infection[box] > 0)
        return int(np.count_nonzero(now)), int(np.count_nonzero(both))

    def _recount(self, before: tuple[int, int], box: Box) -> None:
        now, both = (
            total - old + new
            for total, old, new in zip(self._counts, before, self._count(box), strict=True)
        )
        self._counts = now, both

    def _with_state(self, lesion: Lesion) -> Lesion:
        return replace(lesion, state=self._decisions.get(lesion.id, UNREVIEWED))

    def _forget(self, lesion_id: int) -> None:
        for record in (self._lesions, self._boxes, self._decisions):
            record.pop(lesion_id, None)

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _region_of(self, box: Box) -> Box:
        """Return a box around an edit and all lesions it touches, and what touches these."""
        wide = self._around_crumbs(grown_box(box, self.labels.shape))
        touched = lesion_boxes(self.labels, wide)
        held = union_box([wide, *(self.box(lesion_id) for lesion_id in touched)])
        return grown_box(held, self.labels.shape)

    def _around_crumbs(self, box: Box) -> Box:
        """Return a box grown until crumbs, which new voxels may join, are not cut by it."""
        while (wide := grown_box(box, self.labels.shape)) != box:
            if self._crumb_voxels(wide) == self._crumb_voxels(box):
                break
            box = wide
        return box

    def _crumb_voxels(self, box: Box) -> int:
        return int(np.count_nonzero((self.infection[box] > 0) & (self.labels[box] == 0)))

    def _relabel(self, before: Snapshot, edited: Box) -> set[int]:
        """Give new voxels to lesions and cut-off pieces an id; returns the ids concerned."""
        labels, mask = self.labels[before.box], self.infection[before.box] > 0
        concerned = set(lesion_boxes(self.labels, edited))
        labels[~mask] = 0
        self._adopt(before.box, labels, mask & (labels == 0), concerned)
        self._cut(before, labels, concerned)
        return concerned

    def _adopt(
        self, near: Box, labels: Labels, new: NDArray[np.bool_], concerned: set[int]
    ) -> None:
        """Give new pieces to the lesions they touch or bridge, else an id of their own."""
        lesions = JoiningLesions(labels)
        start_zyx = tuple(part.start for part in near)
        for piece in pieces_of(new):
            contacts = piece.contacts(labels)
            if contacts.any():
                owner = int(contacts.argmax())
                others = set(np.flatnonzero(contacts).tolist()) - {owner}
                for other in lesions.bridged(owner, sorted(others)):
                    concerned |= {owner, other}
                    gone, owner = max(owner, other), min(owner, other)
                    lesions.join(gone, owner)
            elif not self._is_crumb(piece.size):
                owner = self._restored(start_zyx, piece) or self._take_id()
                self._decisions.setdefault(owner, EDITED)
            else:
                continue
            lesions.give(piece, owner)
            if owner in self._lesions:
                self._decisions[owner] = EDITED
            concerned.add(owner)

    def _restored(self, start_zyx: tuple[int, ...], piece: Piece) -> int | None:
        """Return the rejected lesion that a piece brings back, if it is one."""
        lesion_id = lesion_of_piece(piece, start_zyx, self._context.ct, self._rejected)
        if lesion_id is not None:
            del self._rejected[lesion_id]
            self._decisions[lesion_id] = UNREVIEWED
        return lesion_id

    def _cut(self, before: Snapshot, labels: Labels, concerned: set[int]) -> None:
        """Make lesions of the pieces that an edit cut off; crumbs are none."""
        boxes, crumbs = lesion_boxes(labels), []
        for lesion_id in sorted(concerned & boxes.keys()):
            pieces = pieces_of_lesion(labels, lesion_id, boxes[lesion_id])
            kept, cut = divided(pieces, before)
            if self._is_crumb(sum(piece.size for piece in kept)):
                cut = [*kept, *cut]
            for piece in cut:
                if self._is_crumb(piece.size):
                    piece.give(labels, 0)
                    crumbs.append(piece)
                    continue
                new_id = self._take_id()
                piece.give(labels, new_id)
                self._decisions[new_id] = EDITED
                concerned.add(new_id)
        # Only along a split by hand does a crumb touch another lesion, or a crumb of it.
        for piece in joined(crumbs):
            owner = int(piece.contacts(labels).argmax())
            if owner or not self._is_crumb(piece.size):
                owner = owner or self._take_id()
                piece.give(labels, owner)
                self._decisions[owner] = EDITED
                self._stale.append(self._boxes.get(owner, before.box))
                concerned.add(owner)

    def _is_crumb(self, voxels: int) -> bool:
        """Return whether a number of voxels is too small for a lesion, as for `find_lesions`."""
        return voxels * self._context.ct.voxel_volume_ml < MINIMUM_LESION_ML

    def _measure_all(self) -> None:
        for lesion_id, box in list(self._boxes.items()):
            self._measure(lesion_id, box)

    def _measure(self, lesion_id: int, box: Box) -> None:
        """Measure one lesion inside a box that holds it whole."""
        measured = self._meter.measure(self.labels, lesion_id, box)
        if measured is None:
            self._forget(lesion_id)
        else:
            self._lesions[lesion_id], self._boxes[lesion_id] = measured
