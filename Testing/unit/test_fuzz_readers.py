"""Damaged files end in a CT or in a plain refusal; a few of what `Testing.fuzz_readers` runs.

The number per kind of file can be raised with COVID_LESION_SEG_FUZZ.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from Testing.fuzz_readers import KINDS, READ, limited_memory, mutate_headers, truncate

MUTATIONS = int(os.environ.get("COVID_LESION_SEG_FUZZ", "60"))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_headers(tmp_path: Path, kind: str) -> None:
    with limited_memory():
        codes = mutate_headers(kind, MUTATIONS, tmp_path)
    assert codes.total() == MUTATIONS
    assert len(codes) > 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dicom"])
def test_truncated_anywhere(tmp_path: Path, kind: str) -> None:
    with limited_memory():
        codes = truncate(kind, MUTATIONS // 2, tmp_path)
    assert set(codes) <= {"input-truncated", "input-not-3d"}


def test_a_series_with_a_truncated_slice_is_refused_or_flagged(tmp_path: Path) -> None:
    with limited_memory():
        codes = truncate("dicom", MUTATIONS // 2, tmp_path)
    assert READ not in codes
    assert len(codes) > 1
