"""3D Slicer's segmentation file, ``.seg.nrrd``, without 3D Slicer.

The format is described with ``vtkMRMLSegmentationStorageNode``: an NRRD label map whose first
axis lists the layers when segments overlap, and key/value pairs with the segments.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.deflate import LABELS, Deflated, Deflating, worker_pool
from CovidLesionSegLib.engine.geometry import Affine
from CovidLesionSegLib.engine.masks import bounding_box
from CovidLesionSegLib.engine.nrrd_file import nrrd_header, write_nrrd
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.errors import InputError

from .segments import SegmentDefinition, SegmentLayer, segment_layers

TERMINOLOGY_TAG = "TerminologyEntry"
SOURCE_TAG = "CovidLesionSeg.Source"
REFERENCE_GEOMETRY = "Reference image geometry"
"""Slicer's conversion parameter for the grid that a segmentation is edited on."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


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


def segment_tags(definition: SegmentDefinition, result: SegmentationResult) -> dict[str, str]:
    """Return the tags of a segment: its codes, and where its outline came from."""
    sources = {
        "infection": f"{result.run.model_id}, not reviewed",
        "opacity": result.opacity_source or f"{result.run.model_id}, not reviewed",
        "lungs": "CovidLesionSeg lungs",
        "lobes": result.anatomy.lobe_source.value,
    }
    return {
        SOURCE_TAG: sources[definition.layer],
        TERMINOLOGY_TAG: definition.terminology_entry,
    }


def write_segmentation(
    path: str | os.PathLike[str], result: SegmentationResult, packed: Deflated | None = None
) -> None:
    """Write the segments of a result on exactly the grid of the input.

    The same result gives the same bytes.

    Args:
        path: File to write, ending in ``.seg.nrrd``.
        result: The result; which segments it has is decided by `segment_layers`.
        packed: What `pack_segmentation` gave, if that was done already; saves time.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    if packed is None:
        with worker_pool() as pool:
            packed = pack_segmentation(result, pool).result()
    with atomic_path(path) as partial, partial.open("wb") as file:
        write_nrrd(file, segmentation_header(result), packed)


def pack_segmentation(result: SegmentationResult, pool: Executor) -> Deflating:
    """Compress the label maps of a result, side by side voxel by voxel.

    Args:
        result: The result.
        pool: Who compresses.
    """
    views = _input_views(segment_layers(result), result)

    def slab(part: slice) -> NDArray[np.uint8]:
        return np.stack([view[part] for view in views], axis=-1)

    entry_bytes = len(views) * views[0][:1].size
    return Deflating(slab, len(views[0]), entry_bytes, LABELS, pool)


def segmentation_header(result: SegmentationResult) -> bytes:
    """Return what stands before the voxels in a segmentation file."""
    layers = segment_layers(result)
    views = _input_views(layers, result)
    fields = _segment_fields(layers, views, result) | {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ConversionParameters": f"{REFERENCE_GEOMETRY}|{_geometry(result)}|&",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    affine, shape = result.ct.input_affine_lps, views[0].shape
    return nrrd_header(views[0].dtype, shape, affine, len(views), fields)


def _geometry(result: SegmentationResult) -> str:
    """Return the CT's grid in Slicer's serial form: index to RAS row by row, then the extent."""
    matrix = _LPS_TO_RAS @ result.ct.input_affine_lps + 0.0
    shape = result.ct.orientation.input_view(result.ct.hu).shape
    extent = [bound for size in shape[::-1] for bound in (0, size - 1)]
    return "".join(f"{value:.15g};" for value in (*matrix.ravel(), *extent))


def _input_views(
    layers: tuple[SegmentLayer, ...], result: SegmentationResult
) -> list[NDArray[np.uint8]]:
    return [result.ct.orientation.input_view(layer.labels) for layer in layers]


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
        extents = _extents(labels, [definition.label for definition in layer.segments])
        for definition, extent in zip(layer.segments, extents, strict=True):
            tags = segment_tags(definition, result).items()
            values = {
                "Color": " ".join(f"{channel:g}" for channel in definition.color),
                "ColorAutoGenerated": "0",
                "Extent": extent,
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


def _extents(labels_kji: NDArray[np.uint8], labels: list[int]) -> list[str]:
    """Return the first and last index of labels along i, j and k, as VTK writes extents."""
    nothing = "0 -1 0 -1 0 -1"
    present = labels_kji > 0
    if not present.any():
        return [nothing] * len(labels)
    whole = bounding_box(present)
    extents = []
    for label in labels:
        mask = labels_kji[whole] == label
        if not mask.any():
            extents.append(nothing)
            continue
        box = [
            (outer.start + inner.start, outer.start + inner.stop - 1)
            for outer, inner in zip(whole, bounding_box(mask), strict=True)
        ]
        extents.append(" ".join(f"{first} {last}" for first, last in box[::-1]))
    return extents


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
