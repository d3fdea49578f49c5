"""Write maps on the grid of the input, at once or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .atomic import atomic_path
from .volume import CtVolume

_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


def write_map(path: str | Path, array_zyx: NDArray[Any], ct: CtVolume) -> Path:
    """Write a map or label map on exactly the grid of the CT's file or series.

    The same array gives the same bytes. NIfTI keeps geometry in 32-bit floats: the grid of a
    CT from NIfTI comes out unchanged, that of another source rounded by less than 0.0001 mm.
    NRRD and MetaImage keep all digits.

    Args:
        path: File to write, ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``; an existing one is
            replaced.
        array_zyx: ``[z, y, x]`` in LPS axis order; float16 is written as float32 and bool as
            uint8.
        ct: The CT whose grid it is on.

    Raises:
        InputError: ``output-format`` or ``output-shape``.
        CovidLesionSegError: ``output-not-written``.
    """
    import SimpleITK as sitk  # noqa: N813

    target = Path(path)
    suffix = next((end for end in _SUFFIXES if target.name.lower().endswith(end)), None)
    if suffix is None:
        raise InputError(
            "output-format",
            f"{target.name} has no suffix that maps can be written with.",
            f"Use one of {', '.join(_SUFFIXES)}.",
        )
    if array_zyx.shape != ct.shape_zyx:
        raise InputError(
            "output-shape",
            f"The map has {array_zyx.shape} voxels and the CT {ct.shape_zyx}.",
            "Only maps on the grid of the CT can be written.",
        )
    image = sitk.GetImageFromArray(_storable(ct.to_input_grid(array_zyx)))
    columns = ct.input_affine_lps[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((columns / spacing).ravel().tolist())
    image.SetOrigin(ct.input_affine_lps[:3, 3].tolist())
    with atomic_path(target) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=suffix != ".nii")
        except RuntimeError as error:
            raise OSError(str(error)) from error
    return target


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    return array.astype(np.float32) if array.dtype == np.float16 else array
