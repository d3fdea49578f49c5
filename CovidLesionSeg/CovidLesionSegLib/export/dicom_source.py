"""The DICOM files behind a CT: what an object that refers to them has to know.

Only what is listed here is read from them, so that nothing else can get into an export.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.dicom import stack_of_files
from CovidLesionSegLib.engine.dicom_stack import Stack
from CovidLesionSegLib.engine.geometry import AxisOrientation
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.errors import CovidLesionSegError

from .dicom_identity import IDENTITY_KEYWORDS, check_uids, take_over
from .job import ExportJob

SAME_PLACE_MM = 0.05

_IMAGE_KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("FrameOfReferenceUID", "Rows", "Columns", "ImagePositionPatient", "NumberOfFrames"),
    *("ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("DimensionOrganizationSequence", "DimensionIndexSequence"),
)
_NEEDED = {
    "StudyInstanceUID": "study",
    "SeriesInstanceUID": "series",
    "FrameOfReferenceUID": "frame of reference",
}


@dataclass(frozen=True, eq=False)
class DicomSource:
    """The source images of a result.

    Attributes:
        images: Data sets without voxels, in the order of the stack; a single one for an
            enhanced CT. In anonymous mode the attributes of patient and study are empty.
        stack: Where the slices lie.
        identified: Whether patient and study are in `images`.
    """

    images: tuple[Any, ...]
    stack: Stack
    identified: bool

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID of the CT."""
        return str(self.images[0].SeriesInstanceUID)

    def frames(self, labels_zyx: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a label map as one frame per source frame: ``[frame, row, column]``.

        Args:
            labels_zyx: In LPS axis order, on the grid of the stack.
        """
        orientation = AxisOrientation.from_affine(self.stack.affine_lps)
        stacked = orientation.from_lps(labels_zyx)
        if self.stack.slices[0].frame is None:
            return stacked
        frames = np.zeros((int(self.images[0].NumberOfFrames), *stacked.shape[1:]), np.uint8)
        frames[[header.frame or 0 for header in self.stack.slices]] = stacked
        return frames

    def uid(self, *content: str) -> str:
        """Return a UID that is the same for the same series, content and degree of identity.

        So that a report written alone refers to the segmentation written before, and a second
        export of the same result is the same object for an archive.
        """
        from pydicom.uid import generate_uid

        return str(generate_uid(entropy_srcs=[self.series_uid, str(self.identified), *content]))


def write_object(
    job: ExportJob, path: Path, make: Callable[[ExportJob, DicomSource], Any]
) -> list[Path]:
    """Make one DICOM object of a job and write it.

    Args:
        job: A result whose CT came from DICOM.
        path: File to write.
        make: Makes the data set.

    Raises:
        CovidLesionSegError: See `read_source`; ``dicom-not-made``; ``output-not-written``; what
            ``make`` raises.
    """
    with writing_dicom():
        dataset = make(job, read_source(job))
        with atomic_path(path) as partial, partial.open("wb") as file:
            dataset.save_as(file, enforce_file_format=True)
    return [path]


@contextmanager
def writing_dicom() -> Iterator[None]:
    """Keep what the DICOM libraries remark off the screen and the log: it quotes the patient.

    Raises:
        CovidLesionSegError: ``dicom-not-made`` for what they refuse.
    """
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise CovidLesionSegError(
            "dicom-not-made",
            "The DICOM files of this CT hold something that no DICOM object can be made from.",
            "Choose NIfTI or .seg.nrrd, and report what --debug prints, without the patient's "
            "data.",
        ) from error
    finally:
        logger.setLevel(level)


def dicom_obstacle(job: ExportJob) -> str | None:
    """Return why no DICOM object can be made for a job, for people; None if it can, most likely."""
    provenance = job.result.ct.provenance
    if provenance.source not in ("dicom", "mrml") or not provenance.series_instance_uid:
        return (
            "This CT does not come from DICOM, and a DICOM object has to refer to the images it "
            "was made from. Segment the DICOM series itself, give it with --ct if this is the "
            "same CT, or choose NIfTI or .seg.nrrd."
        )
    if not provenance.files:
        return (
            "The DICOM files of the CT are not known. Give their folder with --ct; in 3D Slicer, "
            "load the series from the DICOM database."
        )
    if importlib.util.find_spec("highdicom") is None:
        return 'It needs highdicom: pip install "CovidLesionSegLib[dicom]", or 3D Slicer 5.12.'
    return None


def read_source(job: ExportJob) -> DicomSource:
    """Read the headers of the CT's DICOM files.

    Raises:
        CovidLesionSegError: ``dicom-source-grid`` when they don't form the grid of the result,
            ``dicom-source-incomplete`` when needed attributes are missing,
            ``dicom-uids-identify`` in anonymous mode when a UID holds a date or a number.
        InputError: Files gone, gaps between slices.
    """
    stack = stack_of_files(job.result.ct.provenance.files)
    _check_grid(stack, job.result)
    images = _read_images(stack)
    for keyword, meaning in _NEEDED.items():
        values = {str(image.get(keyword) or "") for image in images}
        if len(values) != 1 or "" in values:
            raise CovidLesionSegError(
                "dicom-source-incomplete",
                f"The DICOM files of the CT don't state one {meaning} for all ({keyword}).",
                "Choose NIfTI or .seg.nrrd, or export the original series from the PACS.",
            )
    if not job.identified:
        check_uids(images)
    for image in images:
        take_over(image, job.identified)
        _unify_geometry(image, stack)
    return DicomSource(images, stack, job.identified)


def masks_digest(result: SegmentationResult) -> str:
    """Return a SHA-256 over all label maps of a result."""
    sha = hashlib.sha256()
    for name, labels in result.layers.items():
        if labels is not None:
            sha.update(name.encode())
            sha.update(np.ascontiguousarray(labels).data)
    return sha.hexdigest()


def _check_grid(stack: Stack, result: SegmentationResult) -> None:
    shape_kji = (len(stack.slices), *stack.slices[0].shape)
    orientation = AxisOrientation.from_affine(stack.affine_lps)
    shape_zyx = tuple(shape_kji[2 - axis] for axis in orientation.source_axis[::-1])
    affine = orientation.affine_to_lps_order(stack.affine_lps, shape_kji)
    corners = np.array(
        [
            [x, y, z, 1]
            for z in (0, shape_zyx[0])
            for y in (0, shape_zyx[1])
            for x in (0, shape_zyx[2])
        ]
    )
    same = shape_zyx == result.ct.shape_zyx and np.allclose(
        corners @ affine.T, corners @ result.ct.affine_lps.T, atol=SAME_PLACE_MM
    )
    if not same:
        raise CovidLesionSegError(
            "dicom-source-grid",
            "The segmentation does not lie on the grid of the DICOM series: the CT was "
            "resampled, cropped or moved since it was loaded.",
            "Segment the original series, or choose NIfTI or .seg.nrrd.",
        )


def _read_images(stack: Stack) -> tuple[Any, ...]:
    from pydicom import dcmread

    keywords = [*_IMAGE_KEYWORDS, *IDENTITY_KEYWORDS]
    paths = dict.fromkeys(Path(header.path) for header in stack.slices)
    return tuple(dcmread(path, stop_before_pixels=True, specific_tags=keywords) for path in paths)


def _unify_geometry(image: Any, stack: Stack) -> None:
    """Write the stack's orientation and spacing into a slice.

    Slices of one series may differ by rounding, and may lack a thickness; positions stay.
    """
    if "PerFrameFunctionalGroupsSequence" in image:
        return
    first = stack.slices[0]
    step_mm = float(np.linalg.norm(stack.affine_lps[:3, 2]))
    image.ImageOrientationPatient = [float(f"{value:.10g}") for value in first.orientation]
    image.PixelSpacing = list(first.pixel_spacing_mm)
    image.SliceThickness = round(first.thickness_mm or step_mm, 6)
