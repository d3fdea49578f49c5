"""3D Slicer's segmentation file, ``.seg.nrrd``, without 3D Slicer.

The format is described with ``vtkMRMLSegmentationStorageNode``: an NRRD label map whose first
axis lists the layers when segments overlap, and key/value pairs with the segments.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.geometry import Affine
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.errors import InputError

from .segments import SegmentDefinition, SegmentLayer, segment_layers

_COMPRESSION_LEVEL = 5
"""Label maps shrink a hundredfold at any level; higher ones only take longer."""

TERMINOLOGY_TAG = "TerminologyEntry"
SOURCE_TAG = "CovidLesionSeg.Source"


@dataclass(frozen=True)
class StoredSegment:
    """A segment as it stands in a file.

    Attributes:
        id, name: As in the file.
        color: 0..1.
        label: Label in its layer.
        layer: Index of its layer.
        tags: For example the terminology entry.
    """

    id: str
    name: str
    color: tuple[float, float, float]
    label: int
    layer: int
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StoredSegmentation:
    """The content of a segmentation file.

    Attributes:
        labels_lkji: Label maps ``[layer, k, j, i]``.
        affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm.
        segments: In the order of the file.
    """

    labels_lkji: NDArray[Any]
    affine_lps: Affine
    segments: tuple[StoredSegment, ...]

    def mask_kji(self, segment_id: str) -> NDArray[np.bool_]:
        """Return the voxels of a segment ``[k, j, i]``; KeyError when there is none."""
        for segment in self.segments:
            if segment.id == segment_id:
                mask: NDArray[np.bool_] = self.labels_lkji[segment.layer] == segment.label
                return mask
        raise KeyError(segment_id)


def seg_nrrd_support(_job: object = None) -> str | None:
    """Return why no such file can be written here; None if it can."""
    if importlib.util.find_spec("nrrd") is not None:
        return None
    return "It needs the package pynrrd; in 3D Slicer, save the segmentation node instead."


def segment_tags(definition: SegmentDefinition, result: SegmentationResult) -> dict[str, str]:
    """Return the tags of a segment: its codes, and where its outline came from."""
    sources = {
        "infection": f"{result.run.model_id}, not reviewed",
        "opacity": f"{result.run.model_id}, not reviewed",
        "lungs": "CovidLesionSeg lungs",
        "lobes": result.anatomy.lobe_source.value,
    }
    return {
        SOURCE_TAG: sources[definition.layer],
        TERMINOLOGY_TAG: definition.terminology_entry,
    }


def write_segmentation(path: str | os.PathLike[str], result: SegmentationResult) -> None:
    """Write the segments of a result on exactly the grid of the input.

    The same result gives the same bytes.

    Args:
        path: File to write, ending in ``.seg.nrrd``.
        result: The result; which segments it has is decided by `segment_layers`.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    import nrrd

    layers = segment_layers(result)
    labels = [result.ct.to_input_grid(layer.labels) for layer in layers]
    affine = result.ct.input_affine_lps
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "kinds": ["domain"] * 3,
        "space directions": np.ascontiguousarray(affine[:3, :3].T),
        "space origin": affine[:3, 3],
        "encoding": "gzip",
    }
    voxels = labels[0]
    if len(labels) > 1:
        voxels = np.stack(labels, axis=-1)
        header["kinds"] = ["list", *header["kinds"]]
        header["space directions"] = np.vstack([np.full(3, np.nan), header["space directions"]])
    header |= _segment_fields(layers, labels, result) | {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ConversionParameters": "",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    buffer = io.BytesIO()
    nrrd.write(buffer, voxels, header, index_order="C", compression_level=_COMPRESSION_LEVEL)
    with atomic_path(path) as partial, partial.open("wb") as file:
        _write_without_comments(buffer, file)


def read_segmentation(path: str | os.PathLike[str]) -> StoredSegmentation:
    """Read a ``.seg.nrrd`` file written by this package or by 3D Slicer.

    Args:
        path: The file.

    Raises:
        InputError: ``segmentation-not-read`` when it is no such file.
    """
    import nrrd

    try:
        # pynrrd takes the first line of the file for granted.
        if Path(path).stat().st_size == 0:
            raise ValueError("the file is empty")
        voxels, header = nrrd.read(os.fspath(path), index_order="C")
    except (OSError, ValueError, KeyError, nrrd.NRRDError) as error:
        raise InputError(
            "segmentation-not-read",
            f"{Path(path).name} can't be read as a segmentation.",
            "Choose a file that was saved as .seg.nrrd.",
        ) from error
    directions = np.asarray(header["space directions"], dtype=np.float64)
    affine = np.eye(4)
    affine[:3, :3] = directions[-3:].T
    affine[:3, 3] = header["space origin"]
    # Slicer writes LPS, other programs may write RAS.
    if "right" in header["space"]:
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    layered = np.moveaxis(voxels, -1, 0) if voxels.ndim == 4 else voxels[np.newaxis]
    return StoredSegmentation(layered, affine, _stored_segments(header))


def _segment_fields(
    layers: tuple[SegmentLayer, ...],
    labels_kji: list[NDArray[np.uint8]],
    result: SegmentationResult,
) -> dict[str, str]:
    fields: dict[str, str] = {}
    number = 0
    for layer_index, (layer, labels) in enumerate(zip(layers, labels_kji, strict=True)):
        for definition in layer.segments:
            tags = segment_tags(definition, result).items()
            values = {
                "Color": " ".join(f"{channel:g}" for channel in definition.color),
                "ColorAutoGenerated": "0",
                "Extent": _extent(labels == definition.label),
                "ID": definition.id,
                "LabelValue": str(definition.label),
                "Layer": str(layer_index),
                "Name": definition.name,
                "NameAutoGenerated": "0",
                "Tags": "".join(f"{key}:{value}|" for key, value in sorted(tags)),
            }
            fields |= {f"Segment{number}_{key}": value for key, value in values.items()}
            number += 1
    return fields


def _extent(mask_kji: NDArray[np.bool_]) -> str:
    """Return the first and last index along i, j and k, as VTK writes extents."""
    bounds: list[int] = []
    for axis in (2, 1, 0):
        others = tuple(other for other in range(3) if other != axis)
        indices = np.flatnonzero(mask_kji.any(axis=others))
        bounds += [int(indices[0]), int(indices[-1])] if indices.size else [0, -1]
    return " ".join(str(bound) for bound in bounds)


def _write_without_comments(nrrd_file: io.BytesIO, file: IO[bytes]) -> None:
    """Copy an NRRD without its comment lines, which hold the time of writing."""
    nrrd_file.seek(0)
    for line in iter(nrrd_file.readline, b"\n"):
        if not line.startswith(b"#"):
            file.write(line)
    file.write(b"\n")
    file.write(nrrd_file.read())


def _stored_segments(header: dict[str, Any]) -> tuple[StoredSegment, ...]:
    numbers = sorted(
        int(match.group(1)) for key in header if (match := re.fullmatch(r"Segment(\d+)_ID", key))
    )
    return tuple(_stored_segment(header, f"Segment{number}_") for number in numbers)


def _stored_segment(header: dict[str, Any], prefix: str) -> StoredSegment:
    red, green, blue = (float(channel) for channel in header[f"{prefix}Color"].split())
    tags = (tag.split(":", 1) for tag in header.get(f"{prefix}Tags", "").split("|") if ":" in tag)
    return StoredSegment(
        id=header[f"{prefix}ID"],
        name=header[f"{prefix}Name"],
        color=(red, green, blue),
        label=int(header.get(f"{prefix}LabelValue", 1)),
        layer=int(header.get(f"{prefix}Layer", 0)),
        tags=dict(tags),
    )
