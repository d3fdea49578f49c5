"""Damaged files end in a CT or in a plain refusal: no other exception, hang or allocation.

The number of mutations per format can be raised with COVID_LESION_SEG_FUZZ, for a long run.
"""

from __future__ import annotations

import gzip
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813

from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.errors import InputError
from Testing.support.dicom_series import Series
from Testing.support.mutations import mutated
from Testing.support.synthetic_ct import ORIGIN_LPS_MM, SPACING_MM_XYZ, chest_hu

MUTATIONS = int(os.environ.get("COVID_LESION_SEG_FUZZ", "60"))
SEED = 20240229
SECONDS_PER_FILE = 5.0
MEMORY_BYTES = 1 << 30


@pytest.fixture
def limited_memory() -> Iterator[None]:
    """Let no allocation of more than 1 GiB succeed, where the system can do that."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def outcome(path: Path) -> str:
    """Read a damaged file; anything but a CT or a refusal fails the test by itself."""
    started = time.process_time()
    refusal: InputError | None = None
    try:
        read_ct(path)
    except InputError as error:
        refusal = error
    assert time.process_time() - started < SECONDS_PER_FILE
    if refusal is None:
        return "read"
    assert refusal.message
    assert refusal.hint
    assert "enough memory" not in refusal.message
    return refusal.code


def base_file(path: Path, compressed: bool) -> tuple[bytes, int]:
    """Write a good file; return its bytes and how far its header reaches."""
    image = sitk.GetImageFromArray(chest_hu())
    image.SetSpacing(SPACING_MM_XYZ)
    image.SetOrigin(ORIGIN_LPS_MM)
    sitk.WriteImage(image, str(path), useCompression=compressed)
    raw = path.read_bytes()
    end = {".nrrd": b"\n\n", ".mha": b"LOCAL\n"}.get(path.suffix)
    return raw, raw.index(end) + len(end) if end else 352


@pytest.mark.usefixtures("limited_memory")
@pytest.mark.parametrize("compressed", [False, True], ids=["raw", "compressed"])
@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_damaged_headers(tmp_path: Path, suffix: str, compressed: bool) -> None:
    raw, header_bytes = base_file(tmp_path / f"ct{suffix}", compressed and suffix != ".nii")
    rng = random.Random(f"{SEED}{suffix}{compressed}")
    codes = set()
    for index in range(MUTATIONS):
        damaged = mutated(raw, header_bytes, rng)
        path = tmp_path / f"{index}{suffix}"
        if suffix == ".nii" and compressed:
            path = path.with_suffix(".nii.gz")
            damaged = gzip.compress(damaged, 1)
            if index % 5 == 0:
                damaged = mutated(damaged, len(damaged), rng)
        path.write_bytes(damaged)
        codes.add(outcome(path))
        path.unlink()
    assert len(codes) > 1


@pytest.mark.usefixtures("limited_memory")
def test_damaged_dicom(tmp_path: Path) -> None:
    hu = chest_hu()[:8]
    folder = Series(hu=hu).write(tmp_path / "series")
    files = sorted(folder.iterdir())
    header_bytes = files[0].stat().st_size - 2 * hu[0].size
    rng = random.Random(SEED)
    codes = set()
    for _ in range(MUTATIONS):
        victim = rng.choice(files)
        good = victim.read_bytes()
        victim.write_bytes(mutated(good, header_bytes, rng))
        codes.add(outcome(rng.choice((folder, victim))))
        victim.write_bytes(good)
    assert len(codes) > 1


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_truncated_anywhere(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ct{suffix}"
    raw, _ = base_file(path, suffix != ".nii")
    rng = random.Random(SEED)
    for _ in range(MUTATIONS // 2):
        path.write_bytes(raw[: rng.randrange(1, len(raw))])
        assert outcome(path) in ("input-truncated", "input-not-3d")
