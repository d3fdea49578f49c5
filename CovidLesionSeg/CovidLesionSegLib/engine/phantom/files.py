"""Writing a phantom: the CT and, beside it, everything a perfect reader would draw."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from CovidLesionSegLib.errors import InputError

if TYPE_CHECKING:
    from .phantom import Phantom

ENDING = ".nii.gz"


def write_phantom(phantom: Phantom, path: Path) -> tuple[Path, ...]:
    """Write the CT to ``path`` and its ground truth beside it.

    Each file is written under a temporary name in the same folder and then
    renamed, so that no half-written file ever bears its final name.

    Args:
        phantom: What ``make_phantom`` returned.
        path: ``OUT.nii.gz``; the others become ``OUT_infection.nii.gz``,
            ``OUT_lungs.nii.gz``, ``OUT_lobes.nii.gz`` and ``OUT_truth.json``.

    Returns:
        The paths written, the CT first.

    Raises:
        InputError: The name does not end in ``.nii.gz``, or the folder can't be written.
    """
    path = Path(path)
    if not path.name.endswith(ENDING) or path.name == ENDING:
        raise InputError(
            "phantom-path", f"'{path.name}' is not a NIfTI name.", f"End it in {ENDING}."
        )
    stem = path.name[: -len(ENDING)]
    volumes = {path: phantom.hu} | {
        path.with_name(f"{stem}_{part}{ENDING}"): array
        for part, array in (
            ("infection", phantom.infection),
            ("lungs", phantom.lungs),
            ("lobes", phantom.lobes),
        )
    }
    table = path.with_name(f"{stem}_truth.json")
    text = json.dumps(phantom.describe(), indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, array in volumes.items():
            _atomically(target, partial(_write_image, array, phantom.affine))
        _atomically(table, partial(_write_text, text))
    except OSError as error:
        raise InputError(
            "phantom-write", f"The phantom can't be written to {path.parent}.", str(error)
        ) from error
    return (*volumes, table)


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _atomically(target: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``target``, then put it in place."""
    handle, name = tempfile.mkstemp(prefix=".", suffix="_" + target.name, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


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
    except RuntimeError as error:
        raise OSError(str(error)) from error
