"""Lobes for the table: from a file if there is one, else from the built-in atlas."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .lobes_atlas import atlas_lobes
from .lobes_file import lobes_from_file
from .lungs import LungMask
from .result import Anatomy, Lobe, LobeSource
from .volume import CtVolume

APPROXIMATE_LOBES = "approximate-lobes"


def find_lobes(ct: CtVolume, lungs: LungMask, path: Path | None = None) -> Anatomy:
    """Find the lobes.

    Args:
        ct: The CT.
        lungs: Its lungs.
        path: File or folder with lobes; None for the built-in atlas, whose lobes are flagged
            ``"approximate-lobes"``.

    Raises:
        InputError: The file can't be used; see `lobes_from_file`.
    """
    if path is not None:
        return lobes_from_file(path, ct, lungs)
    labels, uncertainty_mm = atlas_lobes(ct, lungs.labels)
    present = set(np.unique(labels).tolist())
    return Anatomy(
        lungs=lungs.labels,
        lobes=labels,
        lobe_source=LobeSource.ATLAS,
        missing=tuple(lobe for lobe in Lobe if lobe not in present),
        flags=(*lungs.flags, APPROXIMATE_LOBES),
        lobe_uncertainty_mm=uncertainty_mm,
    )
