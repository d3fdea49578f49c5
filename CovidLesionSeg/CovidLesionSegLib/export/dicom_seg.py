"""DICOM SEG: the segments as a DICOM object that belongs to the study of the CT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import LobeSource
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.version import __version__

from .dicom_codes import concept
from .dicom_identity import NO_DATE, NO_TIME, mark_anonymous
from .dicom_source import (
    DicomSource,
    masks_digest,
    write_object,
)
from .job import ExportJob
from .segments import SegmentDefinition, segment_layers

MANUFACTURER = "The CovidLesionSeg developers"
MODEL_NAME = "CovidLesionSeg"
SEG_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
_SERIES_NUMBER = 7001


@dataclass(frozen=True, eq=False)
class SegmentInSeg:
    """A segment of a SEG object.

    Attributes:
        number: Segment number, from 1.
        definition: Name and codes.
        labels: Label map ``[z, y, x]`` of its layer.
        tracking_uid: Unique identifier of what was segmented.
    """

    number: int
    definition: SegmentDefinition
    labels: NDArray[np.uint8]
    tracking_uid: str


@dataclass(frozen=True)
class SegIdentity:
    """What identifies the SEG of a job; a report can refer to it without writing it."""

    sop_instance_uid: str
    series_instance_uid: str


def write_dicom_seg(job: ExportJob, path: Path) -> list[Path]:
    """Write all segments that are not empty as one binary SEG object.

    Args:
        job: A result whose CT came from DICOM.
        path: File to write.

    Raises:
        CovidLesionSegError: See `dicom_source.read_source`; ``segmentation-empty``;
            ``output-not-written``.
    """
    return write_object(job, path, make_dicom_seg)


def make_dicom_seg(job: ExportJob, source: DicomSource) -> Any:
    """Return the SEG data set of a job."""
    import highdicom as hd

    segments = segments_in_seg(job, source)
    identity = seg_identity(job, source)
    dataset = hd.seg.Segmentation(
        source_images=source.images,
        pixel_array=_pixel_array(segments, source),
        segmentation_type="BINARY",
        segment_descriptions=[_description(job, segment) for segment in segments],
        series_instance_uid=identity.series_instance_uid,
        series_number=_SERIES_NUMBER,
        sop_instance_uid=identity.sop_instance_uid,
        instance_number=1,
        series_description="Infection, lungs and lobes (CovidLesionSeg)",
        content_label="INFECTION",
        content_description="COVID-19 lesions, lungs and lobes",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **equipment(),
        **dates(job),
    )
    return dataset if job.identified else mark_anonymous(dataset)


def segments_in_seg(job: ExportJob, source: DicomSource) -> list[SegmentInSeg]:
    """Return the segments with voxels, numbered as in the SEG.

    Raises:
        CovidLesionSegError: ``segmentation-empty``.
    """
    segments: list[SegmentInSeg] = []
    for layer in segment_layers(job.result):
        for definition in layer.segments:
            if (layer.labels == definition.label).any():
                uid = source.uid("tracking", definition.id)
                segments.append(SegmentInSeg(len(segments) + 1, definition, layer.labels, uid))
    if not segments:
        raise CovidLesionSegError(
            "segmentation-empty",
            "There is neither infection nor lung in this result, and a DICOM segmentation can't "
            "be empty.",
        )
    return segments


def seg_identity(job: ExportJob, source: DicomSource) -> SegIdentity:
    """Return the identifiers of the SEG of a job; they follow from its content."""
    run = job.result.run
    weights = sorted(run.weights_sha256.items())
    made = (run.model_id, f"{run.threshold:g}", *(f"{name} {value}" for name, value in weights))
    content = (masks_digest(job.result), *sorted(job.edited_layers), *made)
    return SegIdentity(
        source.uid("seg", __version__, *content),
        source.uid("seg-series", __version__, *content),
    )


def equipment() -> dict[str, str]:
    """Return what made the object, as highdicom's arguments."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL_NAME,
        "software_versions": __version__,
        "device_serial_number": __version__,
    }


def dates(job: ExportJob) -> dict[str, str]:
    """Return when the object was made, as highdicom's arguments; a dummy when anonymous."""
    return {} if job.identified else {"content_date": NO_DATE, "content_time": NO_TIME}


def _pixel_array(segments: Sequence[SegmentInSeg], source: DicomSource) -> NDArray[np.uint8]:
    """Return ``[frame, row, column, segment]``, 0 or 1."""
    stacked: NDArray[np.uint8] | None = None
    for index, segment in enumerate(segments):
        mask = source.frames((segment.labels == segment.definition.label).astype(np.uint8))
        if stacked is None:
            stacked = np.zeros((*mask.shape, len(segments)), dtype=np.uint8)
        stacked[..., index] = mask
    if stacked is None:
        raise ValueError("there are no segments")
    return stacked


def _description(job: ExportJob, segment: SegmentInSeg) -> Any:
    import highdicom as hd

    definition = segment.definition
    description = hd.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=definition.name,
        segmented_property_category=concept(definition.category),
        segmented_property_type=concept(definition.type),
        algorithm_type=_algorithm_type(job, definition.layer),
        algorithm_identification=_algorithm(job, definition.layer),
        tracking_uid=segment.tracking_uid,
        tracking_id=definition.name,
        anatomic_regions=[concept(definition.region)] if definition.region else None,
        display_color=hd.color.CIELabColor.from_rgb(*definition.color_rgb),
    )
    if definition.type_modifier is not None:
        modifier = concept(definition.type_modifier)
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return description


def _algorithm_type(job: ExportJob, layer: str) -> str:
    given = job.result.anatomy.lobe_source in (LobeSource.SCENE, LobeSource.FILE)
    edited = layer in job.edited_layers or (layer == "opacity" and "infection" in job.edited_layers)
    return "SEMIAUTOMATIC" if edited or (layer == "lobes" and given) else "AUTOMATIC"


def _algorithm(job: ExportJob, layer: str) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    run = job.result.run
    names = {
        "infection": f"CovidLesionSeg {run.model_id}",
        "opacity": f"CovidLesionSeg {run.model_id}, split by HU",
        "lungs": "CovidLesionSeg lungs",
        "lobes": f"CovidLesionSeg lobes: {job.result.anatomy.lobe_source.value}",
    }
    weights = ", ".join(f"{name} sha256 {value}" for name, value in run.weights_sha256.items())
    learned = {"weights": weights, "threshold": f"{run.threshold:g}"}
    return hd.AlgorithmIdentificationSequence(
        name=names[layer][:64],
        family=codes.DCM.ArtificialIntelligence,
        version=run.versions.get("CovidLesionSeg", __version__),
        source=MODEL_NAME,
        parameters=learned if layer in ("infection", "opacity") else None,
    )
