"""Reader for folders of chest CT volumes with expert masks.

A case is a triple of files named by one key: ``KEY_ct.nii.gz``, ``KEY_infection.nii.gz`` and,
where lungs are labelled, ``KEY_lung.nii.gz``. The CT becomes the engine's `CtVolume`; the masks
go through the same axis permutation, so that training sees what inference sees.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.headers import read_header
from CovidLesionSegLib.engine.payload import check_finite, check_payload
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from CovidLesionSegLib.errors import InputError

SUFFIX = ".nii.gz"
NOT_LABELLED = 255
"""Value of a lung mask where nobody has drawn: neither lung nor background."""

_AFFINE_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class VolumeFiles:
    """The files of one case.

    Attributes:
        key: Name that the files share.
        ct: CT in HU.
        infection: Binary lesion mask.
        lung: Lung mask (0, 1, 255 = not labelled), or None.
    """

    key: str
    ct: Path
    infection: Path
    lung: Path | None

    def digest(self) -> str:
        """Return the SHA-256 over the contents of the files."""
        sha = hashlib.sha256()
        for path in (self.ct, self.infection, self.lung):
            if path is not None:
                sha.update(path.read_bytes())
        return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class LabelledVolume:
    """One case in memory.

    Attributes:
        key: Name of the case.
        ct: The CT in LPS axis order.
        infection: uint8 ``[z, y, x]``, 0 or 1.
        lung: uint8 ``[z, y, x]``: 0 background, 1 lung, 255 not labelled; None without a mask.
    """

    key: str
    ct: CtVolume
    infection: NDArray[np.uint8]
    lung: NDArray[np.uint8] | None


def find_volumes(folder: Path) -> list[VolumeFiles]:
    """List the cases of one folder, sorted by key.

    Raises:
        InputError: ``training-data-empty`` without any case, ``training-data-mismatch`` for a
            CT without its lesion mask or a mask without its CT.
    """
    roles: dict[str, dict[str, Path]] = {"ct": {}, "infection": {}, "lung": {}}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        key, _, role = path.name[: -len(SUFFIX)].rpartition("_")
        if role in roles:
            roles[role][key] = path
    if not roles["ct"]:
        raise InputError(
            "training-data-empty",
            f"The folder {folder.name!r} holds no file named KEY_ct{SUFFIX}.",
            "Give the folder that contains the development data.",
        )
    orphans = (set(roles["ct"]) ^ set(roles["infection"])) | (set(roles["lung"]) - set(roles["ct"]))
    if orphans:
        raise _mismatch(f"{', '.join(sorted(orphans))}: CT and masks do not belong together")
    return [
        VolumeFiles(key, ct, roles["infection"][key], roles["lung"].get(key))
        for key, ct in sorted(roles["ct"].items())
    ]


def load_volume(files: VolumeFiles) -> LabelledVolume:
    """Read one case and check that masks and CT share their grid and their values.

    Raises:
        InputError: ``training-data-mismatch``, or what the engine's reader of CTs refuses, above
            all ``input-truncated`` for a file that is damaged or ends too early.
    """
    hu, affine = _read(files.ct)
    ct = CtVolume.from_array(
        np.clip(hu, -32768, 32767).astype(np.int16), affine, Provenance("nifti", files.key)
    )
    infection = _read_mask(files.infection, ct, hu.shape, allowed=(0, 1))
    lung = None
    if files.lung is not None:
        lung = _read_mask(files.lung, ct, hu.shape, allowed=(0, 1, NOT_LABELLED))
    return LabelledVolume(files.key, ct, infection, lung)


def _read_mask(
    path: Path, ct: CtVolume, shape_kji: tuple[int, ...], allowed: tuple[int, ...]
) -> NDArray[np.uint8]:
    mask, affine = _read(path)
    if mask.shape != shape_kji:
        raise _mismatch(f"{path.name} has the shape {mask.shape}, its CT {shape_kji}")
    if not np.allclose(affine, ct.input_affine_lps, atol=_AFFINE_TOLERANCE_MM):
        raise _mismatch(f"{path.name} lies elsewhere than its CT")
    values = set(np.unique(mask).tolist())
    if not values <= set(allowed):
        raise _mismatch(f"{path.name} holds the values {sorted(values)}, expected {allowed}")
    return ct.orientation.to_lps(mask.astype(np.uint8))


def _read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    import SimpleITK as sitk  # noqa: N813 (the field's abbreviation)

    _check_file(path)
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (3, 3))
    affine[:3, :3] = direction * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), affine


def _check_file(path: Path) -> None:
    """Refuse a damaged file by its name: SimpleITK reads half a file without an error."""
    try:
        header = read_header(path, "nifti")
        check_payload(header)
        check_finite(header)
    except InputError as error:
        if path.name in error.message:
            raise
        raise InputError(error.code, f"{path.name}: {error.message}", error.hint) from error


def _mismatch(reason: str) -> InputError:
    return InputError(
        "training-data-mismatch",
        f"The training data is inconsistent: {reason}.",
        "Each CT needs its masks under the same name and on the same grid.",
    )
