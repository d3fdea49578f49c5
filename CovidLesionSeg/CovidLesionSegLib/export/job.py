"""What an exporter is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

from CovidLesionSegLib.engine.flags import is_own_sentence
from CovidLesionSegLib.engine.result import Lesion, SegmentationResult
from CovidLesionSegLib.engine.review_values import LogEntry

from .patient import Patient, patient_of

PLAIN_NAME = "CT"
REMOVED_NAME = "[name removed]"


@dataclass(frozen=True)
class ReviewRecord:
    """What a person decided about a result.

    Attributes:
        lesions: All lesions with their states, rejected ones included.
        log: The audit log, oldest entry first; its times are in UTC.
    """

    lesions: tuple[Lesion, ...]
    log: tuple[LogEntry, ...] = ()

    def count(self, state: str) -> int:
        """Return how many lesions are in a state, for example ``"accepted"``."""
        return sum(lesion.state == state for lesion in self.lesions)


@dataclass(frozen=True, eq=False)
class ExportJob:
    """One result to export, as it is now, and how.

    Attributes:
        result: Masks, lesions and numbers after all edits. The files that a DICOM export
            refers to are ``result.ct.provenance.files``.
        edited_layers: Layers (``"infection"``, ``"lungs"``, ...) that a person changed.
        review: The review; None when there was none.
        identified: Whether the patient may be named. False by default: then nothing that is
            written holds a name, a number, a birth date or a date of the study.
        has_ct: Whether ``result.ct.hu`` are the voxels of the CT. Without them only the grid,
            the masks and the numbers are known.
    """

    result: SegmentationResult
    edited_layers: frozenset[str] = frozenset()
    review: ReviewRecord | None = None
    identified: bool = False
    has_ct: bool = True

    @property
    def unnamed(self) -> ExportJob:
        """This job without the name of the CT's file or node, which often is the patient's.

        Neither as the CT's name nor inside the warnings. An identified job stays as it is.
        """
        if self.identified:
            return self
        ct = self.result.ct
        plain = replace(ct, provenance=replace(ct.provenance, name=PLAIN_NAME))
        warnings = tuple(without_name(text, ct.provenance.name) for text in self.result.warnings)
        return replace(self, result=replace(self.result, ct=plain, warnings=warnings))

    @property
    def patient(self) -> Patient | None:
        """Who it is, from the CT's DICOM files; None when anonymous or not from DICOM."""
        provenance = self.result.ct.provenance
        if not self.identified or provenance.source != "dicom":
            return None
        return patient_of(provenance.files)


def without_name(text: str, name: str) -> str:
    """Return a sentence without a name; our own sentences and our own name stay as they are."""
    if name in ("", PLAIN_NAME) or is_own_sentence(text):
        return text
    return text.replace(name, REMOVED_NAME)
