"""Does an image file hold the voxels that its header promises?

SimpleITK allocates whatever size a header states, and reads a truncated NIfTI without an
error (measured with ITK 5.4). Both are found out here before SimpleITK sees the file.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from CovidLesionSegLib.errors import InputError

from .guards import MAX_VOXELS
from .refusals import damaged, not_finite, too_large

_MAX_TRAILING_BYTES = 1 << 26
"""How far a compressed stream is followed beyond the last voxel, for its checksum."""
_CHUNK_BYTES = 1 << 20
_MOST_INFLATED_BYTES = 1 << 24
"""In one step, for one chunk."""
_GZIP_FORMAT = 31
"""Tells zlib to expect header and checksum of gzip."""
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class FileHeader:
    """Facts of an image file that SimpleITK does not tell, or tells too late.

    Attributes:
        source: ``"nifti"``, ``"nrrd"`` or ``"metaimage"``.
        data_path: The file that holds the voxels; the header's own for attached data.
        data_offset: Where the voxels begin in the file; for a compressed NIfTI, in the
            inflated file.
        voxels: Number of voxels along all axes.
        voxel_bytes: Bytes of all voxels together.
        encoding: ``"raw"``, ``"gzip"``, ``"zlib"`` or ``"other"``; text counts as raw with
            the least number of bytes it can have.
        orientation_known: Whether the file states where left, front and top are.
        compressed_bytes: Size of the compressed voxels in the file, where it is stated.
        float_dtype: numpy name of the voxel type of a NIfTI in floating point, else empty.
    """

    source: str
    data_path: Path
    data_offset: int
    voxels: int
    voxel_bytes: int
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
    """Refuse a file that is too short for the voxels its header promises, or damaged.

    Raises:
        InputError: ``input-truncated``.
    """
    path = header.data_path
    if not path.is_file():
        raise damaged(path.name, "the file with the voxels is missing")
    if header.encoding == "other":
        return
    size = path.stat().st_size
    if header.encoding == "raw":
        complete = size >= header.data_offset + header.voxel_bytes
    elif header.encoding == "zlib":
        complete = size >= header.data_offset + header.compressed_bytes
        complete = complete and _zlib_holds(path, header.data_offset, header.voxel_bytes)
    elif header.source == "nifti":
        complete = _gzip_holds(path, 0, header.data_offset + header.voxel_bytes)
    else:
        complete = _gzip_holds(path, header.data_offset, header.voxel_bytes)
    if not complete:
        packed = "its compressed voxels are incomplete or damaged"
        raise damaged(path.name, "it ends too early" if header.encoding == "raw" else packed)


def check_finite(header: FileHeader) -> None:
    """Refuse a NIfTI with NaN or infinite voxels.

    ITK turns them into 0 while reading, which is water in HU; so the file is looked at.

    Raises:
        InputError: ``input-not-finite`` or ``input-truncated``.
    """
    if not header.float_dtype:
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
                    raise damaged(header.data_path.name, "it ends too early")
    except (EOFError, OSError, zlib.error, ValueError) as error:
        raise damaged(header.data_path.name, "its voxels are damaged") from error


def _gzip_holds(path: Path, offset: int, needed: int) -> bool:
    """Return whether the gzip stream at ``offset`` is intact and holds ``needed`` bytes.

    It is inflated to its checksum: ITK 5.4 does not look at that, and one wrong byte in a
    compressed NIfTI can silently change millions of voxels.
    """
    done = 0
    try:
        with path.open("rb") as file:
            file.seek(offset)
            for size in _inflated_sizes(file):
                done += size
                if done > needed + _MAX_TRAILING_BYTES:
                    break
    except (EOFError, OSError, zlib.error):
        return False
    return done >= needed


def _inflated_sizes(file: IO[bytes]) -> Iterator[int]:
    """Inflate a gzip stream of one or several members, and yield how much each step gave.

    In large steps, because other threads may be busy and every step waits for its turn.

    Raises:
        EOFError: It ends early.
        zlib.error: It is damaged, or something else follows it.
    """
    pending = file.read(_CHUNK_BYTES)
    while pending:
        inflate = zlib.decompressobj(wbits=_GZIP_FORMAT)
        while not inflate.eof:
            found = inflate.decompress(pending, _MOST_INFLATED_BYTES)
            pending = inflate.unconsumed_tail or (b"" if inflate.eof else file.read(_CHUNK_BYTES))
            if not (found or pending or inflate.eof):
                raise EOFError
            yield len(found)
        # Members may be padded with zeros.
        pending = inflate.unused_data.lstrip(b"\0")
        while not pending and (chunk := file.read(_CHUNK_BYTES)):
            pending = chunk.lstrip(b"\0")


def _zlib_holds(path: Path, offset: int, needed: int) -> bool:
    """Return whether the zlib stream at ``offset`` is whole and holds ``needed`` bytes.

    It is always inflated: ITK 5.4 writes beyond its memory on some damaged streams.
    """
    inflate = zlib.decompressobj()
    done = 0
    try:
        with path.open("rb") as file:
            file.seek(offset)
            pending = file.read(_CHUNK_BYTES)
            while pending and not inflate.eof and done <= needed:
                done += len(inflate.decompress(pending, _CHUNK_BYTES))
                pending = inflate.unconsumed_tail or file.read(_CHUNK_BYTES)
    except (OSError, zlib.error):
        return False
    return inflate.eof and done == needed
