"""Does an image file hold the voxels that its header promises?

SimpleITK allocates whatever size a header states, and reads a truncated NIfTI without an
error (measured with ITK 5.4). Both are found out here before SimpleITK sees the file.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from CovidLesionSegLib.errors import InputError

from .guards import MAX_VOXELS
from .refusals import damaged, not_finite, too_large

_MAX_PLAUSIBLE_RATIO = 20
"""Chest CT compresses by 2 to 4, phantoms without noise by more. Beyond this ratio the
stream is inflated once to see whether the promised voxels are there."""
_CHUNK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class FileHeader:
    """Facts of an image file that SimpleITK does not tell, or tells too late.

    Attributes:
        source: ``"nifti"``, ``"nrrd"`` or ``"metaimage"``.
        data_path: The file that holds the voxels; the header's own for attached data.
        data_offset: Where the voxels begin in the file; for a compressed NIfTI, in the
            inflated file.
        voxel_bytes: Bytes of all voxels together; None when the header leaves it open.
        encoding: ``"raw"``, ``"gzip"``, ``"zlib"`` or ``"other"``; text counts as raw with
            the least number of bytes it can have.
        orientation_known: Whether the file states where left, front and top are.
        compressed_bytes: Size of the compressed voxels in the file, where it is stated.
        float_dtype: numpy name of the voxel type of a NIfTI in floating point, else empty.
    """

    source: str
    data_path: Path
    data_offset: int
    voxel_bytes: int | None
    encoding: str
    orientation_known: bool
    compressed_bytes: int = 0
    float_dtype: str = ""


def check_voxel_count(counts: Sequence[int]) -> int:
    """Return the product of an image's sizes along its axes.

    Raises:
        InputError: ``input-not-3d`` for an axis without voxels, ``input-too-large``.
    """
    if min(counts) < 1:
        raise InputError(
            "input-not-3d",
            f"The header states a size of {' x '.join(map(str, counts))} voxels.",
            "The file is damaged or not a 3D image: export the CT again.",
        )
    total = math.prod(counts)
    if total > MAX_VOXELS:
        raise too_large(counts)
    return total


def is_gzip(path: Path) -> bool:
    """Return whether a file begins like a gzip file."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


def read_start(path: Path, count: int) -> bytes:
    """Return the first ``count`` bytes of a file, inflated if it is a gzip file.

    Raises:
        InputError: ``input-truncated`` for damaged compression.
    """
    if not is_gzip(path):
        with path.open("rb") as file:
            return file.read(count)
    try:
        with gzip.open(path) as stream:
            return stream.read(count)
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(path.name, "its compression is damaged") from error


def check_payload(header: FileHeader) -> None:
    """Refuse a file that is too short for the voxels its header promises.

    Raises:
        InputError: ``input-truncated``.
    """
    path = header.data_path
    if not path.is_file():
        raise damaged(path.name, "the file with the voxels is missing")
    if header.voxel_bytes is None or header.encoding == "other":
        return
    size = path.stat().st_size
    if header.encoding == "raw":
        complete = size >= header.data_offset + header.voxel_bytes
    elif header.source == "nifti":
        complete = _inflates_to(path, 0, header.data_offset + header.voxel_bytes)
    elif size < header.data_offset + header.compressed_bytes:
        complete = False
    else:
        complete = _inflates_to(path, header.data_offset, header.voxel_bytes)
    if not complete:
        raise damaged(path.name, "it ends before the last slice")


def check_finite(header: FileHeader) -> None:
    """Refuse a NIfTI with NaN or infinite voxels.

    ITK turns them into 0 while reading, which is water in HU; so the file is looked at.

    Raises:
        InputError: ``input-not-finite`` or ``input-truncated``.
    """
    if not header.float_dtype or header.voxel_bytes is None:
        return
    dtype = np.dtype(header.float_dtype)
    left = header.voxel_bytes
    opened = gzip.open if header.encoding == "gzip" else open
    try:
        with opened(header.data_path, "rb") as file:
            file.seek(header.data_offset)
            while left > 0:
                chunk = file.read(min(_CHUNK_BYTES, left))
                left -= len(chunk)
                if not np.isfinite(np.frombuffer(chunk, dtype)).all():
                    raise not_finite()
                if not chunk:
                    raise damaged(header.data_path.name, "it ends before the last slice")
    except (EOFError, OSError, zlib.error, ValueError) as error:
        raise damaged(header.data_path.name, "its voxels are damaged") from error


def _inflates_to(path: Path, offset: int, needed: int) -> bool:
    """Return whether the gzip or zlib stream at ``offset`` holds ``needed`` bytes.

    The trailer of a gzip stream states its inflated size modulo 2^32, and ITK itself
    notices a zlib stream that ends early; so that only doubtful streams are inflated.
    """
    available = path.stat().st_size - offset
    plausible = needed < _MAX_PLAUSIBLE_RATIO * available
    with path.open("rb") as file:
        file.seek(offset)
        if file.read(2) != _GZIP_MAGIC:
            file.seek(offset)
            return plausible or _zlib_holds(file, needed)
        file.seek(-4, 2)
        (stated,) = struct.unpack("<I", file.read(4))
        if plausible and stated == needed % 2**32:
            return True
        file.seek(offset)
        return _gzip_holds(file, needed)


def _gzip_holds(file: BinaryIO, needed: int) -> bool:
    done = 0
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while done < needed and (chunk := stream.read(_CHUNK_BYTES)):
                done += len(chunk)
    except (EOFError, OSError, zlib.error):
        return False
    return done >= needed


def _zlib_holds(file: BinaryIO, needed: int) -> bool:
    inflate = zlib.decompressobj()
    done = 0
    pending = file.read(_CHUNK_BYTES)
    try:
        while done < needed and pending and not inflate.eof:
            done += len(inflate.decompress(pending, _CHUNK_BYTES))
            pending = inflate.unconsumed_tail or file.read(_CHUNK_BYTES)
    except zlib.error:
        return False
    return done >= needed
