"""Lungs and lobes that a person has corrected."""

from __future__ import annotations

from dataclasses import replace

from .flags import EDITED_ANATOMY
from .result import Anatomy, missing_lobes


def corrected(anatomy: Anatomy) -> Anatomy:
    """Return an anatomy whose label maps a person changed, with what follows from that.

    Args:
        anatomy: Its label maps are as the person left them, all else as it was.

    Returns:
        The same, with the lobes that are missing now and a flag that says so.
    """
    return replace(
        anatomy,
        missing=missing_lobes(anatomy.lobes),
        flags=tuple(dict.fromkeys((*anatomy.flags, EDITED_ANATOMY))),
    )
