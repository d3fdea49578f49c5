"""Lobes for the table: from a file or from lungmask if asked for, else from the atlas."""

from __future__ import annotations

from pathlib import Path

from .lobes_atlas import atlas_lobes
from .lobes_file import lobes_from_file
from .lobes_lungmask import LUNGMASK, lobes_from_lungmask
from .lungs import LungMask
from .result import Anatomy, LobeSource, missing_lobes
from .volume import CtVolume

APPROXIMATE_LOBES = "approximate-lobes"


def find_lobes(ct: CtVolume, lungs: LungMask, source: Path | str | None = None) -> Anatomy:
    """Find the lobes.

    Args:
        ct: The CT.
        lungs: Its lungs.
        source: File or folder with lobes; ``"lungmask"`` to run that program; None for the
            built-in atlas, whose lobes are flagged ``"approximate-lobes"``.

    Raises:
        InputError: The file can't be used (see `lobes_from_file`), or lungmask is not
            installed.
        CovidLesionSegError: lungmask failed.
    """
    if source == LUNGMASK:
        return lobes_from_lungmask(ct, lungs)
    if source is not None:
        return lobes_from_file(Path(source), ct, lungs)
    labels, uncertainty_mm = atlas_lobes(ct, lungs.labels)
    return Anatomy(
        lungs=lungs.labels,
        lobes=labels,
        lobe_source=LobeSource.ATLAS,
        missing=missing_lobes(labels),
        flags=(*lungs.flags, APPROXIMATE_LOBES),
        lobe_uncertainty_mm=uncertainty_mm,
    )
