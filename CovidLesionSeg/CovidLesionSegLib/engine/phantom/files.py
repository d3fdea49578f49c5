"""Writing a phantom: the CT and, beside it, everything a perfect reader would draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from CovidLesionSegLib.engine.atomic import atomic_path
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
    path = check_phantom_path(path)
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
    for target, array in volumes.items():
        with atomic_path(target) as temporary:
            _write_image(array, phantom.affine, temporary)
    with atomic_path(table) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return (*volumes, table)


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
