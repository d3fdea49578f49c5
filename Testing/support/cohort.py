"""A folder of small phantoms with planted faults, as a batch may meet it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from CovidLesionSegLib.engine.phantom import Phantom, PhantomSpec
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.writers import write_map
from Testing.support.dicom_series import Series

_STEP_ZYX = (3, 2, 2)
_SLICES = slice(9, 42)
_NOISE_HU = 8.0
_PIXDIM_OFFSET = 80


@dataclass(frozen=True)
class Cohort:
    """What was written.

    Attributes:
        folder: All inputs are in it.
        good: Number of CTs that must have a result.
        faults: Expected code by file or folder name.
    """

    folder: Path
    good: int
    faults: Mapping[str, str]


PHANTOM = PhantomSpec(seed=3, spacing_mm_zyx=(6.0, 3.0, 2.8))


def small_chest(phantom: Phantom) -> CtVolume:
    """The lungs of `PHANTOM` in eleven thick slices: a second of work for the pipeline."""
    z, y, x = _STEP_ZYX
    affine = phantom.affine.copy()
    affine[:3, 3] += affine[:3, 2] * _SLICES.start
    affine[:3, :3] = affine[:3, :3] * (x, y, z)
    return CtVolume.from_array(phantom.hu[_SLICES][::z, ::y, ::x], affine)


def write_cohort(folder: Path, chest: CtVolume, count: int, seed: int = 0) -> Cohort:
    """Write phantoms that differ by their noise, one of them as DICOM, and seven faults.

    Args:
        folder: Where to.
        chest: See `small_chest`.
        count: Number of cases, faults included.
        seed: Seed of the noise.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    faults = _write_faults(folder / "faults", chest)
    good = count - len(faults)
    for index in range(good - 1):
        noise = rng.normal(0.0, _NOISE_HU, chest.hu.shape)
        hu = np.clip(np.rint(chest.hu + noise), -1024, 3071).astype(np.int16)
        # The same name in many folders, as exports come.
        suffix = (".nii.gz", ".nrrd", ".mha")[index % 3]
        write_map(folder / f"patient-{index:03d}" / f"ct{suffix}", hu, chest)
    step = float(chest.spacing_mm_zyx[0])
    Series(chest.hu, step_mm=(0.0, 0.0, step)).write(folder / "dicom" / "series")
    return Cohort(folder, good, faults)


def _write_faults(folder: Path, chest: CtVolume) -> dict[str, str]:
    whole = write_map(folder / "whole.nii", chest.hu, chest)
    raw = whole.read_bytes()
    whole.unlink()
    (folder / "truncated.nii").write_bytes(raw[: len(raw) // 2])
    (folder / "text.nii.gz").write_text("The CT is on the other disk.\n")
    not_a_number = bytearray(raw)
    struct.pack_into("<f", not_a_number, _PIXDIM_OFFSET, float("nan"))
    (folder / "nan.nii").write_bytes(bytes(not_a_number))
    sitk.WriteImage(sitk.GetImageFromArray(chest.hu[5]), str(folder / "picture.nrrd"))
    (folder / "empty-dicom").mkdir()
    # Permissions do not stop an administrator, so the file that can't be had is a broken link.
    (folder / "gone.nii.gz").symlink_to(folder / "unmounted" / "ct.nii.gz")
    rng = np.random.default_rng(0)
    knee = np.full(chest.hu.shape, 40, np.int16) + rng.integers(-150, 300, chest.hu.shape)
    write_map(folder / "knee.nii.gz", knee.astype(np.int16), chest)
    return {
        "truncated.nii": "input-truncated",
        "text.nii.gz": "input-truncated",
        "nan.nii": "input-spacing",
        "picture.nrrd": "input-not-3d",
        "empty-dicom": "input-empty",
        "gone.nii.gz": "input-not-found",
        "knee.nii.gz": "input-no-air",
    }
