"""Writing a phantom: the CT and, beside it, everything a perfect reader would draw."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.headers import read_header
from CovidLesionSegLib.engine.payload import check_payload
from CovidLesionSegLib.engine.readers import kind_of
from CovidLesionSegLib.errors import InputError

if TYPE_CHECKING:
    from .phantom import Phantom

ENDING = ".nii.gz"


def check_phantom_path(path: str | Path) -> Path:
    """Return the path if a phantom can have this name.

    Raises:
        InputError: ``phantom-path``.
    """
    path = Path(path)
    if not path.name.endswith(ENDING) or path.name == ENDING:
        raise InputError(
            "phantom-path", f"'{path.name}' is not a NIfTI name.", f"End it in {ENDING}."
        )
    return path


def write_phantom(phantom: Phantom, path: Path) -> tuple[Path, ...]:
    """Write the CT to ``path`` and its ground truth beside it.

    Args:
        phantom: What ``make_phantom`` returned.
        path: ``OUT.nii.gz``; the others become ``OUT_infection.nii.gz``,
            ``OUT_lungs.nii.gz``, ``OUT_lobes.nii.gz`` and ``OUT_truth.json``.

    Returns:
        The paths written, the CT first.

    Raises:
        InputError: ``phantom-path``: the name does not end in ``.nii.gz``.
        CovidLesionSegError: ``output-not-written``.
    """
    targets = phantom_paths(check_phantom_path(path))
    arrays: tuple[npt.NDArray[Any], ...] = (
        *(phantom.hu, phantom.infection),
        *(phantom.lungs, phantom.lobes),
    )
    with ExitStack() as stack:  # all of them or none
        *volumes, table = [stack.enter_context(atomic_path(target)) for target in targets]
        for temporary, array in zip(volumes, arrays, strict=True):
            _write_image(array, phantom.affine, temporary)
        table.write_text(json.dumps(phantom.describe(), indent=1), encoding="utf-8")
    return targets


def phantom_paths(path: Path) -> tuple[Path, ...]:
    """Return the files that a phantom of this name has: CT, infection, lungs, lobes, truth."""
    stem = path.name[: -len(ENDING)]
    parts = ("_infection", "_lungs", "_lobes")
    masks = (path.with_name(f"{stem}{part}{ENDING}") for part in parts)
    return (path, *masks, path.with_name(f"{stem}_truth.json"))


def _write_image(array: npt.NDArray[Any], affine: npt.NDArray[np.float64], path: Path) -> None:
    """One volume [z, y, x] with its geometry."""
    import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)

    image = sitk.GetImageFromArray(array)
    step = affine[:3, :3]
    spacing = np.linalg.norm(step, axis=0)
    image.SetSpacing([float(v) for v in spacing])
    image.SetDirection([float(v) for v in (step / spacing).ravel()])
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
        check_payload(read_header(path, kind_of(path)))  # ITK is silent about a full disk
    except (RuntimeError, InputError) as error:
        raise OSError(str(error)) from error
