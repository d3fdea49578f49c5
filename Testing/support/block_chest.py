"""Lungs of plain blocks with known volumes, for numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import Anatomy, Lobe, LobeSource, Lung, Prediction
from CovidLesionSegLib.engine.volume import CtVolume

SHAPE_ZYX = (12, 10, 24)
SPACING_MM_XYZ = (2.0, 5.0, 10.0)
VOXEL_ML = 0.1

LOBE_BOXES = {
    Lobe.RUL: (slice(6, 12), slice(0, 10), slice(2, 10)),
    Lobe.RML: (slice(0, 6), slice(0, 4), slice(2, 10)),
    Lobe.RLL: (slice(0, 6), slice(4, 10), slice(2, 10)),
    Lobe.LUL: (slice(6, 12), slice(0, 10), slice(14, 22)),
    Lobe.LLL: (slice(0, 6), slice(0, 10), slice(14, 22)),
}


def affine_lps() -> NDArray[np.float64]:
    """An axis-aligned affine with the origin off zero."""
    affine = np.diag([*SPACING_MM_XYZ, 1.0])
    affine[:3, 3] = (-20.0, 7.0, -300.0)
    return affine


def make_ct(hu: NDArray[np.int16] | None = None, flags: tuple[str, ...] = ()) -> CtVolume:
    """A CT, -800 HU everywhere unless told otherwise."""
    if hu is None:
        hu = np.full(SHAPE_ZYX, -800, dtype=np.int16)
    return CtVolume.from_array(hu, affine_lps(), flags=flags)


def make_anatomy(
    without: tuple[Lobe, ...] = (),
    *,
    with_lobes: bool = True,
    flags: tuple[str, ...] = (),
    uncertainty_mm: float = 0.0,
) -> Anatomy:
    """Five box-shaped lobes; those in ``without`` are lung without a lobe."""
    lobes = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    lungs = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    for lobe, box in LOBE_BOXES.items():
        lungs[box] = lobe.lung
        if lobe not in without:
            lobes[box] = lobe
    return Anatomy(
        lungs,
        lobes if with_lobes else None,
        LobeSource.FILE if with_lobes else LobeSource.NONE,
        missing=without,
        flags=flags,
        lobe_uncertainty_mm=uncertainty_mm,
    )


def without_lung(anatomy: Anatomy, lung: Lung) -> Anatomy:
    """The same after pneumonectomy."""
    assert anatomy.lobes is not None
    gone = anatomy.lungs == lung
    return Anatomy(
        np.where(gone, 0, anatomy.lungs).astype(np.uint8),
        np.where(gone, 0, anatomy.lobes).astype(np.uint8),
        anatomy.lobe_source,
        missing=tuple(lobe for lobe in Lobe if lobe.lung is lung),
        flags=("single-lung",),
    )


def certain(infection: NDArray[np.uint8]) -> Prediction:
    """A prediction that has no doubt about this mask."""
    return Prediction((infection > 0).astype(np.float16))
