"""What a review keeps in the scene: the lesion map, the lesion list and the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from vtk.util import numpy_support

from CovidLesionSegLib.engine.masks import Box
from CovidLesionSegLib.engine.result import Lesion
from CovidLesionSegLib.engine.review import LesionBook
from CovidLesionSegLib.engine.review_values import Change, Labels, LogEntry
from CovidLesionSegLib.engine.volume import CtVolume

from .hierarchy import placeBesideCt
from .own_nodes import ownNodes
from .review_tables import fillLesionTable, fillLog, lesionsFromTable, readLog
from .run_nodes import nodeOfRun, setNodeOfRun
from .volume_node import addVolume

NOWHERE: Box = (slice(0, 0), slice(0, 0), slice(0, 0))
NOTHING = Change(0, 0, NOWHERE)

_MAP, _LIST, _LOG = "LesionMap", "Lesions", "ReviewLog"
_NAMES = {_MAP: "lesion map", _LIST: "lesions", _LOG: "review log"}
_OWNED = (*_NAMES, "table")
_UNLISTED = np.iinfo(np.uint16).max
"""In the lesion map: infected, and too small to be a lesion."""


class Step(NamedTuple):
    """A step of a review, for the log.

    Attributes:
        action: For example ``"reject"``.
        lesions: Ids concerned, separated by blanks.
        change: What it did to the infection.
    """

    action: str
    lesions: str = ""
    change: Change = NOTHING


class ReviewNodes:
    """Reads and writes them; a node that was deleted is made anew, and the log says so.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        ct: Its CT.
    """

    def __init__(self, segmentationNode: Any, ct: CtVolume) -> None:
        self._node, self._ct = segmentationNode, ct
        self.isCopy = ownNodes(segmentationNode, _OWNED)
        self._hadReview = len(self._missing()) < len(_NAMES)
        self._entries: list[LogEntry] = []
        self._entries = self.log

    @property
    def areComplete(self) -> bool:
        """Whether none is missing."""
        return not self._missing()

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """The lesion list with its states, as it was written last."""
        table = nodeOfRun(self._node, _LIST)
        return () if table is None else lesionsFromTable(table)

    @property
    def log(self) -> list[LogEntry]:
        """The audit log, oldest entry first."""
        table = nodeOfRun(self._node, _LOG)
        return list(self._entries) if table is None else readLog(table)

    def recorded(self) -> tuple[NDArray[np.uint8], Labels] | None:
        """Return infection and lesions as they were written last; None without a map."""
        image = self._image()
        if image is None:
            return None
        view = self._view(image)
        if view.shape != self._ct.shape_zyx:
            return None
        labels = np.array(view)
        infection = (labels > 0).astype(np.uint8)
        labels[labels == _UNLISTED] = 0
        return infection, labels

    def write(self, book: LesionBook, steps: Sequence[Step] = (), box: Box = NOWHERE) -> None:
        """Write what steps have led to.

        Args:
            book: The lesions.
            steps: What was done, for the log.
            box: Where lesions have changed.
        """
        # Whoever copies a result in the data tree gets one that refers to the same nodes.
        ownNodes(self._node, _OWNED)
        missing = self._missing()
        lost = [Step(f"{_NAMES[role]} deleted") for role in missing if self._hadReview]
        self._make(missing, book)
        image = self._image()
        _draw(self._view(image), book, (slice(None),) * 3 if _MAP in missing else box)
        image.Modified()
        fillLesionTable(nodeOfRun(self._node, _LIST), book.all)
        self._hadReview = True
        if lost or steps:
            self._entries += _entries((*lost, *steps), book.dice_to_ai())
            fillLog(nodeOfRun(self._node, _LOG), self._entries)

    def _missing(self) -> list[str]:
        return [role for role in _NAMES if nodeOfRun(self._node, role) is None]

    def _make(self, roles: Iterable[str], book: LesionBook) -> None:
        scene, ct = self._node.GetScene(), self._ct
        for role in roles:
            name = f"{self._node.GetName()} {_NAMES[role]}"
            if role == _MAP:
                empty = np.zeros_like(book.labels)
                made = addVolume(scene, name, ct.to_input_grid(empty), ct.input_affine_lps)
                made.SetHideFromEditors(True)
                made.SetAndObserveTransformNodeID(self._node.GetTransformNodeID())
            else:
                made = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(name))
            setNodeOfRun(self._node, role, made)
            ctNode = nodeOfRun(self._node, "ct")
            if ctNode is not None:
                placeBesideCt(scene, ctNode, [made])

    def _image(self) -> Any:
        """Return the image of the lesion map, None without one."""
        node = nodeOfRun(self._node, _MAP)
        return None if node is None else node.GetImageData()

    def _view(self, image: Any) -> Labels:
        columns, rows, slices = image.GetDimensions()
        scalars = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        return self._ct.orientation.lps_view(scalars.reshape(slices, rows, columns))


def nowUtc() -> str:
    """Return the time as the log has it: ISO 8601, seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _draw(view: Labels, book: LesionBook, box: tuple[slice, ...]) -> None:
    labels = book.labels[box]
    view[box] = labels
    view[box][(labels == 0) & (book.infection[box] > 0)] = _UNLISTED


def _entries(steps: Iterable[Step], dice: float) -> list[LogEntry]:
    time_utc = nowUtc()
    return [
        LogEntry(
            time_utc,
            step.action,
            step.lesions,
            step.change.added_voxels,
            step.change.removed_voxels,
            round(dice, 6),
        )
        for step in steps
    ]
