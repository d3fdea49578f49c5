"""A review of one result in the scene: decisions, edits by any tool, undo, numbers, log.

Without Qt: the panel calls `refresh` some time after an edit, and shows what is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from CovidLesionSegLib.engine.flags import EDITED_CLASSES
from CovidLesionSegLib.engine.masks import Box
from CovidLesionSegLib.engine.quantify import Quantifier
from CovidLesionSegLib.engine.region_sums import RegionSums
from CovidLesionSegLib.engine.result import Lesion, Quantification
from CovidLesionSegLib.engine.result_reading import quantification_from_dict
from CovidLesionSegLib.engine.review import LesionBook
from CovidLesionSegLib.engine.review_history import ReviewHistory
from CovidLesionSegLib.engine.review_tools import grow_at, index_of_point, split_at
from CovidLesionSegLib.engine.review_values import (
    ACCEPTED,
    FINISH,
    REJECTED,
    REOPEN,
    UNREVIEWED,
    Change,
    LogEntry,
    ReviewContext,
    Snapshot,
)
from CovidLesionSegLib.engine.steps import Steps, finish
from CovidLesionSegLib.errors import InputError

from .review_nodes import NOTHING, NOWHERE, ReviewNodes, Step
from .review_opacity import OpacityFollower
from .review_status import isFinished, setFinished, setReopened
from .run_anatomy import anatomyOf, followedElsewhere
from .run_nodes import ANATOMY_EDITED, contextOfRun, factsOfRun, layerTime, nodeOfRun
from .segment_voxels import maskOfSegment, setMaskOfSegment
from .table_node import fillLobesTable

INFECTION = "infection"
_ANATOMY_LAYERS = ("lungs", "lobes")
_OUTSIDE = " outside the review"
"""Said of edits that are found when a result is opened."""


class ReviewSession:
    """The review of one result.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        context: What `contextOfRun` returns, when the caller has it already.
        book: The lesions of a fresh result, when the caller has them already.
        beforeEdit: Called before this session writes voxels, so that another tool can save
            a state for its own undo.
    """

    def __init__(
        self,
        segmentationNode: Any,
        context: ReviewContext | None = None,
        beforeEdit: Callable[[], None] = lambda: None,
        book: LesionBook | None = None,
    ) -> None:
        self.node = segmentationNode
        self._beforeEdit = beforeEdit
        self._quantifier: Quantifier | None = None
        read = context or contextOfRun(segmentationNode)
        elsewhere = followedElsewhere(segmentationNode, read) if context is None else None
        self.context = elsewhere or read
        self._anatomyTime = layerTime(segmentationNode, *_ANATOMY_LAYERS)
        self._opacity = OpacityFollower(segmentationNode, self.context.ct, context is not None)
        self._nodes = ReviewNodes(segmentationNode, self.context.ct)
        self.book = self._open(book)
        self._history = ReviewHistory(self.book)
        self.quantification = self._catchUp(elsewhere is not None)

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """The list in the order of the review, rejected ones included; see `review_rank`."""
        return self.book.all

    @property
    def progress(self) -> tuple[int, int]:
        """How many lesions are decided, and of how many."""
        return self.book.progress

    @property
    def isFinished(self) -> bool:
        """Whether the review was closed; an edit by another tool opens it again."""
        return isFinished(self.node)

    @property
    def undoText(self) -> str:
        """What `undo` would take back, empty when there is nothing."""
        return self._history.next_undo

    @property
    def log(self) -> list[LogEntry]:
        """The audit log, oldest entry first."""
        return self._nodes.log

    def refresh(self) -> bool:
        """Follow an edit by another tool; returns whether there was one.

        One that comes after `finish` reopens the review, so that nothing can be exported whose
        numbers and voxels contradict each other.
        """
        steps, box = [], NOWHERE
        if self._followAnatomy():
            steps.append(Step("edit lungs or lobes"))
        infection = maskOfSegment(self.node, INFECTION, self.context.ct)
        followed = self._history.follow(infection)
        done = self.book.update(infection) if followed is None else None
        if followed is not None:
            steps.append(Step(followed[0], "", followed[1]))
            box = followed[1].box
        elif done is not None:
            self._history.note("edit", done[1])
            steps.append(Step("edit", "", done[0]))
            box = done[1].box
        if self._opacity.read(self.book.infection):
            steps.append(Step("edit ground glass or consolidation"))
        if steps:
            self._edited(steps, box)
        return bool(steps)

    def _followAnatomy(self) -> bool:
        """Follow a correction of lungs or lobes; returns whether there was one."""
        time = layerTime(self.node, *_ANATOMY_LAYERS)
        if time == self._anatomyTime:
            return False
        self._anatomyTime = time
        anatomy = anatomyOf(self.node, self.context.anatomy, self.context.ct)
        if anatomy is None:
            return False
        self.context = replace(self.context, anatomy=anatomy)
        self.book.adapt(self.context)
        self._quantifier = None
        return True

    def accept(self, *lesionIds: int) -> None:
        """Agree with lesions, in one step."""
        self._check()
        if lesionIds:
            self._note("accept", lesionIds, NOTHING, self.book.decide(lesionIds, ACCEPTED))

    def reject(self, *lesionIds: int) -> None:
        """Remove lesions, in one step."""
        self._check()
        if lesionIds:
            self._beforeEdit()
            self._written("reject", lesionIds, *self.book.reject(lesionIds))

    def split(self, lesionId: int, pointRas: tuple[float, float, float]) -> int:
        """Separate the part of a lesion around a point; returns the new lesion's id.

        Raises:
            InputError: ``point-outside``, ``lesion-not-divisible``.
        """
        self._check()
        part = split_at(self.book, self.context, lesionId, self._index(pointRas))
        newId, before = self.book.split(lesionId, part, self.book.box(lesionId))
        self._note("split", (lesionId, newId), NOTHING, before)
        return newId

    def merge(self, lesionIds: Iterable[int]) -> None:
        """Make one lesion of several."""
        self._check()
        ids = sorted(lesionIds)
        self._note("merge", ids, NOTHING, self.book.merge(ids))

    def addAt(self, pointRas: tuple[float, float, float]) -> None:
        """Add a missed lesion around a point.

        Raises:
            InputError: ``point-outside``, ``nothing-to-grow``.
        """
        self._check()
        grown = grow_at(self.context, self.book.infection, self._index(pointRas))
        self._beforeEdit()
        done = self.book.update(grown)
        if done is None:
            raise InputError(
                "already-infected",
                "What the networks saw here is part of a lesion already.",
                "Draw what is missing with the Segment Editor below.",
            )
        self._written("add", (), *done)

    def undo(self) -> str:
        """Take the last step back, also one made with another tool; returns its name."""
        self._check()
        if not self.undoText:
            return ""
        action, change = self._history.undo()
        if change.added_voxels or change.removed_voxels:
            self._beforeEdit()
            self._write()
        self._publish([Step(f"undo {action}", "", change)], change.box)
        return action

    def finish(self) -> None:
        """Close the review: status tags, algorithm type, log and lists locked.

        Raises:
            InputError: ``review-incomplete`` while a lesion is undecided.
        """
        self._check()
        decided, total = self.progress
        if decided < total:
            raise InputError(
                "review-incomplete",
                f"{total - decided} of {total} lesions are not reviewed yet.",
                "Accept or reject them first.",
            )
        self.settle()
        self._nodes.write(self.book, [Step(FINISH)])
        setFinished(self.node, self.book.is_edited())

    def settle(self) -> None:
        """Do what can wait: ground glass and consolidation, counting for the next numbers."""
        finish(self.settleSteps())

    def settleSteps(self) -> Steps[None]:
        """Do what can wait, in steps; the panel takes them in a pause. See `settle`."""
        if self._quantifier is None:
            context = self.context
            known = (context.ct, context.anatomy, context.prediction)
            self._quantifier = Quantifier(*known, (yield from RegionSums.in_steps(*known)))
            yield
        self.book.decided_mask()
        yield
        yield from self._opacity.writeSteps(self.book.infection)

    def settleSegments(self) -> None:
        """Bring ground glass and consolidation to the infection, and do nothing else."""
        finish(self._opacity.writeSteps(self.book.infection))

    def pointOf(self, lesionId: int) -> tuple[float, float, float]:
        """Return a lesion's centre in world coordinates, in mm."""
        lesion = next(item for item in self.lesions if item.id == lesionId)
        x, y, z = lesion.centroid_lps_mm
        return self._toWorld((-x, -y, z))

    def extentOf(self, lesionId: int) -> float:
        """Return the longest edge of a lesion's box in mm."""
        if lesionId not in {lesion.id for lesion in self.book.current}:
            return next(item.diameter_mm for item in self.lesions if item.id == lesionId)
        sizes = zip(self.book.box(lesionId), self.context.ct.spacing_mm_zyx, strict=True)
        return float(max((part.stop - part.start) * step for part, step in sizes))

    def lesionAt(self, pointRas: tuple[float, float, float]) -> int | None:
        """Return the lesion at a point in world coordinates."""
        try:
            return int(self.book.labels[self._index(pointRas)]) or None
        except InputError:
            return None

    def _open(self, fresh: LesionBook | None) -> LesionBook:
        """Return the lesions as they were recorded, or as they were computed."""
        recorded = self._nodes.recorded()
        if recorded is None:
            return fresh or LesionBook(self.context, self.context.ai_infection)
        known = self._nodes.lesions
        return LesionBook(
            self.context,
            *recorded,
            {
                lesion.id: lesion.state
                for lesion in known
                if lesion.state not in (REJECTED, UNREVIEWED)
            },
            [lesion for lesion in known if lesion.state == REJECTED],
        )

    def _catchUp(self, anatomyEdited: bool) -> Quantification:
        """Follow what was edited since the result was last under review; returns the numbers."""
        steps, box = [], NOWHERE
        if anatomyEdited:
            steps.append(Step("edit lungs or lobes" + _OUTSIDE))
        done = self.book.update(maskOfSegment(self.node, INFECTION, self.context.ct))
        if done is not None:
            steps.append(Step("edit" + _OUTSIDE, "", done[0]))
            box = done[1].box
        if self._opacity.read(self.book.infection):
            steps.append(Step("edit ground glass or consolidation" + _OUTSIDE))
        if steps:
            return self._edited(steps, box)
        if self._nodes.isCopy:
            self._nodes.write(self.book, [Step("copied from another result")])
        elif not self._nodes.areComplete:
            self._nodes.write(self.book)
        if self._isAsComputed():
            facts = factsOfRun(self.node)
            return quantification_from_dict(facts["quantification"], facts["definitions"])
        return self._numbers()

    def _isAsComputed(self) -> bool:
        return not (
            self.book.is_edited()
            or self.progress[0]
            or self.node.GetAttribute(ANATOMY_EDITED) is not None
            or self._opacity.classesAreByHand
        )

    def _index(self, pointRas: tuple[float, float, float]) -> tuple[int, int, int]:
        local = [0.0, 0.0, 0.0]
        self.node.TransformPointFromWorld(pointRas, local)
        return index_of_point(self.context, (-local[0], -local[1], local[2]))

    def _toWorld(self, point: tuple[float, float, float]) -> tuple[float, float, float]:
        world = [0.0, 0.0, 0.0]
        self.node.TransformPointToWorld(point, world)
        return world[0], world[1], world[2]

    def _check(self) -> None:
        self.refresh()
        if self.isFinished:
            raise InputError(
                "review-finished", "This review is finished.", "Segment again to start a new one."
            )

    def _written(
        self, action: str, lesionIds: Iterable[int], change: Change, before: Snapshot
    ) -> None:
        self._write()
        self._note(action, lesionIds, change, before)

    def _write(self) -> None:
        setMaskOfSegment(self.node, INFECTION, self.book.infection, self.context.ct)

    def _note(
        self, action: str, lesionIds: Iterable[int], change: Change, before: Snapshot
    ) -> None:
        self._history.note(action, before)
        self._publish([Step(action, " ".join(map(str, lesionIds)), change)], before.box)

    def _edited(self, steps: Sequence[Step], box: Box) -> Quantification:
        """Publish edits that were made with another tool."""
        if self.isFinished:
            setReopened(self.node)
            steps = [*steps, Step(REOPEN)]
        return self._publish(steps, box)

    def _publish(self, steps: Sequence[Step], box: Box) -> Quantification:
        """Write everything that follows from steps into the scene."""
        self._nodes.write(self.book, steps, box)
        if any(step.change.added_voxels or step.change.removed_voxels for step in steps):
            self._opacity.infectionChanged()
        self.quantification = self._numbers()
        return self.quantification

    def _numbers(self) -> Quantification:
        """Measure, and write the table."""
        quantification = self._measure()
        table = nodeOfRun(self.node, "table")
        if table is not None:
            fillLobesTable(table, quantification)
        return quantification

    def _ready(self) -> Quantifier:
        """Return the counts per region, made at the first call: seconds for a large CT."""
        if self._quantifier is None:
            context = self.context
            self._quantifier = Quantifier(context.ct, context.anatomy, context.prediction)
        return self._quantifier

    def _measure(self) -> Quantification:
        classes = self._opacity.classesByHand
        flags = {"edited": self.book.is_edited(), EDITED_CLASSES: classes is not None}
        return self._ready().measure(
            self.book.infection,
            self.book.current,
            self.book.decided_mask(),
            tuple(flag for flag, holds in flags.items() if holds),
            classes,
        )
