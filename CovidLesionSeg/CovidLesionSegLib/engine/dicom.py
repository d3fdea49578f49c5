"""Read the largest CT series of a DICOM folder, or the series of a DICOM file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from CovidLesionSegLib.errors import InputError

from .dicom_pixels import quiet_pydicom, read_slices
from .dicom_stack import SliceHeader, Stack, choose_stack
from .folders import may_be_file, walk_folders
from .guards import check_header, checked_volume
from .refusals import forbidden, rescale_missing
from .volume import CtVolume, Provenance

if TYPE_CHECKING:
    from pydicom import Dataset

log = logging.getLogger(__name__)

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_ENHANCED_CT = (_CT_IMAGE + ".1", _CT_IMAGE + ".2")
_ABSURD = 1e6
"""No position, spacing or rescale reaches this."""
_IMPLICIT_VR = "1.2.840.10008.1.2"
_NAMES_WITHOUT_MAGIC = (".dcm", ".dicom", ".ima")
_IMAGE_FILES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_HEADER_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType"),
    *("SeriesNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "AcquisitionTime"),
    *("AcquisitionDateTime", "ConvolutionKernel", "ContrastBolusAgent", "InstanceNumber"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated"),
    *("RescaleSlope", "RescaleIntercept", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    "PixelRepresentation",  # implicit VR: padding is signed or not as the pixels are
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
_ACQUISITION_TAGS = (
    *("AcquisitionNumber", "TemporalPositionIdentifier", "ConvolutionKernel"),
    *("ContrastBolusAgent", "ImageType", "AcquisitionDateTime", "AcquisitionTime"),
)


@dataclass
class _Findings:
    """What was found on the way through a folder."""

    slices: list[SliceHeader] = field(default_factory=list)
    without_geometry: int = 0
    other_images: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    forbidden: int = 0
    other_files: int = 0


def list_series(files: Iterable[Path]) -> tuple[tuple[str, ...], bool]:
    """Tell which CT series files belong to; reads headers only.

    Args:
        files: Regular files of any kind.

    Returns:
        SeriesInstanceUIDs in the order of finding, and whether there were DICOM files that
        can't be read or don't say where their slices lie.
    """
    found = _Findings()
    for file in files:
        _add_file(file, found)
    uids = dict.fromkeys(header.series_uid for header in found.slices)
    return tuple(uids), bool(found.unreadable or found.forbidden or found.without_geometry)


def read_dicom(
    path: Path,
    series_instance_uid: str | None = None,
    accepted: Callable[[], object] = lambda: None,
) -> CtVolume:
    """Read a CT series and pass it through the guards.

    Args:
        path: A folder with DICOM files at any depth, or one file, which stands for its
            series in the same folder.
        series_instance_uid: The series to read; the largest by default.
        accepted: Called when the headers have passed, before the voxels are read.

    Raises:
        InputError: See the table in `guards`.
    """
    found = _search(path)
    if not found.slices:
        raise _nothing_found(path, found)
    wanted = series_instance_uid
    if wanted is None and path.is_file():
        wanted = found.slices[0].series_uid
    slices = [header for header in found.slices if wanted in (None, header.series_uid)]
    if not slices:
        raise InputError(
            "dicom-series",
            "There is no CT series with the given SeriesInstanceUID.",
            "Leave it out to read the largest series.",
        )
    return _read_stack(slices, found.unreadable > 0, accepted)


def stack_of_files(files: Sequence[str]) -> Stack:
    """Return the stack that some DICOM files form; their voxels are not read.

    Args:
        files: Paths of the slices of one series, or of one enhanced CT.

    Raises:
        InputError: ``input-not-found`` when a file is gone or no CT, and what
            `dicom_stack.choose_stack` raises for gaps.
    """
    found = _Findings()
    for path in files:
        _add_file(Path(path), found)
    if not found.slices or len({header.path for header in found.slices}) < len(set(files)):
        raise InputError(
            "input-not-found",
            "The DICOM files of the CT are not all there any more.",
            "Give the folder in which they are now.",
        )
    return choose_stack(found.slices, _same_voxels)


def _read_stack(
    slices: list[SliceHeader], unreadable: bool, accepted: Callable[[], object]
) -> CtVolume:
    stack = choose_stack(slices, _same_voxels)
    shape_kji = (len(stack.slices), *stack.slices[0].shape)
    check_header(shape_kji, stack.affine_lps)
    _check_rescale(stack.slices)
    accepted()
    hu_kji = np.empty(shape_kji, dtype=np.int16)
    for index, hu in enumerate(read_slices(stack.slices)):
        hu_kji[index] = hu
    files = tuple(dict.fromkeys(str(header.path) for header in stack.slices))
    return checked_volume(
        hu_kji,
        stack.affine_lps,
        Provenance("dicom", "DICOM series", stack.slices[0].series_uid, files),
        (*stack.flags, *(("unreadable-files",) if unreadable else ())),
    )


def _same_voxels(one: SliceHeader, other: SliceHeader) -> bool:
    first, second = read_slices((one, other))
    return np.array_equal(first, second)


def _check_rescale(slices: tuple[SliceHeader, ...]) -> None:
    """Refuse a rescale that only some slices have, or that makes no numbers."""
    stated = [header.rescale for header in slices if header.rescale is not None]
    usable = all(np.isfinite(pair).all() and pair[0] != 0 for pair in stated)
    if not usable or 0 < len(stated) < len(slices):
        raise rescale_missing()


def _search(path: Path) -> _Findings:
    found = _Findings()
    if path.is_dir():
        for candidate in _files_below(path):
            _add_file(candidate, found)
        return found
    _add_file(path, found)
    if not found.slices or found.slices[0].frame is not None:
        return found
    with suppress(OSError):  # the file may be readable in a folder that is not
        for candidate in sorted(path.parent.iterdir()):
            if may_be_file(candidate) and candidate != path:
                _add_file(candidate, found)
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        if isinstance(error, PermissionError) and Path(str(error.filename)) == folder:
            raise forbidden(folder) from error
        log.warning("A folder can't be read and is left out: %s", error)

    for root, _, names in walk_folders(folder, refuse):
        for name in names:
            path = root / name
            if not name.startswith(".") and may_be_file(path):
                yield path


def _add_file(path: Path, found: _Findings) -> None:
    """Read one file's header and note what it is."""
    from pydicom import dcmread

    try:
        with path.open("rb") as file:
            has_magic = file.read(132)[128:] == b"DICM"
    except PermissionError:
        found.forbidden += 1
        return
    except OSError:
        found.unreadable += 1
        return
    if not has_magic and path.suffix.lower() not in _NAMES_WITHOUT_MAGIC:
        found.other_files += 1
        return
    try:
        with quiet_pydicom():
            dataset = dcmread(
                path, stop_before_pixels=True, force=not has_magic, specific_tags=_HEADER_TAGS
            )
            _add_dataset(path, dataset, found)
    # pydicom raises almost every built-in exception on damaged files.
    except Exception as error:
        log.debug("%s is no readable DICOM file: %s", path.name, error)
        found.unreadable += 1


def _add_dataset(path: Path, dataset: Dataset, found: _Findings) -> None:
    if "SOPClassUID" not in dataset:
        found.other_files += 1
        return
    image_type = [str(part).upper() for part in _values(dataset.get("ImageType"))]
    is_ct = str(dataset.SOPClassUID) in (_CT_IMAGE, *_ENHANCED_CT)
    localiser = any("LOCALIZER" in part or "SCOUT" in part for part in image_type)
    if not is_ct or localiser or int(dataset.get("SamplesPerPixel", 1)) != 1:
        modality = "".join(filter(str.isalnum, str(dataset.get("Modality", ""))))[:8]
        found.other_images["localiser" if is_ct and localiser else modality or "unknown"] += 1
        return
    frames: list[tuple[int | None, Dataset | None]] = [(None, None)]
    if str(dataset.SOPClassUID) in _ENHANCED_CT:
        frames = list(enumerate(dataset.PerFrameFunctionalGroupsSequence))
    for index, groups in frames:
        header = _slice_header(path, dataset, index, groups)
        if header is None:
            found.without_geometry += 1
        else:
            found.slices.append(header)


def _values(value: Any) -> list[Any]:
    """Return a DICOM value as a list, whatever its multiplicity."""
    if value is None:
        return []
    return [value] if isinstance(value, (str, int, float)) else list(value)


def _floats(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    numbers = tuple(float(value) for value in _values(dataset.get(keyword)))
    return numbers if len(numbers) == count and np.abs(numbers).max() < _ABSURD else None


def _slice_header(
    path: Path, dataset: Dataset, frame: int | None, groups: Dataset | None
) -> SliceHeader | None:
    """Return the slice of a file or frame; None without position, orientation or size."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]

    def part(sequence: str) -> Dataset:
        """Return where an attribute stands: per frame, shared, or in the data set itself."""
        if groups is None:
            return dataset
        for holder in (groups, shared[0]):
            if sequence in holder:
                return getattr(holder, sequence)[0]
        return dataset

    measures = part("PixelMeasuresSequence")
    position = _floats(part("PlanePositionSequence"), "ImagePositionPatient", 3)
    orientation = _floats(part("PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    spacing = _floats(measures, "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None:
        return None
    # Rows and columns must be unit vectors at right angles.
    row, column = np.reshape(orientation, (2, 3))
    if not np.allclose((row @ row, column @ column, row @ column), (1, 1, 0), atol=0.01):
        return None
    image_type = [str(kind).upper() for kind in _values(dataset.get("ImageType"))]
    return SliceHeader(
        path=path,
        frame=frame,
        instance_uid=str(dataset.SOPInstanceUID),
        series_uid=str(dataset.SeriesInstanceUID),
        series_number=int(dataset.get("SeriesNumber") or 0),
        position_mm=(position[0], position[1], position[2]),
        orientation=orientation,
        shape=(int(dataset.Rows), int(dataset.Columns)),
        pixel_spacing_mm=(spacing[0], spacing[1]),
        thickness_mm=(_floats(measures, "SliceThickness", 1) or (0.0,))[0],
        derived="DERIVED" in image_type[:1] or "SECONDARY" in image_type[1:2],
        acquisition=tuple(str(dataset.get(tag, "")) for tag in _ACQUISITION_TAGS),
        rescale=_rescale(part("PixelValueTransformationSequence")),
        padding=_padding(dataset),
        transfer_syntax=str(dataset.file_meta.get("TransferSyntaxUID", _IMPLICIT_VR)),
    )


def _rescale(dataset: Dataset) -> tuple[float, float] | None:
    slope = _floats(dataset, "RescaleSlope", 1)
    intercept = _floats(dataset, "RescaleIntercept", 1)
    return None if slope is None or intercept is None else (slope[0], intercept[0])


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    other = limit if isinstance(limit, int) else value
    return min(value, other), max(value, other)


def _nothing_found(path: Path, found: _Findings) -> InputError:
    """Return the refusal that explains best why there is no CT."""
    if found.without_geometry:
        return InputError(
            "dicom-geometry",
            "The DICOM files do not state where the slices lie (position, orientation or pixel "
            "spacing is missing).",
            "Export the original series from the PACS, without changing or converting it.",
        )
    if found.other_images:
        kinds = ", ".join(sorted(found.other_images))
        return InputError(
            "dicom-no-ct",
            f"There are DICOM images, but no CT slices among them (found: {kinds}).",
            "Choose the folder of the chest CT series.",
        )
    if found.unreadable:
        return InputError(
            "input-truncated",
            f"{found.unreadable} DICOM file(s) were found, but none can be read.",
            "Copy or export the series again.",
        )
    if found.forbidden:
        return forbidden(path)
    if not found.other_files:
        return InputError(
            "input-empty",
            f"The folder {path.name!r} holds no files.",
            "Choose the folder of the chest CT series.",
        )
    return InputError(
        "input-format",
        f"{path.name!r} holds no DICOM files.",
        f"Choose a folder with a DICOM series, or one file ({', '.join(_IMAGE_FILES)}).",
    )
