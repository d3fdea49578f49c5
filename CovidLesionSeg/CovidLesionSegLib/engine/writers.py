"""Write maps on the grid of the input, at once or not at all."""

from __future__ import annotations

import struct
import tempfile
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .atomic import atomic_path
from .deflate import (
    LABELS,
    MAPS,
    NOISE,
    Deflated,
    Deflating,
    deflate,
    joined,
    worker_pool,
    write_gzip,
)
from .volume import CtVolume

_COMPRESSED_NIFTI = ".nii.gz"
_SUFFIXES = (_COMPRESSED_NIFTI, ".nii", ".nrrd", ".mha")

_NIFTI_SIZES = struct.Struct("<3h")
_NIFTI_SIZES_AT = 42
_NIFTI_VOXELS_AT = 352
"""Bytes of a NIfTI-1 file: the sizes along i, j and k, and the first voxel."""


def write_map(
    path: str | Path, array_zyx: NDArray[Any], ct: CtVolume, packed: Deflated | None = None
) -> Path:
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
        packed: What `pack_map` gave for the array, if it was compressed already; saves time
            with ``.nii.gz``.

    Raises:
        InputError: ``output-format`` or ``output-shape``.
        CovidLesionSegError: ``output-not-written``.
    """
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
    with atomic_path(target) as temporary:
        try:
            if suffix == _COMPRESSED_NIFTI:
                _write_compressed_nifti(temporary, array_zyx, ct, packed)
            else:
                voxels = _storable(ct.to_input_grid(array_zyx))
                _write_by_itk(temporary, voxels, ct, compressed=suffix != ".nii")
        except RuntimeError as error:
            raise OSError(str(error)) from error
    return target


def pack_map(array_zyx: NDArray[Any], ct: CtVolume, pool: Executor) -> Deflating:
    """Compress a map or label map as `write_map` stores it.

    Args:
        array_zyx: As for `write_map`.
        ct: The CT whose grid it is on.
        pool: Who compresses.
    """
    view = ct.orientation.input_view(array_zyx)
    kind = stored_type(array_zyx.dtype)
    method = {"u": LABELS, "f": MAPS}.get(kind.kind, NOISE)
    entry_bytes = view[:1].size * kind.itemsize
    return Deflating(lambda part: _storable(view[part]), len(view), entry_bytes, method, pool)


def stored_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type with which an array is stored: float32 for float16, uint8 for bool."""
    return _storable(np.empty(0, dtype)).dtype


def _write_compressed_nifti(
    path: Path, array_zyx: NDArray[Any], ct: CtVolume, packed: Deflated | None
) -> None:
    if packed is None:
        with worker_pool() as pool:
            packed = pack_map(array_zyx, ct, pool).result()
    header = _nifti_header(ct, stored_type(array_zyx.dtype))
    with path.open("wb") as file:
        write_gzip(file, joined([deflate(header), packed]))


def _nifti_header(ct: CtVolume, dtype: np.dtype[Any]) -> bytes:
    """Return what ITK puts before the voxels; it tells the grid in two ways, so it is asked."""
    with tempfile.TemporaryDirectory(prefix="nifti-") as folder:
        sample = Path(folder) / "header.nii"
        _write_by_itk(sample, np.zeros((2, 2, 2), dtype), ct, compressed=False)
        header = bytearray(sample.read_bytes()[:_NIFTI_VOXELS_AT])
    sizes = ct.orientation.input_view(ct.hu).shape[::-1]
    _NIFTI_SIZES.pack_into(header, _NIFTI_SIZES_AT, *sizes)
    return bytes(header)


def _write_by_itk(path: Path, voxels_kji: NDArray[Any], ct: CtVolume, *, compressed: bool) -> None:
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(voxels_kji)
    columns = ct.input_affine_lps[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((columns / spacing).ravel().tolist())
    image.SetOrigin(ct.input_affine_lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path), useCompression=compressed)


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    return array.astype(np.float32) if array.dtype == np.float16 else array
