"""A review as something to export: the result as it is now, and what a person decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.result_json import layer_digests
from CovidLesionSegLib.engine.result_reading import run_from_dict
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.export.job import ExportJob, ReviewRecord
from CovidLesionSegLib.export.review_files import write_training_case

from .review_session import ReviewSession
from .run_nodes import factsOfRun, layerOfRun, mapOfRun


def exportJob(
    session: ReviewSession, files: Sequence[str] = (), identified: bool = False
) -> ExportJob:
    """Return a review as it is now, for the formats of `export.formats`.

    Args:
        session: The review, whose numbers are those of the last edit.
        files: The DICOM files that the CT was loaded from; empty for another source.
        identified: Whether the patient may be named.
    """
    session.refresh()
    session.settle()
    facts = factsOfRun(session.node)
    result = _resultNow(session, _withFiles(session.context.ct, files))
    computed = facts.get("segmentation_sha256", {})
    digests = layer_digests(result.layers)
    edited = {name for name in digests if name in computed and digests[name] != computed[name]}
    decided, _total = session.progress
    review = ReviewRecord(session.lesions, tuple(session.log))
    return ExportJob(
        result=result,
        edited_layers=frozenset(edited),
        review=review if decided or review.log else None,
        identified=identified,
    )


def saveTrainingCase(session: ReviewSession, folder: Path) -> str:
    """Write CT and corrected masks without names or dates; returns the case's key.

    Raises:
        InputError: ``output-not-writable``.
    """
    session.refresh()
    context = session.context
    return write_training_case(folder, context.ct, session.book.infection, context.anatomy.lungs)


def _withFiles(ct: CtVolume, files: Sequence[str]) -> CtVolume:
    if not files:
        return ct
    return replace(ct, provenance=replace(ct.provenance, source="dicom", files=tuple(files)))


def _resultNow(session: ReviewSession, ct: CtVolume) -> SegmentationResult:
    facts, context = factsOfRun(session.node), session.context
    return SegmentationResult(
        ct=ct,
        prediction=replace(
            context.prediction, boundary=mapOfRun(session.node, "boundary", context.ct)
        ),
        infection=session.book.infection,
        anatomy=context.anatomy,
        lesions=session.book.current,
        quantification=session.quantification,
        run=run_from_dict(facts["run"], facts["timings_s"]),
        warnings=tuple(facts["warnings"]),
        opacity=layerOfRun(session.node, "opacity", context.ct),
    )
