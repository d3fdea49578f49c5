"""Voxels compressed once, by all cores, for every file that holds them.

A deflate stream may be cut at byte borders without ending it, and what lies between two cuts can
be compressed by itself (as the program pigz does). So slabs of a volume are compressed side by
side, and the same compressed slabs serve a ``.nii.gz`` and an NRRD file: around them lies one
ordinary gzip member, which every reader takes.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_RAW_DEFLATE = -15
_MEMORY_LEVEL = 9
_SLAB_BYTES = 1 << 23
"""Large enough that a thread rarely waits for the interpreter's lock."""

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
"""Deflate, no name, no time, compressed fast, on an unknown system."""

_EMPTY_LAST_BLOCK = b"\x03\x00"
_CRC_POLYNOMIAL = 0xEDB88320


@dataclass(frozen=True)
class Method:
    """How to compress.

    Attributes:
        level: 1 to 9.
        strategy: One of zlib's.
    """

    level: int = 1
    strategy: int = zlib.Z_DEFAULT_STRATEGY


NOISE = Method(1, zlib.Z_RLE)
"""For CTs: runs and rare values are all that can be gained from noise."""

MAPS = Method(1)
"""For maps of probability, most of which is one value."""

LABELS = Method(3)
"""For label maps, which shrink a hundredfold at any level."""


@dataclass(frozen=True)
class Deflated:
    """Bytes as a piece of a deflate stream that begins and ends at a byte.

    Attributes:
        blocks: The compressed bytes, in order.
        crc: CRC-32 of the bytes.
        size: Their number.
    """

    blocks: tuple[bytes, ...]
    crc: int
    size: int


def worker_pool() -> ThreadPoolExecutor:
    """Return threads to compress with: one for each core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # A batch gives every worker its share of the cores by this variable.
    limit = os.environ.get("OMP_NUM_THREADS", "")
    share = int(limit) if limit.isdecimal() and int(limit) > 0 else cores
    return ThreadPoolExecutor(min(share or 1, cores or 1), "deflate")


class Deflating:
    """An array that is being compressed.

    Args:
        slab: Returns some of the array's entries along its first axis, ready to be stored;
            called from several threads.
        count: Entries along the first axis.
        entry_bytes: Size of one of them in bytes.
        method: How.
        pool: Who.
    """

    def __init__(
        self,
        slab: Callable[[slice], NDArray[Any]],
        count: int,
        entry_bytes: int,
        method: Method,
        pool: Executor,
    ) -> None:
        step = max(_SLAB_BYTES // max(entry_bytes, 1), 1)
        self._parts: list[Future[Deflated]] = [
            pool.submit(_deflate_slab, slab, slice(start, min(start + step, count)), method)
            for start in range(0, count, step)
        ]

    def result(self) -> Deflated:
        """Wait for all slabs and return them as one piece."""
        return joined([part.result() for part in self._parts])


def deflate(content: bytes | memoryview, method: Method = LABELS) -> Deflated:
    """Compress some bytes at once."""
    packer = zlib.compressobj(
        method.level, zlib.DEFLATED, _RAW_DEFLATE, _MEMORY_LEVEL, method.strategy
    )
    # A full flush ends at a byte, and what follows refers to nothing before it.
    block = packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)
    return Deflated((block,), zlib.crc32(content), len(content))


def joined(parts: list[Deflated]) -> Deflated:
    """Return compressed bytes one after another as one piece."""
    blocks: list[bytes] = []
    crc = size = 0
    for part in parts:
        blocks += part.blocks
        crc = _combined_crc(crc, part.crc, part.size)
        size += part.size
    return Deflated(tuple(blocks), crc, size)


def write_gzip(file: IO[bytes], content: Deflated) -> None:
    """Write a gzip member; the same content gives the same bytes."""
    file.write(_GZIP_HEADER)
    for block in content.blocks:
        file.write(block)
    file.write(_EMPTY_LAST_BLOCK)
    file.write(struct.pack("<II", content.crc, content.size & 0xFFFFFFFF))


def _deflate_slab(slab: Callable[[slice], NDArray[Any]], part: slice, method: Method) -> Deflated:
    voxels = np.ascontiguousarray(slab(part))
    return deflate(voxels.reshape(-1).view(np.uint8).data, method)


def _combined_crc(first: int, second: int, second_size: int) -> int:
    """Return the CRC-32 of two byte strings one after another, known by their own ones.

    Bytes that follow multiply the checksum, a polynomial over GF(2), by a power of x; the
    method is that of zlib's ``crc32_combine``.
    """
    power = _x_to_the(8 * second_size)
    return _product(power, first) ^ second


def _product(one: int, other: int) -> int:
    """Multiply two polynomials modulo the CRC's; the highest bit is the constant term."""
    result = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            result ^= other
        other = other >> 1 ^ (_CRC_POLYNOMIAL if other & 1 else 0)
    return result


def _x_to_the(exponent: int) -> int:
    """Return a power of x modulo the CRC's polynomial, by squaring."""
    result, square = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            result = _product(square, result)
        square = _product(square, square)
        exponent >>= 1
    return result
