"""A result on a synthetic DICOM series of somebody whose name must not get out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.quantify import quantify
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.engine.result import (
    Anatomy,
    Lobe,
    LobeSource,
    Lung,
    Prediction,
    RunInfo,
    SegmentationResult,
)
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.export.job import ExportJob
from Testing.support.dicom_series import SPACING_MM, Series
from Testing.support.synthetic_ct import rotation

IDENTITY: dict[str, Any] = {
    "PatientName": "Mustermann^Erika^Roswitha",
    "PatientID": "PID8374651",
    "PatientBirthDate": "19430517",
    "PatientSex": "F",
    "AccessionNumber": "ACC5528193",
    "StudyID": "STU77120",
    "StudyDate": "20200331",
    "SeriesDate": "20200401",
    "AcquisitionDate": "20200402",
    "ContentDate": "20200403",
    "StudyTime": "113355",
    "ReferringPhysicianName": "Hausarzt^Gregor",
    "StudyDescription": "Thorax Mustermann, geb. 17.05.1943",
    "SeriesDescription": "Lunge Mustermann",
    "InstitutionName": "Klinikum Musterstadt",
    "PatientComments": "lives in Musterstadt",
    "OtherPatientIDs": "OLD998877",
}
SECRETS = (
    *("Mustermann", "Erika", "Roswitha", "PID8374651", "19430517", "ACC5528193", "STU77120"),
    *("20200331", "20200401", "20200402", "20200403", "113355", "Hausarzt", "Gregor", "Thorax"),
    *("Musterstadt", "OLD998877", "1943-05-17", "2020-03-31", "2020-04-02", "17.05.1943"),
)
"""What no anonymous file may hold, in any encoding it is written in."""

_TURN = rotation((14.0, 9.0, -6.0))
ORIENTATIONS: dict[str, tuple[float, ...]] = {
    "axial": (1, 0, 0, 0, 1, 0),
    "normal to the feet": (1, 0, 0, 0, -1, 0),
    "prone": (-1, 0, 0, 0, -1, 0),
    "oblique": (*_TURN[:, 0], *_TURN[:, 1]),
    "oblique, normal to the feet": (*_TURN[:, 0], *(-_TURN[:, 1])),
    "coronal": (1, 0, 0, 0, 0, -1),
}


def identified_series(orientation: str = "axial", *, backwards: bool = False) -> Series:
    """Return a series with a patient; ``backwards`` stacks against the slice normal."""
    cosines = np.round(ORIENTATIONS[orientation], 9)
    normal = np.cross(cosines[:3], cosines[3:])
    x, y, z = (float(value) for value in normal * SPACING_MM[2] * (-1 if backwards else 1))
    tags = {**IDENTITY, "FrameOfReferenceUID": "1.2.826.0.1.3680043.2.1125.7.7"}
    series = Series(orientation=tuple(cosines.tolist()), step_mm=(x, y, z), tags=tags)
    for dataset in series.datasets:
        dataset.StudyInstanceUID = "1.2.826.0.1.3680043.2.1125.7.8"
        dataset.add_new((0x0099, 0x0010), "LO", "PRIVATE")
        dataset.add_new((0x0099, 0x1001), "LO", "Mustermann")
    return series


def dicom_job(folder: Path, series: Series | None = None, *, identified: bool = False) -> ExportJob:
    """Write a series into a folder, shuffled, and return a result on it."""
    made = series or identified_series()
    order = np.random.default_rng(4).permutation(len(made.datasets)).tolist()
    ct = read_ct(made.write(folder, order))
    return ExportJob(result_on(ct), identified=identified)


def result_on(ct: CtVolume) -> SegmentationResult:
    """Return a result whose segments have no symmetry on the grid of a CT."""
    lungs, lobes, infection, opacity = _masks(ct.shape_zyx)
    anatomy = Anatomy(lungs, lobes, LobeSource.ATLAS, (Lobe.RML,), ("approximate-lobes",), 4.0)
    probability = np.where(infection > 0, 0.9, 0.02).astype(np.float16)
    prediction = Prediction(probability, probability)
    lesions, _ = find_lesions(infection, prediction, ct, anatomy, 0.0)
    run = RunInfo(
        model_id="inf-net-lite",
        weights_sha256={"inf-net-lite": "0123456789abcdef" * 4},
        device="cpu",
        threshold=0.5,
        seed=0,
        versions={"CovidLesionSeg": "0.1.0"},
        timings_s={"inference": 1.0},
    )
    numbers = quantify(ct, infection, anatomy, prediction, lesions)
    return SegmentationResult(
        ct, prediction, infection, anatomy, lesions, numbers, run, (), opacity
    )


def without_infection(job: ExportJob) -> ExportJob:
    """Return the job of the same CT with no lesion in it."""
    result, nothing = job.result, np.zeros_like(job.result.infection)
    numbers = quantify(result.ct, nothing, result.anatomy, result.prediction, ())
    healthy = replace(
        result, infection=nothing, opacity=nothing, lesions=(), quantification=numbers
    )
    return replace(job, result=healthy)


def _masks(shape_zyx: tuple[int, int, int]) -> tuple[NDArray[np.uint8], ...]:
    lungs, lobes, infection, opacity = (np.zeros(shape_zyx, np.uint8) for _ in range(4))
    z, y, x = shape_zyx
    lungs[:, y // 4 : 3 * y // 4, 2 : x // 2 - 2] = Lung.RIGHT
    lungs[1:, y // 4 : 3 * y // 4, x // 2 + 2 : x - 3] = Lung.LEFT
    upper = np.arange(z)[:, None, None] >= z // 2
    lobes[(lungs == Lung.RIGHT) & upper] = Lobe.RUL
    lobes[(lungs == Lung.RIGHT) & ~upper] = Lobe.RLL
    lobes[(lungs == Lung.LEFT) & upper] = Lobe.LUL
    lobes[(lungs == Lung.LEFT) & ~upper] = Lobe.LLL
    infection[1 : z // 2, y // 3 : y // 2, 3 : x // 3] = 1
    infection[z - 2, y // 2 :, x - 9] = 1
    infection[lungs == 0] = 0
    opacity[infection > 0] = 1
    opacity[1 : z // 3, y // 3 : y // 2, 3:8] *= 2
    return lungs, lobes, infection, opacity
