"""PNG files without any imaging library: the module in Slicer has none that the terminal has."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2
_LEVEL = 6
_SUB = 1
"""Filter type: every byte as the difference to the pixel on its left."""


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture as a PNG file with nothing in it but the pixels.

    Args:
        pixels: uint8 ``[row, column]`` in grey or ``[row, column, 3]`` in RGB.
    """
    rows, columns = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype != np.uint8 or channels not in (1, 3):
        raise ValueError("pixels must be uint8, in grey or RGB")
    flat = np.ascontiguousarray(pixels).reshape(rows, columns * channels)
    filtered = flat.copy()
    filtered[:, channels:] -= flat[:, :-channels]
    lines = np.hstack([np.full((rows, 1), _SUB, np.uint8), filtered])
    color_type = _GREY if channels == 1 else _RGB
    header = struct.pack(">IIBBBBB", columns, rows, 8, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), _LEVEL)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
