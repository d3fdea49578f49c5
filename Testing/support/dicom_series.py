"""Small synthetic DICOM series, whole or damaged on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from Testing.support.synthetic_ct import chest_hu

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SPACING_MM = (6.5, 6.0, 5.0)
"""Between rows, between columns, between slices."""


@dataclass
class Series:
    """A CT series of a synthetic chest; change the data sets, then write them.

    Attributes:
        hu: int16 ``[k, row, column]``, what a reader must return for axial slices.
        datasets: One per slice, from feet to head.
    """

    hu: NDArray[np.int16] = field(default_factory=chest_hu)
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0)
    step_mm: tuple[float, float, float] = (0.0, 0.0, SPACING_MM[2])
    origin_mm: tuple[float, float, float] = (-150.0, -140.0, -60.0)
    tags: dict[str, Any] = field(default_factory=dict)
    datasets: list[Dataset] = field(init=False)

    def __post_init__(self) -> None:
        uid = generate_uid(entropy_srcs=[repr(sorted(self.tags.items())), repr(self.step_mm)])
        self.datasets = [self._slice(uid, index) for index in range(len(self.hu))]

    def _slice(self, series_uid: str, index: int) -> Dataset:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CT_IMAGE
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series_uid, str(index)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.SeriesInstanceUID = series_uid
        dataset.StudyInstanceUID = "1.2.3"
        dataset.Modality = "CT"
        dataset.PatientName = "Secret^Name"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.SeriesNumber = 2
        dataset.InstanceNumber = index + 1
        dataset.ImageOrientationPatient = list(self.orientation)
        dataset.ImagePositionPatient = [
            round(start + index * step, 6)
            for start, step in zip(self.origin_mm, self.step_mm, strict=True)
        ]
        dataset.PixelSpacing = list(SPACING_MM[:2])
        dataset.SliceThickness = SPACING_MM[2]
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation = 0
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.Rows, dataset.Columns = self.hu.shape[1:]
        dataset.PixelData = (self.hu[index].astype(np.int32) + 1024).astype("<u2").tobytes()
        for keyword, value in self.tags.items():
            setattr(dataset, keyword, value)
        return dataset

    def write(self, folder: Path, order: Iterable[int] | None = None, prefix: str = "IM") -> Path:
        """Write the slices with file names in another order than their positions."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, index in enumerate(order if order is not None else range(len(self.datasets))):
            name = f"{prefix}{number:04d}.dcm"
            self.datasets[index].save_as(folder / name, enforce_file_format=True)
        return folder


def enhanced(series: Series) -> Dataset:
    """Return the series as one enhanced CT, with frames in reverse order."""
    multi = series.datasets[0]
    multi.SOPClassUID = multi.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    frames = []
    for source in series.datasets[::-1]:
        frame, plane, rescale = Dataset(), Dataset(), Dataset()
        plane.ImagePositionPatient = source.ImagePositionPatient
        rescale.RescaleSlope, rescale.RescaleIntercept = 1, -1024
        frame.PlanePositionSequence = Sequence([plane])
        frame.PixelValueTransformationSequence = Sequence([rescale])
        frames.append(frame)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = multi.PixelSpacing, multi.SliceThickness
    orientation.ImageOrientationPatient = multi.ImageOrientationPatient
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    pixels = b"".join(source.PixelData for source in series.datasets[::-1])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(multi, keyword)
    del multi.RescaleSlope, multi.RescaleIntercept
    multi.SharedFunctionalGroupsSequence = Sequence([shared])
    multi.PerFrameFunctionalGroupsSequence = Sequence(frames)
    multi.NumberOfFrames = len(frames)
    multi.PixelData = pixels
    return multi
