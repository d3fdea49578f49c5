"""DICOM SR, TID 1500: the table and the severity scores, tied to the segments of the SEG."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CovidLesionSegLib.engine.result import Measure, RegionRow
from CovidLesionSegLib.version import __version__

from .dicom_codes import (
    CT_CHEST,
    LUNG,
    SCHEME,
    VALUE_UNKNOWN,
    concept,
    derivation_code,
    measure_code,
    unit_code,
)
from .dicom_identity import mark_anonymous
from .dicom_seg import (
    MANUFACTURER,
    MODEL_NAME,
    SEG_STORAGE,
    SegIdentity,
    SegmentInSeg,
    dates,
    equipment,
    seg_identity,
    segments_in_seg,
)
from .dicom_source import DicomSource, write_object
from .job import ExportJob
from .segments import SegmentDefinition, segment_definition
from .tables import lobes_columns

_SERIES_NUMBER = 7002
_DEVICE_UID = "2.25.141592330829460310427812164093745829113"
_TOTAL = "total"


@dataclass(frozen=True, eq=False)
class _Parts:
    """What every group of measurements needs."""

    job: ExportJob
    source: DicomSource
    segments: Mapping[str, SegmentInSeg]
    seg: SegIdentity


def write_dicom_sr(job: ExportJob, path: Path) -> list[Path]:
    """Write the measurements as a Comprehensive 3D SR.

    It refers to the SEG that `dicom_seg.write_dicom_seg` writes for the same job, by
    identifiers that follow from the content; write both.

    Args:
        job: A result whose CT came from DICOM.
        path: File to write.

    Raises:
        CovidLesionSegError: See `dicom_source.read_source`; ``segmentation-empty``;
            ``output-not-written``.
    """
    return write_object(job, path, make_dicom_sr)


def make_dicom_sr(job: ExportJob, source: DicomSource) -> Any:
    """Return the SR data set of a job."""
    import highdicom as hd

    segments = {part.definition.id: part for part in segments_in_seg(job, source)}
    seg = seg_identity(job, source)
    parts = _Parts(job, source, segments, seg)
    rows = job.result.quantification.rows
    report = hd.sr.MeasurementReport(
        observation_context=_observer(),
        procedure_reported=concept(CT_CHEST),
        imaging_measurements=[*(_group(row, parts) for row in rows), *_infection(parts)],
        title=hd.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    # The same masks can come with other numbers: other intervals of another network, say.
    columns = lobes_columns(job.result.quantification)
    numbers = json.dumps([(column.name, column.cells) for column in columns])
    definitions = job.result.quantification.definitions
    content = (seg.sop_instance_uid, definitions, numbers)
    dataset = hd.sr.Comprehensive3DSR(
        evidence=[*source.images, _seg_reference(parts)],
        content=report[0],
        series_instance_uid=source.uid("sr-series", *content),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=source.uid("sr", *content),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="Infection per lobe (CovidLesionSeg)",
        coding_schemes=[_coding_scheme(definitions)],
        **equipment(),
        **dates(job),
    )
    return dataset if job.identified else mark_anonymous(dataset)


def _observer() -> Any:
    import highdicom as hd

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=_DEVICE_UID,
        name=MODEL_NAME,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
        serial_number=__version__,
    )
    kind = hd.sr.CodedConcept("121007", "DCM", "Device")
    return hd.sr.ObservationContext(observer_device_context=hd.sr.ObserverContext(kind, device))


def _coding_scheme(definitions: str) -> Any:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(
        SCHEME,
        name="CovidLesionSeg measurements",
        version=definitions,
        responsible_organization=MANUFACTURER,
    )


def _seg_reference(parts: _Parts) -> Any:
    """Return of the SEG what a reference to it needs."""
    from pydicom import Dataset

    first = parts.source.images[0]
    reference = Dataset()
    reference.SOPClassUID = SEG_STORAGE
    reference.SOPInstanceUID = parts.seg.sop_instance_uid
    reference.SeriesInstanceUID = parts.seg.series_instance_uid
    reference.StudyInstanceUID = first.StudyInstanceUID
    return reference


def _group(row: RegionRow, parts: _Parts) -> Any:
    """Return a region's measurements; with its segment where the SEG has one."""
    measures = dict(row.measures)
    if row.region == _TOTAL:
        measures |= parts.job.result.quantification.scores
    segment = parts.segments.get(row.region)
    definition = None if row.region == _TOTAL else segment_definition(row.region)
    return _measurement_group(row.label, definition, segment, measures, parts)


def _infection(parts: _Parts) -> list[Any]:
    """Return the group that ties the infection segment, with its volume and lesions."""
    segment = parts.segments.get("infection")
    if segment is None:
        return []
    result = parts.job.result
    volume = float((segment.labels > 0).sum()) * result.ct.voxel_volume_ml
    measures = {
        "volume_ml": Measure(volume, "ml"),
        "lesion_count": Measure(len(result.lesions), "count"),
    }
    return [_measurement_group("infection", segment.definition, segment, measures, parts)]


def _measurement_group(
    label: str,
    definition: SegmentDefinition | None,
    segment: SegmentInSeg | None,
    measures: Mapping[str, Measure],
    parts: _Parts,
) -> Any:
    import highdicom as hd

    arguments: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=segment.tracking_uid if segment else parts.source.uid("tracking", label),
            identifier=label,
        ),
        "finding_sites": [_site(definition)],
        "algorithm_id": _algorithm(parts.job),
        "measurements": [
            _measurement(name, measure, measure.value)
            for name, measure in measures.items()
            if measure.value is not None
        ],
        "qualitative_evaluations": [
            hd.sr.QualitativeEvaluation(
                concept(measure_code(name, measure.unit)), concept(VALUE_UNKNOWN)
            )
            for name, measure in measures.items()
            if measure.value is None
        ],
    }
    if definition is not None:
        arguments["finding_category"] = concept(definition.category)
        arguments["finding_type"] = concept(definition.type)
    if segment is None:
        return hd.sr.MeasurementsAndQualitativeEvaluations(**arguments)
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=hd.sr.ReferencedSegment(
            sop_class_uid=SEG_STORAGE,
            sop_instance_uid=parts.seg.sop_instance_uid,
            segment_number=segment.number,
            source_series=hd.sr.SourceSeriesForSegmentation(parts.source.series_uid),
        ),
        **arguments,
    )


def _site(definition: SegmentDefinition | None) -> Any:
    import highdicom as hd

    if definition is None or definition.region is not None:
        return hd.sr.FindingSite(concept(LUNG))
    side = definition.type_modifier
    return hd.sr.FindingSite(
        concept(definition.type), laterality=None if side is None else concept(side)
    )


def _algorithm(job: ExportJob) -> Any:
    import highdicom as hd

    run = job.result.run
    parameters = [
        f"threshold {run.threshold:g}",
        f"definitions {job.result.quantification.definitions}",
        f"lobes: {job.result.anatomy.lobe_source.value}",
        *(f"{name} sha256 {value}" for name, value in run.weights_sha256.items()),
        *(f"edited: {layer}" for layer in sorted(job.edited_layers)),
    ]
    return hd.sr.AlgorithmIdentification(
        name=f"CovidLesionSeg {run.model_id}",
        version=run.versions.get("CovidLesionSeg", __version__),
        parameters=parameters,
    )


def _measurement(name: str, measure: Measure, value: float) -> Any:
    """Return a number with its interval."""
    import highdicom as hd

    derivation = derivation_code(name)
    return hd.sr.Measurement(
        name=concept(measure_code(name, measure.unit)),
        value=float(value),
        unit=concept(unit_code(measure.unit)),
        derivation=None if derivation is None else concept(derivation),
        properties=_interval(measure),
    )


def _interval(measure: Measure) -> Any:
    """Return the interval as distances from the value, the way TID 310 wants it."""
    import highdicom as hd

    if measure.value is None or measure.low is None or measure.high is None:
        return None
    return hd.sr.MeasurementProperties(
        upper_measurement_uncertainty=measure.high - measure.value,
        lower_measurement_uncertainty=measure.value - measure.low,
    )
