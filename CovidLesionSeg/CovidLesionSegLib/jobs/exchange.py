"""What the host and the worker hand each other: a folder with a job, then with its result.

Voxels travel as ``.npy`` in the CT's LPS axis order, everything else in `result.json`, which
stays the only serial form of a result. The folder lives in a temporary place and is deleted by
the host, because it holds the patient's voxels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.geometry import Affine, AxisOrientation
from CovidLesionSegLib.engine.result import LobeSource, SegmentationResult
from CovidLesionSegLib.engine.result_json import result_to_json
from CovidLesionSegLib.engine.result_reading import provenance_from_dict, result_from_dict
from CovidLesionSegLib.engine.steps import Steps, finish
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from CovidLesionSegLib.errors import CovidLesionSegError, InputError

JOB_FILE = "job.json"
RESULT_FILE = "result.json"
EXPORT_FILE = "export.json"
"""Job of another kind, see `export.handover`."""

VOXELS_FILE = "ct.npy"


@dataclass(frozen=True, eq=False)
class Job:
    """One run that a worker is asked for.

    Attributes:
        voxels_kji: Voxels of the input grid ``[k, j, i]``, as they are in the scene.
        affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm.
        provenance: Where the CT came from.
        options: Fields of `SegmentOptions`, JSON-ready.
        lobes_file: Name of a segmentation in the job's folder with lobes from the scene, or
            empty.
    """

    voxels_kji: NDArray[Any]
    affine_lps: Affine
    provenance: Provenance
    options: Mapping[str, Any] = field(default_factory=dict)
    lobes_file: str = ""


def write_job(folder: Path, job: Job) -> Path:
    """Write a job into a folder and return the path of its `job.json`."""
    np.save(folder / VOXELS_FILE, job.voxels_kji)
    values = {
        "affine_lps": job.affine_lps.tolist(),
        "source": job.provenance.source,
        "name": job.provenance.name,
        "series_instance_uid": job.provenance.series_instance_uid,
        "options": dict(job.options),
        "lobes_file": job.lobes_file,
    }
    path = folder / JOB_FILE
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def read_job(path: Path) -> Job:
    """Read a job.

    Raises:
        InputError: ``job-unreadable``.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Job(
            voxels_kji=np.load(path.parent / VOXELS_FILE, allow_pickle=False),
            affine_lps=np.array(values["affine_lps"], dtype=np.float64),
            provenance=Provenance(values["source"], values["name"], values["series_instance_uid"]),
            options=values["options"],
            lobes_file=values["lobes_file"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "job-unreadable", f"The job {path.name} can't be read: {error}."
        ) from error


def write_result(folder: Path, result: SegmentationResult) -> Path:
    """Write a result into a folder and return the path of its `result.json`.

    `result.json` comes last: where it stands, everything stands.
    """
    return finish(write_result_steps(folder, result))


def write_result_steps(folder: Path, result: SegmentationResult) -> Steps[Path]:
    """Write a result, one array after another; see `write_result`."""
    names = {}
    for name, array in _arrays(result).items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)
            names[name] = f"{name}.npy"
            yield
    (folder / "grid.json").write_text(
        json.dumps({"input_affine_lps": result.ct.input_affine_lps.tolist()}), encoding="utf-8"
    )
    names["grid"] = "grid.json"
    path = folder / RESULT_FILE
    path.write_text(result_to_json(result, names), encoding="utf-8")
    return path


def read_result(folder: Path) -> SegmentationResult:
    """Read what `write_result` wrote.

    Raises:
        CovidLesionSegError: ``result-unreadable``.
    """
    return finish(read_result_steps(folder))


def read_result_steps(folder: Path) -> Steps[SegmentationResult]:
    """Read what `write_result` wrote, one array after another; see `read_result`."""
    try:
        values = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        grid = json.loads((folder / "grid.json").read_text(encoding="utf-8"))
        arrays = {}
        for name, file in values["files"].items():
            if file.endswith(".npy"):
                arrays[name] = np.load(folder / file, allow_pickle=False)
                yield
        ct = _ct(values["ct"], np.array(grid["input_affine_lps"]), arrays["hu"])
        return result_from_dict(values, ct, arrays)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CovidLesionSegError(
            "result-unreadable",
            "The result of the calculation could not be read.",
            "Look whether the disk is full, then run it again.",
        ) from error


def with_scene_lobes(result: SegmentationResult) -> SegmentationResult:
    """Say that a result's lobes came from the scene and not from a file."""
    return replace(result, anatomy=replace(result.anatomy, lobe_source=LobeSource.SCENE))


def _arrays(result: SegmentationResult) -> dict[str, NDArray[Any] | None]:
    return {
        "hu": result.ct.hu,
        "infection": result.infection,
        "opacity": result.opacity,
        "lungs": result.anatomy.lungs,
        "lobes": result.anatomy.lobes,
        "probability": result.prediction.infection,
        "boundary": result.prediction.boundary,
        "agreement": result.prediction.agreement,
    }


def _ct(values: Mapping[str, Any], input_affine_lps: Affine, hu: NDArray[np.int16]) -> CtVolume:
    orientation = AxisOrientation.from_affine(input_affine_lps)
    return CtVolume(
        hu=hu,
        affine_lps=orientation.affine_to_lps_order(
            input_affine_lps, orientation.from_lps(hu).shape
        ),
        orientation=orientation,
        input_affine_lps=input_affine_lps,
        provenance=provenance_from_dict(values),
        flags=tuple(values["flags"]),
    )
