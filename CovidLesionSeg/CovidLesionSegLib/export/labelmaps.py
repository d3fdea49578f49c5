"""NIfTI label maps, one per layer, and a legend that says what the labels are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.writers import write_map

from .job import ExportJob
from .segments import SegmentDefinition, segment_layers

LEGEND_SCHEMA = "covid-lesion-seg/labels/1"
_SUFFIX = ".nii.gz"


def write_labelmaps(job: ExportJob, path: Path) -> list[Path]:
    """Write the infection to a path, the other layers and the legend beside it.

    Segments of different layers overlap, and a label map can't hold two labels in a voxel:
    hence ``NAME.nii.gz`` with the infection, ``NAME-opacity.nii.gz``, ``NAME-lungs.nii.gz``,
    ``NAME-lobes.nii.gz`` and ``NAME-labels.json``.

    Args:
        job: What to write.
        path: Ends in ``.nii.gz``.

    Returns:
        What was written.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    stem = path.name.removesuffix(_SUFFIX)
    written = []
    files: dict[str, Any] = {}
    for layer in segment_layers(job.result):
        name = path.name if layer.name == "infection" else f"{stem}-{layer.name}{_SUFFIX}"
        written.append(write_map(path.with_name(name), layer.labels, job.result.ct))
        files[name] = [_entry(definition) for definition in layer.segments]
    legend = path.with_name(f"{stem}-labels.json")
    with atomic_path(legend) as partial:
        text = json.dumps({"schema": LEGEND_SCHEMA, "files": files}, indent=2)
        partial.write_text(text + "\n", encoding="utf-8")
    return [*written, legend]


def _entry(definition: SegmentDefinition) -> dict[str, Any]:
    codes = {
        "category": definition.category,
        "type": definition.type,
        "type_modifier": definition.type_modifier,
        "region": definition.region,
    }
    return {
        "label": definition.label,
        "id": definition.id,
        "name": definition.name,
        "color_rgb": list(definition.color_rgb),
        "codes": {
            key: {"scheme": code.scheme, "value": code.value, "meaning": code.meaning}
            for key, code in codes.items()
            if code is not None
        },
    }
