"""Reading and writing of safetensors files with numpy alone.

A file is an 8-byte little-endian header length, a JSON header that gives every tensor's
dtype, shape and byte range, and the raw little-endian bytes. Nothing in it is executed, and
Slicer can read it without installing anything. The reader takes nothing on trust.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import CovidLesionSegError

_MAX_HEADER_BYTES = 100_000_000
_MAX_DIMENSIONS = 32  # what the oldest supported numpy can hold
_ALIGNMENT = 8
_METADATA = "__metadata__"
_DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BF16"}

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class TensorFile:
    """Named tensors and the text that travels with them.

    Attributes:
        tensors: Arrays by name; bfloat16 is widened to float32, which loses nothing.
        metadata: Text by name.
    """

    tensors: Tensors
    metadata: Mapping[str, str] = field(default_factory=dict)


def looks_like_tensor_file(head: bytes) -> bool:
    """Say whether a file that starts with ``head`` (9 bytes or more) can be safetensors."""
    return len(head) > _ALIGNMENT and head[8:9] == b"{" and _header_length(head) > 1


def parse_tensor_file(data: bytes) -> TensorFile:
    """Read a whole safetensors file.

    Args:
        data: The complete content of the file.

    Returns:
        Arrays that share the memory of ``data`` and can't be written to.

    Raises:
        CovidLesionSegError: ``weights-format`` when anything departs from the format.
    """
    if len(data) < _ALIGNMENT:
        raise _malformed("it is shorter than its own header")
    length = _header_length(data)
    if length > min(_MAX_HEADER_BYTES, len(data) - _ALIGNMENT):
        raise _malformed("it is shorter than its header says")
    header = _parse_header(data[_ALIGNMENT : _ALIGNMENT + length])
    metadata = _checked_metadata(header.pop(_METADATA, {}))
    body = memoryview(data)[_ALIGNMENT + length :]
    entries = {name: _Entry.parse(name, value) for name, value in header.items()}
    _check_layout(entries, len(body))
    return TensorFile({name: entry.read(body) for name, entry in entries.items()}, metadata)


def serialise_tensor_file(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the content of a safetensors file; equal input gives equal bytes.

    Args:
        tensors: Arrays by name, of a dtype the format knows.
        metadata: Text by name.

    Raises:
        TypeError: A dtype that the format does not know.
    """
    # Widest first keeps every tensor aligned to its own item size.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    chunks: list[bytes] = []
    offset = 0
    for name in names:
        array = tensors[name]
        dtype = array.dtype.newbyteorder("<")
        if dtype not in _NAMES:
            raise TypeError(f"{name} has the dtype {array.dtype}, which safetensors can't hold")
        chunks.append(array.astype(dtype, copy=False).tobytes())
        end = offset + len(chunks[-1])
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([struct.pack("<Q", len(text)), text, *chunks])


@dataclass(frozen=True)
class _Entry:
    """What the header says about one tensor."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @classmethod
    def parse(cls, name: str, value: object) -> _Entry:
        if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
            raise _malformed(f"the entry {name!r} is not a tensor")
        dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise _malformed(f"{name!r} has the unknown type {dtype!r}")
        if not (_counts(shape, _MAX_DIMENSIONS) and _counts(offsets, 2) and len(offsets) == 2):
            raise _malformed(f"{name!r} has no valid shape or position")
        entry = cls(dtype, tuple(shape), *offsets)
        # Python integers don't overflow, so an absurd shape can't wrap round to a small size.
        size = _DTYPES[dtype].itemsize
        for count in shape:
            size *= count
        if entry.end - entry.start != size:
            raise _malformed(f"{name!r} has a shape that does not match its size")
        return entry

    def read(self, body: memoryview) -> NDArray[Any]:
        raw: NDArray[Any] = np.frombuffer(body[self.start : self.end], dtype=_DTYPES[self.dtype])
        if self.dtype == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.reshape(self.shape)


def _header_length(data: bytes) -> int:
    return int.from_bytes(data[:_ALIGNMENT], "little")


def _parse_header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _malformed("its header can't be read") from error
    if not isinstance(header, dict):
        raise _malformed("its header is not a table")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _checked_metadata(values: object) -> dict[str, str]:
    if isinstance(values, dict) and all(isinstance(text, str) for text in values.values()):
        return values
    raise _malformed("its metadata is not plain text")


def _counts(values: object, at_most: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= at_most
        and all(type(value) is int and value >= 0 for value in values)
    )


def _check_layout(entries: Mapping[str, _Entry], body_bytes: int) -> None:
    """Tensors must fill the body exactly: no overlap, no hole, nothing left over."""
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != position:
            raise _malformed(f"{name!r} overlaps its neighbour or leaves a gap")
        position = entry.end
    if position != body_bytes:
        raise _malformed(
            "it ends too early" if position > body_bytes else "it has bytes that belong to nothing"
        )


def _malformed(reason: str) -> CovidLesionSegError:
    return CovidLesionSegError(
        "weights-format",
        f"This is not a valid safetensors file: {reason}.",
        "The file is incomplete or damaged; get it again.",
    )
