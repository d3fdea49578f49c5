"""Read a CT from NIfTI, NRRD, MetaImage or DICOM into a `CtVolume`, through all guards."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CovidLesionSegLib.errors import InputError

from .geometry import Affine
from .guards import check_header, check_spacing, checked_volume
from .headers import read_header
from .memory import is_out_of_memory
from .payload import check_finite, check_payload
from .refusals import damaged, disoriented, forbidden, sheared
from .volume import CtVolume, Provenance

if TYPE_CHECKING:
    import SimpleITK as sitk  # noqa: N813

log = logging.getLogger(__name__)

_SUFFIXES = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
}
_IMAGE_IO = {"nifti": "NiftiImageIO", "nrrd": "NrrdImageIO", "metaimage": "MetaImageIO"}
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_SUPPORTED = (
    "Supported are NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) and "
    "DICOM (a folder or a file)."
)


def read_ct(
    path: str | Path,
    series_instance_uid: str | None = None,
    accepted: Callable[[], object] = lambda: None,
) -> CtVolume:
    """Read a chest CT and pass it through the guards.

    Args:
        path: A NIfTI, NRRD or MetaImage file, a DICOM file (its whole series is read), or a
            folder with DICOM files at any depth, of which the largest CT series is read.
        series_instance_uid: The DICOM series to read instead of the largest.
        accepted: Called when the header has passed, before the voxels are read: most wrong
            files are refused by then.

    Raises:
        InputError: See the table in `guards`.
    """
    source = _existing(path)
    if source.is_dir():
        return _read_dicom(source, series_instance_uid, accepted)
    _check_readable(source)
    kind = kind_of(source)
    if kind == "dicom":
        return _read_dicom(source, series_instance_uid, accepted)
    return _read_file(source, kind, accepted)


def _read_dicom(
    path: Path, series_instance_uid: str | None, accepted: Callable[[], object]
) -> CtVolume:
    from .dicom import read_dicom

    return read_dicom(path, series_instance_uid, accepted)


def _existing(path: str | Path) -> Path:
    source = Path(path)
    try:
        found = source.is_dir() or source.is_file()
    except (OSError, ValueError):  # a part of the path is forbidden, too long or has a NUL
        found = False
    if not found:
        raise InputError(
            "input-not-found",
            f"There is no file or folder {source.name!r}.",
            "Check the path for typing errors.",
        )
    return source


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except PermissionError as error:
        raise forbidden(path) from error
    except OSError as error:
        raise damaged(path.name, "the storage reports an error") from error
    if empty:
        raise InputError(
            "input-empty",
            f"{path.name} is empty.",
            "The copy or download has failed; repeat it.",
        )


def has_image_suffix(path: Path) -> bool:
    """Tell whether a file is named as a NIfTI, NRRD or MetaImage file; DICOM has no sure name."""
    return path.name.lower().endswith(tuple(_SUFFIXES))


def kind_of(path: Path) -> str:
    """Tell the format by suffix, and DICOM also by its magic word."""
    name = path.name.lower()
    for suffix, kind in _SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    with path.open("rb") as file:
        is_dicom = file.read(132)[128:] == b"DICM"
    if is_dicom or name.endswith(_DICOM_SUFFIXES):
        return "dicom"
    raise InputError("input-format", f"{path.name} is in no supported image format.", _SUPPORTED)


def _display_name(path: Path) -> str:
    name = path.name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)] or name
    return name


def _read_file(path: Path, kind: str, accepted: Callable[[], object]) -> CtVolume:
    import SimpleITK as sitk  # noqa: N813

    try:
        header = read_header(path, kind)
        with _quiet_itk():
            reader = _image_reader(path, kind)
            size, affine = _grid(reader)
            check_header(size[::-1], affine, _components(reader))
            if math.prod(size) != header.voxels:
                raise damaged(path.name, "its header contradicts itself")
            accepted()
            check_payload(header)
            check_finite(header)
            image = reader.Execute()
    except (RuntimeError, MemoryError, OSError) as error:
        raise _translated(error, path) from error
    array = sitk.GetArrayFromImage(image)
    del image  # the array is a copy; holding both would double the memory
    files = dict.fromkeys((str(path), str(header.data_path)))
    return checked_volume(
        array,
        affine,
        Provenance(kind, _display_name(path), files=tuple(files)),
        () if header.orientation_known else ("orientation-unknown",),
    )


@contextmanager
def _quiet_itk() -> Iterator[None]:
    """Keep ITK's raw warnings off stderr; what they tell is checked here."""
    import SimpleITK as sitk  # noqa: N813

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _image_reader(path: Path, kind: str) -> sitk.ImageFileReader:
    """Return a reader that knows the header, and drops trailing axes of one voxel."""
    import SimpleITK as sitk  # noqa: N813

    reader = sitk.ImageFileReader()
    reader.SetImageIO(_IMAGE_IO[kind])
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size = reader.GetSize()
    if len(size) > 3 and all(count == 1 for count in size[3:]):
        reader.SetExtractSize([*size[:3], *(0 for _ in size[3:])])
    return reader


def _grid(reader: sitk.ImageFileReader) -> tuple[tuple[int, ...], Affine]:
    """Return the size ``(i, j, k)`` and the affine; a 2D or 4D image keeps its size."""
    size = tuple(reader.GetSize())
    if len(size) > 3 and all(count == 1 for count in size[3:]):
        size = size[:3]
    affine = np.eye(4)
    if len(size) == 3:
        axes = reader.GetDimension()
        spacing = np.array(reader.GetSpacing())[:3]
        check_spacing(tuple(spacing.tolist()))
        directions = np.array(reader.GetDirection()).reshape(axes, axes)[:3, :3]
        affine[:3, :3] = directions * spacing
        affine[:3, 3] = reader.GetOrigin()[:3]
        if np.abs(directions).max() > 1.01 or not np.allclose(
            np.linalg.norm(directions, axis=0), 1.0, atol=1e-3
        ):
            raise disoriented("the direction cosines are not unit vectors")
    return size, affine


def _components(reader: sitk.ImageFileReader) -> int:
    import SimpleITK as sitk  # noqa: N813

    complex_types = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)
    return 2 if reader.GetPixelID() in complex_types else int(reader.GetNumberOfComponents())


def _translated(error: Exception, path: Path) -> InputError:
    """Return our refusal for an exception while reading; its own text goes to the log."""
    log.debug("%s can't be read: %s", path.name, error)
    if isinstance(error, PermissionError):
        return forbidden(path)
    text = str(error)
    if "orthonormal" in text or "determinant" in text:
        return sheared()
    if is_out_of_memory(error):
        return InputError(
            "input-too-large",
            "There is not enough memory to read this image.",
            "Close other programs, or crop the scan to the chest.",
        )
    return damaged(path.name, "its header or its voxels are damaged")
