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


def lesionsText(count: str) -> str:
    """Return how many lesions there are, in words; the number is text already, perhaps "n/a"."""
    return _("1 lesion") if count == "1" else _("{count} lesions").format(count=count)


def stateText(state: str) -> str:
    """Return a lesion's state in words."""
    return {
        "unreviewed": _("to review"),
        "accepted": _("accepted"),
        "rejected": _("rejected"),
        "edited": _("edited"),
    }.get(state, state)


def classText(lesionClass: str) -> tuple[str, str]:
    """Return a lesion's class for a narrow column, and in words."""
    return {
        "ground-glass": (_("GGO"), _("Ground-glass opacity")),
        "mixed": (_("Mixed"), _("Ground glass with consolidation")),
        "consolidation": (_("Cons."), _("Consolidation")),
    }.get(lesionClass, (_("n/a"), _("Not measured by the version that made this result")))


def stepsText() -> list[str]:
    """Return how to use the panel, step by step."""
    return [
        _("Load a chest CT without contrast medium; it is chosen by itself when it is shown."),
        _("Press Segment infection. Cancel leaves the scene as it was."),
        _("Look at the outline in the slice views and at the numbers by lobe."),
        _("Review the lesions; every correction, from whichever tool, moves the numbers."),
        _("Press Finish review, then export what is needed."),
    ]


def reviewText() -> list[str]:
    """Return how the review works."""
    return [
        _(
            "The lesion with the largest volume in doubt comes first, because it may change the "
            "numbers most. Small lesions come last; they can be hidden, or accepted all at once."
        ),
        _(
            "Selecting a lesion moves all slice views to it. Keys: Shift+N next, Shift+P "
            "previous, Shift+A accept, Shift+R reject."
        ),
        _(
            "Reject removes a lesion, Undo brings it back. Split here separates the part around "
            "the place where the views cross. Add missed waits for a click into the lesion and "
            "grows on the probability of the networks. Everything else is done in the Segment "
            "Editor."
        ),
        _(
            "Every step is in the review log: when, what, how many voxels. Finish review locks "
            "drawing and marks the segments as completed; an edit by another module reopens it."
        ),
    ]


def intendedUse() -> str:
    """Return what the module is for, and what not."""
    return _(
        "CovidLesionSeg is for research. It segments opacities in non-contrast CT of adult "
        "chests with models trained on few patients with COVID-19. It can't tell COVID-19 from "
        "other pneumonia, and it must not be used for diagnosis or treatment. 3D Slicer is not "
        "a medical device. Every result needs the review of a radiologist."
    )


def termsText() -> str:
    """Return what everybody must know before using the module; the panel always shows it."""
    return _("For research only. The bundled models may not be used commercially.")


def licenceText() -> str:
    """Return the licence of the code and where to find that of the models."""
    return _(
        "The code is licensed under the Apache License 2.0. Each model has a licence of its "
        "own, given in its model card; none of the bundled ones may be used commercially, "
        "because of the terms of the data they were trained on."
    )
