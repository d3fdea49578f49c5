"""One small phantom patient and its result, shared by the tests of the whole job."""

from __future__ import annotations

from pathlib import Path

import pytest

from CovidLesionSegLib.engine.phantom import Phantom, PhantomSpec, make_phantom
from CovidLesionSegLib.engine.pipeline import segment
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.writers import write_map

SMALL = PhantomSpec(seed=3, spacing_mm_zyx=(6.0, 3.0, 2.8))
"""Coarse but complete: a whole job on it takes a few seconds on one core."""


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return make_phantom(SMALL)


@pytest.fixture(scope="session")
def phantom_ct(phantom: Phantom) -> CtVolume:
    return CtVolume.from_array(phantom.hu, phantom.affine)


@pytest.fixture(scope="session")
def phantom_file(phantom_ct: CtVolume, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_map(
        tmp_path_factory.mktemp("phantom") / "phantom.nii.gz", phantom_ct.hu, phantom_ct
    )


@pytest.fixture(scope="session")
def phantom_result(phantom_ct: CtVolume) -> SegmentationResult:
    return segment(phantom_ct)
