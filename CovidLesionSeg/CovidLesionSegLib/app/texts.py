"""Texts that several parts of the panel show."""

from __future__ import annotations

from slicer.i18n import tr as _

MINIMUM_SLICER = (5, 12)


def stageText(stage: str) -> str:
    """Return a stage of the run in words; an unknown one stands for itself."""
    return {
        "start": _("Starting"),
        "read": _("Reading and checking the CT"),
        "lungs": _("Finding the lungs"),
        "lobes": _("Finding the lobes"),
        "infection": _("Segmenting infection"),
        "lesions": _("Separating lesions"),
        "numbers": _("Measuring"),
        "write": _("Handing over the result"),
        "import": _("Adding the result to the scene"),
    }.get(stage, stage)


def durationText(seconds: float) -> str:
    """Return a duration for people: exact enough, never more."""
    if seconds < 60:
        return _("{count} s").format(count=max(1, round(seconds)))
    return _("{count} min").format(count=round(seconds / 60))


def stateText(state: str) -> str:
    """Return a lesion's state in words."""
    return {
        "unreviewed": _("to review"),
        "accepted": _("accepted"),
        "rejected": _("rejected"),
        "edited": _("edited"),
    }.get(state, state)


def intendedUse() -> str:
    """Return what the module is for, and what not."""
    return _(
        "CovidLesionSeg is for research. It segments opacities in non-contrast CT of adult "
        "chests with models trained on few patients with COVID-19. It can't tell COVID-19 from "
        "other pneumonia, and it must not be used for diagnosis or treatment. 3D Slicer is not "
        "a medical device. Every result needs the review of a radiologist."
    )


def licenceText() -> str:
    """Return the licence of the code and where to find that of the models."""
    return _(
        "The code is licensed under the Apache License 2.0. Each model has a licence of its "
        "own, given in its model card; those trained on CC BY-NC-SA data may not be used "
        "commercially."
    )
