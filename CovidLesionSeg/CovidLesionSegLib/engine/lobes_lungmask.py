"""Lobes from lungmask, for users who have installed it and ask for it.

lungmask (Hofmanninger et al., Eur Radiol Exp 4, 2020) is not a dependency; on its first use
it downloads its own weights.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from CovidLesionSegLib.errors import CovidLesionSegError, InputError

from .lobe_names import LUNGMASK_LTRC
from .lobe_segments import check_lobes, join_lobes
from .lungs import LungMask
from .result import Anatomy, LobeSource
from .volume import CtVolume

LUNGMASK = "lungmask"
"""What to give as lobes to ask for it."""


def require_lungmask() -> None:
    """Refuse at once, before a long run, if lungmask is not installed.

    Raises:
        InputError: ``lungmask-missing``.
    """
    _import_lungmask()


def lobes_from_lungmask(ct: CtVolume, lungs: LungMask) -> Anatomy:
    """Run lungmask's LTRCLobes model.

    Args:
        ct: The CT.
        lungs: Its lungs.

    Raises:
        InputError: ``lungmask-missing``, or its lobes are implausible (`check_lobes`).
        CovidLesionSegError: ``lungmask-failed``.
    """
    lungmask = _import_lungmask()
    import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)

    image = sitk.GetImageFromArray(ct.hu)
    spacing = np.array(ct.spacing_mm_zyx[::-1])
    image.SetSpacing(spacing.tolist())
    image.SetDirection((ct.affine_lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(ct.affine_lps[:3, 3].tolist())
    try:
        found = np.asarray(lungmask.LMInferer(modelname="LTRCLobes").apply(image))
    except (RuntimeError, OSError, ValueError) as error:
        raise CovidLesionSegError(
            "lungmask-failed",
            "lungmask could not segment this CT.",
            "Its message is in the log; the built-in atlas works without it.",
        ) from error
    renamed = np.zeros(256, dtype=np.uint8)
    for value, lobe in LUNGMASK_LTRC.items():
        renamed[value] = lobe
    labels = renamed[found.astype(np.uint8)]
    check_lobes(labels, ct, lungs.labels)
    return join_lobes(labels, ct, lungs, LobeSource.LUNGMASK)


def _import_lungmask() -> Any:
    try:
        return importlib.import_module("lungmask")
    except ImportError as error:
        raise InputError(
            "lungmask-missing",
            "lungmask is not installed.",
            "Install it (pip install lungmask), or use the built-in atlas.",
        ) from error
