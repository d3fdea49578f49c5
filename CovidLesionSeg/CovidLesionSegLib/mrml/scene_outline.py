"""What the nodes of a scene are made from, without the voxels.

The process that makes a scene needs Slicer's classes, but not hundreds of megabytes: names,
geometry, tables and which segments there are decide what stands in the scene's description. The
voxels go into the bundle afterwards (`scene_bundle`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.export.segments import segment_layers

from .display import indexOfInterest


@dataclass(frozen=True, eq=False)
class _KnownCt(CtVolume):
    """A CT without its voxels that still knows its digest."""

    known_digest: str = ""

    def digest(self) -> str:
        return self.known_digest


@dataclass(frozen=True, eq=False)
class SceneOutline:
    """A result without its voxels.

    Attributes:
        result: The result; its arrays are empty.
        shape_zyx: Shape of the CT.
        labels: The labels of the segments that the result has, by layer.
        interest_zyx: Where to look first.
    """

    result: SegmentationResult
    shape_zyx: tuple[int, int, int]
    labels: dict[str, tuple[int, ...]]
    interest_zyx: tuple[float, float, float]

    @classmethod
    def of(cls, result: SegmentationResult) -> SceneOutline:
        """Return the outline of a result."""
        known = {field.name: getattr(result.ct, field.name) for field in fields(CtVolume)}
        ct = _KnownCt(**known, known_digest=result.ct.digest())
        labels = {
            layer.name: tuple(segment.label for segment in layer.segments)
            for layer in segment_layers(result)
        }
        return cls(
            _with_arrays(replace(result, ct=ct), lambda _name, it: np.empty((0, 0, 0), it.dtype)),
            result.ct.shape_zyx,
            labels,
            indexOfInterest(result),
        )

    def stand_in(self) -> SegmentationResult:
        """Return a result that makes the same nodes, with next to no voxels.

        The CT, which the views are fitted to, has its size; everything else has a voxel for
        each label that occurs, or a single one.
        """

        def blank(name: str, empty: NDArray[Any]) -> NDArray[Any]:
            if name == "ct":
                return np.zeros(self.shape_zyx, empty.dtype)
            labels = self.labels.get(name) or (0,)
            return np.array(labels, empty.dtype).reshape(-1, 1, 1)

        return _with_arrays(self.result, blank)


def _with_arrays(result: SegmentationResult, change: Any) -> SegmentationResult:
    """Return a result with every array changed; ``change`` gets its name and the array."""

    def changed(name: str, array: NDArray[Any] | None) -> Any:
        return None if array is None else change(name, array)

    prediction, anatomy = result.prediction, result.anatomy
    return replace(
        result,
        ct=replace(result.ct, hu=changed("ct", result.ct.hu)),
        prediction=replace(
            prediction,
            infection=changed("probability", prediction.infection),
            boundary=changed("boundary", prediction.boundary),
            agreement=changed("agreement", prediction.agreement),
        ),
        infection=changed("infection", result.infection),
        anatomy=replace(
            anatomy, lungs=changed("lungs", anatomy.lungs), lobes=changed("lobes", anatomy.lobes)
        ),
        opacity=changed("opacity", result.opacity),
    )
