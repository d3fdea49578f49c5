"""The one definition of the segments: names, colours, DICOM codes, and where they lie.

Read from ``Resources/segments.json``; the segmentation file, the MRML scene, DICOM and the
pictures all take it from here. The colours come from the colour-blind-safe schemes "vibrant"
and "light" of Paul Tol (technical note SRON/EPS/TN/09-002).
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.resources import resources_dir


@dataclass(frozen=True)
class Code:
    """One coded term of DICOM.

    Attributes:
        scheme: Coding scheme designator, for example ``"SCT"`` (SNOMED CT).
        value: Code value.
        meaning: Code meaning.
    """

    scheme: str
    value: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.scheme}^{self.value}^{self.meaning}"


@dataclass(frozen=True)
class SegmentDefinition:
    """One segment, whether or not a result has it.

    Attributes:
        id: Stable segment id.
        name: Name for people.
        layer: ``"infection"``, ``"opacity"``, ``"lungs"`` or ``"lobes"``; segments of one
            layer never overlap.
        label: Label of the segment in its layer's label map.
        color_rgb: 0..255.
        visible: Whether it is shown when a result is opened.
        category, type, type_modifier, region: DICOM codes of the segmented property.
        terminology_context, region_context: Names of the lists that hold the codes.
    """

    id: str
    name: str
    layer: str
    label: int
    color_rgb: tuple[int, int, int]
    visible: bool
    category: Code
    type: Code
    type_modifier: Code | None
    region: Code | None
    terminology_context: str
    region_context: str

    @property
    def terminology_entry(self) -> str:
        """3D Slicer's serial form: seven fields joined by ``~``, codes joined by ``^``."""
        absent = "^^"
        fields = (
            self.terminology_context,
            str(self.category),
            str(self.type),
            str(self.type_modifier or absent),
            self.region_context if self.region else "",
            str(self.region or absent),
            absent,
        )
        return "~".join(fields)

    @property
    def color(self) -> tuple[float, float, float]:
        """Colour as 0..1, rounded to what a text file keeps."""
        red, green, blue = (round(channel / 255.0, 6) for channel in self.color_rgb)
        return red, green, blue


@dataclass(frozen=True, eq=False)
class SegmentLayer:
    """A label map and the segments in it.

    Attributes:
        name: Name of the layer.
        labels: uint8 ``[z, y, x]``, on the CT's grid in LPS axis order.
        segments: The segments that the result has; one of them may be empty.
    """

    name: str
    labels: NDArray[np.uint8]
    segments: tuple[SegmentDefinition, ...]


@functools.cache
def segment_definitions() -> tuple[SegmentDefinition, ...]:
    """Return all segments in the order in which they are listed to the user."""
    content = json.loads((resources_dir() / "segments.json").read_text(encoding="utf-8"))
    return tuple(_parse(entry, content) for entry in content["segments"])


def segment_definition(segment_id: str) -> SegmentDefinition:
    """Return the segment with this id; KeyError when there is none."""
    for definition in segment_definitions():
        if definition.id == segment_id:
            return definition
    raise KeyError(segment_id)


def segment_layers(result: SegmentationResult) -> tuple[SegmentLayer, ...]:
    """Return the label maps of a result with the segments that it has.

    The infection is always there, even when empty, so that a missed lesion can be drawn into
    it. Ground-glass and consolidation are there when they were told apart; a lung or a lobe
    that was not found has no segment instead of an empty one.
    """
    layers = []
    for name, labels in result.layers.items():
        if labels is None:
            continue
        segments = tuple(
            definition
            for definition in segment_definitions()
            if definition.layer == name
            and (name in ("infection", "opacity") or (labels == definition.label).any())
        )
        if segments:
            layers.append(SegmentLayer(name, labels, segments))
    return tuple(layers)


def _parse(entry: dict[str, Any], content: dict[str, Any]) -> SegmentDefinition:
    red, green, blue = entry["color_rgb"]
    return SegmentDefinition(
        id=entry["id"],
        name=entry["name"],
        layer=entry["layer"],
        label=entry["label"],
        color_rgb=(red, green, blue),
        visible=entry["visible"],
        category=Code(*entry["category"]),
        type=Code(*entry["type"]),
        type_modifier=Code(*entry["type_modifier"]) if "type_modifier" in entry else None,
        region=Code(*entry["region"]) if "region" in entry else None,
        terminology_context=content["terminology_context"],
        region_context=content["region_context"],
    )
