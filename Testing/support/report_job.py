"""Jobs to report on: all that a report can show, and what may be missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import numpy as np

from CovidLesionSegLib.engine.quantify import quantify
from CovidLesionSegLib.engine.result import LobeSource, SegmentationResult
from CovidLesionSegLib.engine.review_values import LogEntry
from CovidLesionSegLib.engine.volume import Provenance
from CovidLesionSegLib.export.job import ExportJob, ReviewRecord
from Testing.support.review_result import reviewable_result

MADE = datetime(2026, 11, 22, 1, 2, 3, tzinfo=timezone.utc)


def measured(result: SegmentationResult) -> SegmentationResult:
    """Return the result with the table that the engine makes of it."""
    numbers = quantify(
        result.ct, result.infection, result.anatomy, result.prediction, result.lesions
    )
    return replace(result, quantification=numbers)


def report_job(kind: str = "plain") -> ExportJob:
    """Return a job.

    Args:
        kind: ``"plain"``, ``"healthy"``, ``"no lobes"``, ``"no lungs"``, ``"no CT"``,
            ``"reviewed"`` or ``"strange name"``.
    """
    result = reviewable_result()
    if kind == "healthy":
        nothing = np.zeros_like(result.infection)
        return ExportJob(measured(replace(result, infection=nothing, lesions=())))
    if kind == "no lobes":
        return ExportJob(measured(_without_lobes(result)))
    if kind == "no lungs":
        bare = _without_lobes(result)
        nothing = np.zeros_like(bare.infection)
        anatomy = replace(bare.anatomy, lungs=nothing)
        return ExportJob(measured(replace(bare, anatomy=anatomy, infection=nothing, lesions=())))
    if kind == "no CT":
        return ExportJob(result, has_ct=False)
    if kind == "reviewed":
        return _reviewed(result)
    if kind == "strange name":
        ct = replace(result.ct, provenance=Provenance("nifti", STRANGE_NAME))
        warning = f"{STRANGE_NAME} was read from /home/doe/{STRANGE_NAME}/x.nii."
        return ExportJob(replace(result, ct=ct, warnings=(*result.warnings, warning)))
    return ExportJob(result)


STRANGE_NAME = "<script>alert(1)</script> & \"Müller\" 'Ж' &amp; %s </td> 100 % --"


def _without_lobes(result: SegmentationResult) -> SegmentationResult:
    anatomy = replace(
        result.anatomy, lobes=None, lobe_source=LobeSource.NONE, flags=(), lobe_uncertainty_mm=0.0
    )
    lesions = tuple(replace(lesion, lobe=None) for lesion in result.lesions)
    return replace(result, anatomy=anatomy, lesions=lesions)


def _reviewed(result: SegmentationResult) -> ExportJob:
    states = ("accepted", "rejected", "edited")
    lesions = tuple(
        replace(lesion, state=state) for lesion, state in zip(result.lesions, states, strict=True)
    )
    log = (
        LogEntry("2026-11-22T00:10:00+00:00", "accept", "1", 0, 0, 1.0),
        LogEntry("2026-11-22T00:11:00+00:00", "reject", "2", 0, 40, 0.98),
        LogEntry("2026-11-22T00:12:00+00:00", "edit", "3", 25, 0, 0.97),
        LogEntry("2026-11-22T00:13:00+00:00", "finish", "", 0, 0, 0.97),
    )
    return ExportJob(result, frozenset({"infection"}), ReviewRecord(lesions, log))
