"""The strict reader and writer of safetensors files."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.weights.tensorfile import (
    looks_like_tensor_file,
    parse_tensor_file,
    serialise_tensor_file,
)

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(3)
    shapes = [(2, 3), (5,), (), (0, 4), (1, 2, 3, 4)]
    return {
        f"{dtype}.{index}": np.asarray(rng.standard_normal(shape) * 9).astype(dtype)
        for dtype in DTYPES
        for index, shape in enumerate(shapes)
    }


def raw_file(header: object, body: bytes = b"", text: bytes | None = None) -> bytes:
    encoded = json.dumps(header).encode() if text is None else text
    return struct.pack("<Q", len(encoded)) + encoded + body


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def assert_equal(left: Any, right: Any) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert array.dtype == right[name].dtype
        np.testing.assert_array_equal(array, right[name])


def test_round_trip_with_metadata() -> None:
    content = parse_tensor_file(serialise_tensor_file(arrays(), {"b": "ü", "a": "1"}))
    assert_equal(content.tensors, arrays())
    assert content.metadata == {"a": "1", "b": "ü"}


def test_the_reference_package_reads_what_we_write() -> None:
    assert_equal(load(serialise_tensor_file(arrays(), {"a": "1"})), arrays())


def test_we_read_what_the_reference_package_writes() -> None:
    content = parse_tensor_file(save(arrays(), {"a": "1"}))
    assert_equal(content.tensors, arrays())
    assert content.metadata == {"a": "1"}


def test_output_does_not_depend_on_the_order_of_names() -> None:
    forward = arrays()
    backward = dict(reversed(forward.items()))
    assert serialise_tensor_file(forward) == serialise_tensor_file(backward)


def test_every_tensor_is_aligned_to_its_item_size() -> None:
    data = serialise_tensor_file(arrays())
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    for name, value in json.loads(data[8 : 8 + length]).items():
        assert value["data_offsets"][0] % arrays()[name].dtype.itemsize == 0


def test_non_contiguous_and_big_endian_arrays_are_stored_by_value() -> None:
    array = np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2]
    read = parse_tensor_file(serialise_tensor_file({"a": array})).tensors["a"]
    np.testing.assert_array_equal(read, array)


def test_bfloat16_is_widened_exactly() -> None:
    # 1.5, -2.0 and the largest bfloat16, as their upper 16 bits of a float32.
    body = np.array([0x3FC0, 0xC000, 0x7F7F], dtype="<u2").tobytes()
    read = parse_tensor_file(raw_file({"a": entry("BF16", [3], [0, 6])}, body)).tensors["a"]
    assert read.dtype == np.float32
    assert read.tolist()[:2] == [1.5, -2.0]
    assert np.isfinite(read[2])


def test_unknown_dtype_is_not_written() -> None:
    with pytest.raises(TypeError, match="complex64"):
        serialise_tensor_file({"a": np.zeros(2, np.complex64)})


def test_looks_like_tensor_file() -> None:
    assert looks_like_tensor_file(serialise_tensor_file({"a": np.zeros(1)})[:16])
    assert not looks_like_tensor_file(b"PK\x03\x04" + bytes(20))
    assert not looks_like_tensor_file(b"")


BODY = bytes(8)
TWICE = b'{"a":%(entry)s,"a":%(entry)s}' % {b"entry": json.dumps(entry()).encode()}
MALFORMED = {
    "nothing": b"",
    "short": b"\x01\x00",
    "header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "huge header": struct.pack("<Q", 2**63) + b"{}",
    "not utf-8": raw_file({}, text=b"{\xff\xfe}"),
    "not json": raw_file({}, text=b"{]"),
    "deeply nested": raw_file({}, text=b"{" + b'"a":{' * 100_000),
    "not a table": raw_file([]),
    "a name twice": raw_file({}, BODY, TWICE),
    "entry is text": raw_file({"a": "F32"}, BODY),
    "entry with a field too many": raw_file({"a": {**entry(), "x": 1}}, BODY),
    "unknown dtype": raw_file({"a": entry("F8")}, BODY),
    "dtype is a list": raw_file({"a": entry(["F32"])}, BODY),
    "negative size": raw_file({"a": entry(shape=[-2])}, BODY),
    "size is true": raw_file({"a": entry("U8", [True], [0, 1])}, b"\0"),
    "too many dimensions": raw_file({"a": entry(shape=[1] * 64 + [2])}, BODY),
    "shape against size": raw_file({"a": entry(shape=[3])}, BODY),
    "shape that overflows 64 bits": raw_file({"a": entry(shape=[2**62, 16, 2])}, BODY),
    "three offsets": raw_file({"a": entry(offsets=[0, 8, 8])}, BODY),
    "reversed offsets": raw_file({"a": entry(offsets=[8, 0])}, BODY),
    "body too short": raw_file({"a": entry()}, BODY[:-1]),
    "body too long": raw_file({"a": entry()}, BODY + b"\0"),
    "gap": raw_file({"a": entry(offsets=[8, 16])}, BODY * 2),
    "overlap": raw_file({"a": entry(), "b": entry(offsets=[4, 12])}, BODY + bytes(4)),
    "metadata not text": raw_file({"__metadata__": {"a": 1}}),
    "metadata not a table": raw_file({"__metadata__": "a"}),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_files_are_refused(data: bytes) -> None:
    with pytest.raises(CovidLesionSegError) as caught:
        parse_tensor_file(data)
    assert caught.value.code == "weights-format"
    assert caught.value.hint


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 10_000))
def test_damage_never_raises_anything_else(position: int, value: int, cut: int) -> None:
    tensors = {"a": np.arange(4.0), "b": np.zeros((2, 2))}
    data = bytearray(serialise_tensor_file(tensors, {"k": "v"}))
    data[position % len(data)] = value
    # Half of the cases are also cut short.
    length = cut % (len(data) + 1) if cut % 2 else len(data)
    with contextlib.suppress(CovidLesionSegError):
        parse_tensor_file(bytes(data[:length]))
