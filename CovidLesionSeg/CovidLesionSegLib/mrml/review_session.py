"""A review of one result in the scene: decisions, edits by any tool, undo, numbers, log.

Without Qt: the panel calls `refresh` some time after an edit, and shows what is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtk.util import numpy_support

from CovidLesionSegLib.engine.opacity import split_opacity
from CovidLesionSegLib.engine.quantify import Quantifier
from CovidLesionSegLib.engine.region_sums import RegionSums
from CovidLesionSegLib.engine.result import Lesion, Quantification
from CovidLesionSegLib.engine.result_reading import quantification_from_dict
from CovidLesionSegLib.engine.review import LesionBook
from CovidLesionSegLib.engine.review_history import ReviewHistory
from CovidLesionSegLib.engine.review_tools import grow_at, index_of_point, split_at
from CovidLesionSegLib.engine.review_values import (
    ACCEPTED,
    REJECTED,
    UNREVIEWED,
    Change,
    LogEntry,
    ReviewContext,
    Snapshot,
)
from CovidLesionSegLib.engine.steps import Steps, finish
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.export.segments import segment_definitions

from .attributes import PREFIX
from .review_tables import appendLog, fillLesionTable, lesionsFromTable, readLog
from .run_nodes import (
    ANATOMY_EDITED,
    anatomyOf,
    anatomyTime,
    contextOfRun,
    factsOfRun,
    nodeOfRun,
    setNodeOfRun,
)
from .segment_voxels import maskOfSegment, setMaskOfSegment
from .segmentation_node import BINARY_LABELMAP, orientedLabelmap
from .table_node import fillLobesTable
from .volume_node import addVolume

INFECTION = "infection"
FINISHED = PREFIX + "ReviewFinished"
_NOTHING = Change(0, 0, (slice(0, 0), slice(0, 0), slice(0, 0)))


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
        self.context = context or contextOfRun(segmentationNode)
        self._beforeEdit = beforeEdit
        self._quantifier: Quantifier | None = None
        self._opacityIsStale = False
        self._anatomyTime = anatomyTime(segmentationNode)
        self.book = self._open(book)
        self._history = ReviewHistory(self.book)
        untouched = (
            not self.book.is_edited()
            and self.progress[0] == 0
            and segmentationNode.GetAttribute(ANATOMY_EDITED) is None
        )
        self.quantification = (
            quantification_from_dict(factsOfRun(segmentationNode)["quantification"])
            if untouched
            else self._measure()
        )

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
        """Whether the review was closed; then nothing here changes the result any more."""
        return self.node.GetAttribute(FINISHED) is not None

    @property
    def undoText(self) -> str:
        """What `undo` would take back, empty when there is nothing."""
        return self._history.next_undo

    @property
    def log(self) -> list[LogEntry]:
        """The audit log, oldest entry first."""
        return readLog(nodeOfRun(self.node, "ReviewLog"))

    def refresh(self) -> bool:
        """Follow an edit by another tool; returns whether there was one."""
        if self.isFinished:
            return False
        anatomy = self._followAnatomy()
        infection = maskOfSegment(self.node, INFECTION, self.context.ct)
        followed = self._history.follow(infection)
        if followed is not None:
            action, change = followed
            self._publish(action, "", change)
            return True
        done = self.book.update(infection)
        if done is not None:
            self._note("edit", "", *done)
        return anatomy or done is not None

    def _followAnatomy(self) -> bool:
        """Follow a correction of lungs or lobes; returns whether there was one."""
        time = anatomyTime(self.node)
        if time == self._anatomyTime:
            return False
        self._anatomyTime = time
        anatomy = anatomyOf(self.node, self.context.anatomy, self.context.ct)
        if anatomy is None:
            return False
        self.context = replace(self.context, anatomy=anatomy)
        self.book.adapt(self.context)
        self._quantifier = None
        self._publish("edit lungs or lobes", "", _NOTHING)
        return True

    def accept(self, lesionId: int) -> None:
        """Agree with a lesion."""
        self._check()
        self._note("accept", str(lesionId), _NOTHING, self.book.decide(lesionId, ACCEPTED))

    def reject(self, lesionId: int) -> None:
        """Remove a lesion."""
        self._check()
        self._beforeEdit()
        self._written("reject", str(lesionId), *self.book.reject(lesionId))

    def split(self, lesionId: int, pointRas: tuple[float, float, float]) -> int:
        """Separate the part of a lesion around a point; returns the new lesion's id.

        Raises:
            InputError: ``point-outside``, ``lesion-not-divisible``.
        """
        self._check()
        part = split_at(self.book, self.context, lesionId, self._index(pointRas))
        newId, before = self.book.split(lesionId, part, self.book.box(lesionId))
        self._note("split", f"{lesionId} {newId}", _NOTHING, before)
        return newId

    def merge(self, lesionIds: Iterable[int]) -> None:
        """Make one lesion of several."""
        self._check()
        ids = sorted(lesionIds)
        self._note("merge", " ".join(map(str, ids)), _NOTHING, self.book.merge(ids))

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
        self._written("add", "", *done)

    def undo(self) -> str:
        """Take the last step back, also one made with another tool; returns its name."""
        self._check()
        if not self.undoText:
            return ""
        action, change = self._history.undo()
        if change.added_voxels or change.removed_voxels:
            self._beforeEdit()
            self._write()
        self._publish(f"undo {action}", "", change)
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
        self._publish("finish", "", _NOTHING)
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        segmentation = self.node.GetSegmentation()
        for definition in segment_definitions():
            segment = segmentation.GetSegment(definition.id)
            if segment is not None and definition.layer in ("infection", "opacity"):
                logic.SetSegmentStatus(segment, logic.Completed)
                if self.book.is_edited():
                    segment.SetTag("DICOM.SegmentAlgorithmType", "SEMIAUTOMATIC")
        self.node.SetAttribute(FINISHED, _now())

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
        if not self._opacityIsStale:
            return
        self._opacityIsStale = False
        ct = self.context.ct
        opacity = split_opacity(ct.hu, self.book.infection)
        yield
        ids = {d.id: d.label for d in segment_definitions() if d.layer == "opacity"}
        segmentation = self.node.GetSegmentation()
        segments = {key: segmentation.GetSegment(key) for key in ids}
        if None in segments.values():
            return
        images = [segment.GetRepresentation(BINARY_LABELMAP) for segment in segments.values()]
        values = {key: segment.GetLabelValue() for key, segment in segments.items()}
        if images[0] is images[1] and values == ids:
            images[0].DeepCopy(orientedLabelmap(ct.to_input_grid(opacity), ct.input_affine_lps))
            return
        for key, label in ids.items():
            setMaskOfSegment(self.node, key, (opacity == label).astype(np.uint8), ct)

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
        scene, title = self.node.GetScene(), self.node.GetName()
        ct = self.context.ct
        labels = nodeOfRun(self.node, "LesionMap")
        infection = maskOfSegment(self.node, INFECTION, ct)
        if labels is None:
            book = fresh or LesionBook(self.context, infection)
            labels = addVolume(
                scene, f"{title} lesion map", ct.to_input_grid(book.labels), ct.input_affine_lps
            )
            labels.SetHideFromEditors(True)
            labels.SetAndObserveTransformNodeID(self.node.GetTransformNodeID())
            setNodeOfRun(self.node, "LesionMap", labels)
            for role, name in (("Lesions", "lesions"), ("ReviewLog", "review log")):
                table = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{title} {name}")
                setNodeOfRun(self.node, role, table)
            fillLesionTable(nodeOfRun(self.node, "Lesions"), book.all)
            return book
        known = lesionsFromTable(nodeOfRun(self.node, "Lesions"))
        return LesionBook(
            self.context,
            infection,
            np.array(self._mapView(labels)),
            {
                lesion.id: lesion.state
                for lesion in known
                if lesion.state not in (REJECTED, UNREVIEWED)
            },
            [lesion for lesion in known if lesion.state == REJECTED],
        )

    def _mapView(self, node: Any) -> NDArray[np.uint16]:
        image = node.GetImageData()
        columns, rows, slices = image.GetDimensions()
        scalars = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        return self.context.ct.orientation.lps_view(scalars.reshape(slices, rows, columns))

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

    def _written(self, action: str, lesions: str, change: Change, before: Snapshot) -> None:
        self._write()
        self._note(action, lesions, change, before)

    def _write(self) -> None:
        setMaskOfSegment(self.node, INFECTION, self.book.infection, self.context.ct)

    def _note(self, action: str, lesions: str, change: Change, before: Snapshot) -> None:
        self._history.note(action, before)
        self._publish(action, lesions, change, before.box)

    def _publish(
        self, action: str, lesions: str, change: Change, box: tuple[slice, ...] | None = None
    ) -> None:
        """Write everything that follows from a step into the scene."""
        where = change.box if box is None else box
        labels = nodeOfRun(self.node, "LesionMap")
        if labels is not None:
            self._mapView(labels)[where] = self.book.labels[where]
            labels.GetImageData().Modified()
        fillLesionTable(nodeOfRun(self.node, "Lesions"), self.lesions)
        entry = LogEntry(
            _now(),
            action,
            lesions,
            change.added_voxels,
            change.removed_voxels,
            round(self.book.dice_to_ai(), 6),
        )
        appendLog(nodeOfRun(self.node, "ReviewLog"), entry)
        if change.added_voxels or change.removed_voxels:
            self._opacityIsStale = True
        if action != "finish":
            self.quantification = self._measure()
            table = nodeOfRun(self.node, "table")
            if table is not None:
                fillLobesTable(table, self.quantification)

    def _ready(self) -> Quantifier:
        """Return the counts per region, made at the first call: seconds for a large CT."""
        if self._quantifier is None:
            context = self.context
            self._quantifier = Quantifier(context.ct, context.anatomy, context.prediction)
        return self._quantifier

    def _measure(self) -> Quantification:
        return self._ready().measure(
            self.book.infection,
            self.book.current,
            self.book.decided_mask(),
            ("edited",) if self.book.is_edited() else (),
        )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
