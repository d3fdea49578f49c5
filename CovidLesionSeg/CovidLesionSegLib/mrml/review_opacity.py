"""Ground glass and consolidation under review: they follow the infection, and keep handwork."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.opacity import classes_by_hu, classes_drawn
from CovidLesionSegLib.engine.result import Opacity
from CovidLesionSegLib.engine.steps import Steps
from CovidLesionSegLib.engine.volume import CtVolume

from .run_nodes import CLASSES_EDITED, layerTime
from .segment_voxels import maskOfSegment, setMaskOfSegment
from .segmentation_node import BINARY_LABELMAP, orientedLabelmap

_SEGMENTS = {"ground-glass": Opacity.GROUND_GLASS, "consolidation": Opacity.CONSOLIDATION}


class OpacityFollower:
    """One rule: infected voxels without a class get one, voxels that left the infection lose it.

    A class comes from HU; where a person has drawn another one, it stays. What has to be done is
    read off the voxels, so that it does not matter when, or in which session, they were edited.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        ct: Its CT.
        isFresh: Whether the segments are known to be as computed, and need not be looked at.
    """

    def __init__(self, segmentationNode: Any, ct: CtVolume, isFresh: bool = False) -> None:
        self._node, self._ct = segmentationNode, ct
        self._settled: NDArray[np.uint8] | None = None
        self._now: NDArray[np.uint8] | None = None
        self._seen = layerTime(segmentationNode, "opacity") if isFresh else -1
        self._mayDiffer = not isFresh

    @property
    def classesByHand(self) -> NDArray[np.uint8] | None:
        """The class of every voxel, labels of `Opacity`; None while HU alone tell."""
        return self._now if self.classesAreByHand else None

    @property
    def classesAreByHand(self) -> bool:
        """Whether a person has drawn another class than HU say."""
        return self._node.GetAttribute(CLASSES_EDITED) is not None

    def infectionChanged(self) -> None:
        """Note that the segments may not fit the infection any more."""
        self._mayDiffer = True

    def read(self, infection: NDArray[np.uint8]) -> bool:
        """Follow what a person has drawn in the segments; returns whether a class changed."""
        time = layerTime(self._node, "opacity")
        if time == self._seen or not self._areThere():
            return False
        isKnown = self._seen < 0 and self.classesAreByHand
        self._seen, self._mayDiffer = time, True
        before = self._classes()
        drawn = [maskOfSegment(self._node, key, self._ct) for key in _SEGMENTS]
        # Against what was settled: an overlap that is read twice must not change twice.
        self._now = classes_drawn(self._settledClasses(), drawn[0], drawn[1], infection)
        if np.array_equal(self._now, before):
            return False
        if np.array_equal(self._now, classes_by_hu(self._ct.hu)):
            self._node.RemoveAttribute(CLASSES_EDITED)
        else:
            self._node.SetAttribute(CLASSES_EDITED, "true")
        return not isKnown

    def writeSteps(self, infection: NDArray[np.uint8]) -> Steps[None]:
        """Bring the segments to the infection in steps; writes nothing when they fit already."""
        if not self._mayDiffer or not self._areThere():
            return
        opacity = np.where(infection > 0, self._classes(), np.uint8(0))
        fits = True
        for key, label in _SEGMENTS.items():
            yield
            mask = maskOfSegment(self._node, key, self._ct)
            fits = fits and np.array_equal(mask > 0, opacity == label)
        if not fits:
            yield
            if layerTime(self._node, "opacity") != self._seen:
                return  # a stroke that nobody has read yet: the next refresh does, and settles
            self._write(opacity)
        self._mayDiffer = False
        self._settled = self._classes()
        self._seen = layerTime(self._node, "opacity")

    def _areThere(self) -> bool:
        segmentation = self._node.GetSegmentation()
        return all(segmentation.GetSegment(key) is not None for key in _SEGMENTS)

    def _settledClasses(self) -> NDArray[np.uint8]:
        if self._settled is None:
            self._settled = classes_by_hu(self._ct.hu)
        return self._settled

    def _classes(self) -> NDArray[np.uint8]:
        return self._settledClasses() if self._now is None else self._now

    def _write(self, opacity: NDArray[np.uint8]) -> None:
        segmentation = self._node.GetSegmentation()
        segments = {key: segmentation.GetSegment(key) for key in _SEGMENTS}
        images = [segment.GetRepresentation(BINARY_LABELMAP) for segment in segments.values()]
        values = {key: segment.GetLabelValue() for key, segment in segments.items()}
        ct = self._ct
        if images[0] is images[1] and values == _SEGMENTS:
            images[0].DeepCopy(orientedLabelmap(ct.to_input_grid(opacity), ct.input_affine_lps))
            return
        for key, label in _SEGMENTS.items():
            setMaskOfSegment(self._node, key, (opacity == label).astype(np.uint8), ct)
