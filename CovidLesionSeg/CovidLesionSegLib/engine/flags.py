"""What each flag means, in a sentence for the reader of the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from .guards import FLAG_TEXT as _INPUT_TEXTS
from .lungs_inflation import EXPIRATION

FAINT_LEFT_OUT = "faint-findings-left-out"
RESEARCH_MODEL = "research-model"
UNFITTED = "probabilities-unfitted"
EDITED_ANATOMY = "edited-anatomy"
EDITED_CLASSES = "edited-classes"
CT_MOVED = "ct-moved"

FLAG_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        **_INPUT_TEXTS,
        "partial-lung": "The scan or the field of view cuts a lung; percentages refer to the "
        "part that is in the picture.",
        "single-lung": "Only one lung was found.",
        "orientation-doubtful": "The chest looks upside down or back to front: the file may have "
        "lost its orientation, and lobes and sides may be swapped.",
        "sides-doubtful": "The heart seems to lie on the right: the image may be mirrored, the "
        "organs may lie the other way round, or a lung has collapsed. Check left and right before "
        "using lobes and sides.",
        EXPIRATION: "Even the best aerated lung is dense: the scan may have been taken in "
        "expiration, and healthy dependent lung may be counted as ground glass. The lower end of "
        "the infected percentages counts consolidation only.",
        "approximate-lobes": "The lobes are approximate: their borders come from an atlas, "
        "fitted to the fissures of this patient only where the CT shows them.",
        "lobe-missing": "A lobe is missing from the lobes that were given; it has no numbers.",
        "lobes-cover-part": "The lobes that were given leave a part of the lungs out.",
        "lobes-doubtful": "Much of the lobes that were given lies outside the lungs of this CT: "
        "they may be of another CT. Look at them before using any number.",
        "lobes-by-position": "The lobes that were given had no names; they were told apart by "
        "their position.",
        FAINT_LEFT_OUT: "Findings that are hardly denser than the lung around them were left out, "
        "as expiration and dependent lung cause them; Add missed in the panel takes one back in.",
        RESEARCH_MODEL: "This model is for research: compare its findings with those of the "
        "default model before relying on them.",
        UNFITTED: "The probabilities of this model were not fitted to what experts drew: they "
        "claim too much, so that intervals and doubt are too small.",
        EDITED_ANATOMY: "Lungs or lobes were corrected by hand.",
        EDITED_CLASSES: "Ground glass and consolidation were corrected by hand; their percentages "
        "follow the segments, not HU.",
        CT_MOVED: "The CT was moved after it was segmented and does not lie where the "
        "segmentation does; the numbers are right, the picture is not.",
        "lobes-resampled": "The lobes that were given lay on another grid and were resampled.",
    }
)
"""One sentence for every flag of a `CtVolume`, an `Anatomy` or a row."""

_RESEARCH_DICE = re.compile(rf"{RESEARCH_MODEL}-dice-([01]\.\d\d)")


def research_flag(dice: float | None) -> str:
    """Return the flag of a research model's result, which carries how good the model is.

    Args:
        dice: Its mean Dice over scans with disease that it was not trained on; None if that
            was not measured.
    """
    return RESEARCH_MODEL if dice is None else f"{RESEARCH_MODEL}-dice-{dice:.2f}"


def warnings_for(flags: Iterable[str]) -> tuple[str, ...]:
    """Return one sentence for each flag, in order, without repetition.

    A flag without a sentence is shown as it is: nothing that a stage found may get lost.
    """
    return tuple(dict.fromkeys(_text_of(flag) for flag in flags))


def is_own_sentence(text: str) -> bool:
    """Return whether a warning is one of ours, in which nothing can name a patient."""
    return text in FLAG_TEXTS.values() or text.startswith(FLAG_TEXTS[RESEARCH_MODEL])


def _text_of(flag: str) -> str:
    measured = _RESEARCH_DICE.fullmatch(flag)
    if measured is None:
        return FLAG_TEXTS.get(flag, flag)
    return (
        f"{FLAG_TEXTS[RESEARCH_MODEL]} On scans with disease that it was not trained on, its mean "
        f"Dice against experts was {measured[1]}."
    )
