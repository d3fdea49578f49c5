"""The way back from `result.json` to the values of `engine.result`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from .definitions import DEFINITIONS_VERSION
from .result import (
    Anatomy,
    Lesion,
    Lobe,
    LobeSource,
    Lung,
    Measure,
    Prediction,
    Quantification,
    RegionRow,
    RunInfo,
    SegmentationResult,
)
from .volume import CtVolume, Provenance


def result_from_dict(
    values: Mapping[str, Any], ct: CtVolume, arrays: Mapping[str, NDArray[Any]]
) -> SegmentationResult:
    """Return a result from its parsed `result.json` and its voxels.

    Args:
        values: The parsed `result.json`.
        ct: The CT.
        arrays: ``[z, y, x]`` in LPS axis order: ``"infection"``, ``"lungs"`` and
            ``"probability"``, and what there is of ``"opacity"``, ``"lobes"``, ``"boundary"``
            and ``"agreement"``.
    """
    anatomy = values["anatomy"]
    return SegmentationResult(
        ct=ct,
        prediction=Prediction(
            arrays["probability"], arrays.get("boundary"), arrays.get("agreement")
        ),
        infection=arrays["infection"],
        anatomy=Anatomy(
            lungs=arrays["lungs"],
            lobes=arrays.get("lobes"),
            lobe_source=LobeSource(anatomy["lobe_source"]),
            missing=tuple(Lobe[name] for name in anatomy["missing_lobes"]),
            flags=tuple(anatomy["flags"]),
            lobe_uncertainty_mm=anatomy["lobe_uncertainty_mm"],
        ),
        lesions=lesions_from_list(values["lesions"]),
        quantification=quantification_from_dict(values["quantification"], values["definitions"]),
        run=run_from_dict(values["run"], values["timings_s"]),
        warnings=tuple(values["warnings"]),
        opacity=arrays.get("opacity"),
    )


def provenance_from_dict(ct: Mapping[str, Any]) -> Provenance:
    """Return where the CT came from (the entry ``"ct"``)."""
    return Provenance(ct["source"], ct["name"], ct["series_instance_uid"])


def quantification_from_dict(
    values: Mapping[str, Any], definitions: str = DEFINITIONS_VERSION
) -> Quantification:
    """Return the table of a parsed `result.json`.

    Args:
        values: Its entry ``"quantification"``.
        definitions: Its entry ``"definitions"``, the version by which the numbers were counted;
            the current one by default.
    """
    return Quantification(
        rows=tuple(
            RegionRow(
                row["region"], row["label"], _measures(row["measures"]), tuple(row.get("flags", ()))
            )
            for row in values["rows"]
        ),
        scores=_measures(values["scores"]),
        conventions=dict(values["conventions"]),
        definitions=definitions,
    )


def lesions_from_list(entries: Sequence[Mapping[str, Any]]) -> tuple[Lesion, ...]:
    """Return the lesions of a parsed `result.json` (its entry ``"lesions"``)."""
    return tuple(lesion_from_dict(entry) for entry in entries)


def lesion_from_dict(entry: Mapping[str, Any]) -> Lesion:
    """Return one lesion of a parsed `result.json`."""
    x, y, z = entry["centroid_lps_mm"]
    return Lesion(
        id=entry["id"],
        lobe=Lobe[entry["lobe"]] if entry["lobe"] else None,
        lung=Lung[entry["lung"].upper()] if entry["lung"] else None,
        volume_ml=entry["volume_ml"],
        diameter_mm=entry["diameter_mm"],
        mean_hu=entry["mean_hu"],
        centroid_lps_mm=(x, y, z),
        uncertainty=entry["uncertainty"],
        agreement=entry["agreement"],
        pleural_distance_mm=entry["pleural_distance_mm"],
        state=entry["state"],
        lesion_class=entry.get("class") or "",
        doubt_ml=entry.get("doubt_ml"),
    )


def run_from_dict(run: Mapping[str, Any], timings_s: Mapping[str, float]) -> RunInfo:
    """Return how a result was made (the entries ``"run"`` and ``"timings_s"``)."""
    return RunInfo(
        model_id=run["model"],
        weights_sha256=dict(run["weights_sha256"]),
        device=run["device"],
        threshold=run["threshold"],
        seed=run["seed"],
        versions=dict(run["versions"]),
        timings_s=dict(timings_s),
    )


def _measures(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Measure]:
    return {
        name: Measure(
            entry["value"],
            entry["unit"],
            entry.get("low"),
            entry.get("high"),
            entry.get("reason", ""),
        )
        for name, entry in entries.items()
    }
