"""Voxels compressed in slabs: readable by every reader, the same bytes every time."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from CovidLesionSegLib.engine import deflate as module
from CovidLesionSegLib.engine.deflate import (
    LABELS,
    MAPS,
    NOISE,
    Deflating,
    Method,
    deflate,
    joined,
    worker_pool,
    write_gzip,
)
from CovidLesionSegLib.engine.nrrd_file import nrrd_header, write_nrrd
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.writers import pack_map, write_map
from Testing.support.synthetic_ct import affine_lps, chest_hu, rotation


def oblique_ct() -> CtVolume:
    """A CT stored with its axes permuted, flipped and rotated."""
    affine = affine_lps(direction=rotation((7.0, -4.0, 11.0)) @ np.diag([-1.0, 1.0, -1.0]))
    return CtVolume.from_array(chest_hu(), affine[:, [1, 0, 2, 3]])


@pytest.fixture(autouse=True)
def _small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even small volumes into many slabs."""
    monkeypatch.setattr(module, "_SLAB_BYTES", 1 << 14)


@settings(max_examples=50, deadline=None)
@given(parts=st.lists(st.binary(max_size=300), max_size=6))
def test_pieces_make_one_gzip_member(parts: list[bytes]) -> None:
    whole = joined([deflate(part) for part in parts])
    file = io.BytesIO()
    write_gzip(file, whole)

    content = b"".join(parts)
    assert (whole.crc, whole.size) == (zlib.crc32(content), len(content))
    inflate = zlib.decompressobj(wbits=31)
    assert inflate.decompress(file.getvalue()) == content
    assert inflate.eof
    assert inflate.unused_data == b""  # one member: not every reader goes on to a second


@pytest.mark.parametrize("method", [NOISE, MAPS, LABELS])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_slabs_join_to_the_array(method: Method, dtype: DTypeLike) -> None:
    rng = np.random.default_rng(1)
    array = rng.integers(0, 9, (40, 30, 20)).astype(dtype)
    with worker_pool() as pool:
        packed = Deflating(lambda it: array[it], 40, array[0].nbytes, method, pool).result()
    file = io.BytesIO()
    write_gzip(file, packed)
    assert len(packed.blocks) > 1
    assert gzip.decompress(file.getvalue()) == array.tobytes()


def test_an_error_in_a_slab_is_told() -> None:
    def fails(_part: slice) -> NDArray[np.uint8]:
        raise MemoryError

    with worker_pool() as pool, pytest.raises(MemoryError):
        Deflating(fails, 3, 10, LABELS, pool).result()


def test_a_batch_worker_takes_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with worker_pool() as pool:
        assert pool._max_workers == 1


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int16, np.bool_])
def test_a_compressed_nifti_is_what_itk_would_write(tmp_path: Path, dtype: DTypeLike) -> None:
    ct = oblique_ct()
    values = (np.arange(ct.hu.size).reshape(ct.hu.shape) % 2).astype(dtype)
    write_map(tmp_path / "ours.nii.gz", values, ct)
    write_map(tmp_path / "itk.nii", values, ct)
    with gzip.open(tmp_path / "ours.nii.gz") as ours:
        assert ours.read() == (tmp_path / "itk.nii").read_bytes()


def test_one_packing_serves_nifti_and_nrrd(tmp_path: Path) -> None:
    ct = oblique_ct()
    with worker_pool() as pool:
        packed = pack_map(ct.hu, ct, pool).result()
    write_map(tmp_path / "ct.nii.gz", ct.hu, ct, packed)
    expected = ct.to_input_grid(ct.hu)
    with (tmp_path / "ct.nrrd").open("wb") as file:
        header = nrrd_header(expected.dtype, expected.shape, ct.input_affine_lps)
        write_nrrd(file, header, packed)

    images = [sitk.ReadImage(str(tmp_path / name)) for name in ("ct.nii.gz", "ct.nrrd")]

    for image in images:
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
        np.testing.assert_allclose(image.GetOrigin(), ct.input_affine_lps[:3, 3], atol=1e-4)
        grid = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        np.testing.assert_allclose(grid, ct.input_affine_lps[:3, :3], atol=1e-6)
    voxels, facts = nrrd.read(str(tmp_path / "ct.nrrd"), index_order="C")
    np.testing.assert_array_equal(voxels, expected)
    np.testing.assert_array_equal(facts["space origin"], ct.input_affine_lps[:3, 3])


def test_key_value_pairs_and_layers_stand_in_the_header() -> None:
    header = nrrd_header(np.dtype(np.uint8), (5, 4, 3), np.eye(4), 2, {"Key": "a value"})
    lines = header.decode().splitlines()
    assert lines[0].startswith("NRRD000")
    assert "sizes: 2 3 4 5" in lines
    assert "kinds: list domain domain domain" in lines
    assert "space directions: none (1,0,0) (0,1,0) (0,0,1)" in lines
    assert "Key:=a value" in lines
    assert header.endswith(b"\n\n")
