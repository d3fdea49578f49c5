"""Provenance on nodes: what made them, so that it survives saving and copying."""

from __future__ import annotations

from typing import Any

from CovidLesionSegLib.engine.result import SegmentationResult

PREFIX = "CovidLesionSeg."


def provenanceAttributes(result: SegmentationResult) -> dict[str, str]:
    """Return the node attributes that say how a result was made; names no patient."""
    run = result.run
    values = {
        "Version": run.versions.get("CovidLesionSeg", ""),
        "ModelId": run.model_id,
        "WeightsSha256": ";".join(
            f"{key}={run.weights_sha256[key]}" for key in sorted(run.weights_sha256)
        ),
        "Device": run.device,
        "Threshold": f"{run.threshold:g}",
        "Seed": str(run.seed),
        "LobeSource": result.anatomy.lobe_source.value,
        "CtDigest": result.ct.digest(),
    }
    return {PREFIX + key: value for key, value in values.items()}


def setAttributes(node: Any, attributes: dict[str, str], role: str) -> None:
    """Write provenance to a node, with its role in the result, for example ``"boundary-map"``."""
    for key, value in attributes.items():
        node.SetAttribute(key, value)
    node.SetAttribute(PREFIX + "Role", role)
