"""`result.json`, the only serial form of a result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .result import Lesion, Measure, Quantification, RegionRow, RunInfo, SegmentationResult

SCHEMA = "covid-lesion-seg/result/1"

_DIGITS = 6
"""Significant digits: more than any of these numbers is worth."""


def _number(value: float | None) -> float | int | None:
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.{_DIGITS}g}")


def _measure(measure: Measure) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": _number(measure.value), "unit": measure.unit}
    if measure.low is not None and measure.high is not None:
        entry["low"], entry["high"] = _number(measure.low), _number(measure.high)
    if measure.reason:
        entry["reason"] = measure.reason
    return entry


def _measures(measures: Mapping[str, Measure]) -> dict[str, Any]:
    return {name: _measure(measure) for name, measure in measures.items()}


def _row(row: RegionRow) -> dict[str, Any]:
    return {
        "region": row.region,
        "label": row.label,
        "measures": _measures(row.measures),
        "flags": list(row.flags),
    }


def lesion_to_dict(lesion: Lesion) -> dict[str, Any]:
    """Return a lesion as it stands in `result.json`."""
    return {
        "id": lesion.id,
        "lobe": lesion.lobe.name if lesion.lobe else None,
        "lung": lesion.lung.name.lower() if lesion.lung else None,
        "volume_ml": _number(lesion.volume_ml),
        "diameter_mm": _number(lesion.diameter_mm),
        "mean_hu": _number(lesion.mean_hu),
        "centroid_lps_mm": [_number(value) for value in lesion.centroid_lps_mm],
        "uncertainty": _number(lesion.uncertainty),
        "agreement": _number(lesion.agreement),
        "pleural_distance_mm": _number(lesion.pleural_distance_mm),
        "state": lesion.state,
        "class": lesion.lesion_class or None,
        "doubt_ml": _number(lesion.doubt_ml),
    }


def _run(run: RunInfo) -> dict[str, Any]:
    return {
        "model": run.model_id,
        "weights_sha256": dict(run.weights_sha256),
        "device": run.device,
        "threshold": run.threshold,
        "seed": run.seed,
        "versions": dict(run.versions),
    }


def layer_digests(layers: Mapping[str, NDArray[np.uint8] | None]) -> dict[str, str]:
    """Return the SHA-256 of label maps by name; they tell later whether a file was edited.

    Args:
        layers: uint8 ``[z, y, x]`` in LPS axis order by name; None for a layer that is not
            there.
    """
    return {
        name: hashlib.sha256(np.ascontiguousarray(labels, dtype=np.uint8).data).hexdigest()
        for name, labels in layers.items()
        if labels is not None
    }


def _table(quantification: Quantification) -> dict[str, Any]:
    return {
        "rows": [_row(row) for row in quantification.rows],
        "scores": _measures(quantification.scores),
        "conventions": dict(quantification.conventions),
    }


def result_to_dict(result: SegmentationResult, files: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON-ready form of a result.

    Args:
        result: The result.
        files: Names of the files written beside it, by kind.

    Everything but ``"timings_s"`` is the same for two runs on one machine. Nothing names
    the patient.
    """
    ct, anatomy = result.ct, result.anatomy
    return {
        "schema": SCHEMA,
        "definitions": result.quantification.definitions,
        "ct": {
            "name": ct.provenance.name,
            "source": ct.provenance.source,
            "series_instance_uid": ct.provenance.series_instance_uid,
            "sha256": ct.digest(),
            "shape_zyx": list(ct.shape_zyx),
            "spacing_mm_zyx": list(ct.spacing_mm_zyx),
            "flags": list(ct.flags),
        },
        "run": _run(result.run),
        "anatomy": {
            "lobe_source": anatomy.lobe_source.value,
            "missing_lobes": [lobe.name for lobe in anatomy.missing],
            "lobe_uncertainty_mm": _number(anatomy.lobe_uncertainty_mm),
            "flags": list(anatomy.flags),
        },
        "quantification": _table(result.quantification),
        "lesions": [lesion_to_dict(lesion) for lesion in result.lesions],
        "segmentation_sha256": layer_digests(result.layers),
        "warnings": list(result.warnings),
        "files": dict(files),
        "timings_s": dict(result.run.timings_s),
    }


def result_to_json(result: SegmentationResult, files: Mapping[str, str]) -> str:
    """Return the text of `result.json`; NaN and infinity are refused."""
    return json.dumps(result_to_dict(result, files), indent=2, allow_nan=False) + "\n"
