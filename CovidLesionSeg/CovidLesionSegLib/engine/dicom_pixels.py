"""Decode DICOM slices to Hounsfield units."""

from __future__ import annotations

import itertools
import logging
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .dicom_stack import SliceHeader
from .guards import MAX_VOXELS, MIN_SLICES
from .intensity import to_int16
from .refusals import damaged

log = logging.getLogger(__name__)

AIR_HU = -1024


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep warnings about values that don't conform to the standard off stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_slices(headers: Iterable[SliceHeader]) -> Iterator[NDArray[np.int16]]:
    """Yield slices as int16 HU ``[row, column]``, in the order of their headers.

    Every slice's own rescale is applied; without one the stored values are returned, for
    the guards to judge. Padding below the HU of air becomes -1024.

    Raises:
        InputError: ``input-truncated``, ``input-too-large``, ``input-hu-range`` or
            ``dicom-decode``.
    """
    for path, group in itertools.groupby(headers, key=lambda header: header.path):
        slices = list(group)
        for header in slices:
            if math.prod(header.shape) > MAX_VOXELS // MIN_SLICES:
                raise damaged(path.name, "the size in its header is impossible")
        if _pydicom_decodes(slices[0].transfer_syntax):
            stored = _stored_values(path, slices)
            for header, values in zip(slices, stored, strict=True):
                yield _finished(header, _rescaled(header, values))
        else:
            for header in slices:
                yield _finished(header, _gdcm_values(header))


def _pydicom_decodes(transfer_syntax: str) -> bool:
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    try:
        with quiet_pydicom():
            return bool(get_decoder(UID(transfer_syntax)).is_available)
    except NotImplementedError:
        return False


def _stored_values(path: Path, slices: Sequence[SliceHeader]) -> list[NDArray[Any]]:
    from pydicom import dcmread
    from pydicom.pixels import iter_pixels
    from pydicom.uid import UID

    try:
        with quiet_pydicom():
            dataset = dcmread(path, force=True)
            dataset.file_meta.TransferSyntaxUID = UID(slices[0].transfer_syntax)
            frames = [header.frame or 0 for header in slices]
            return [np.asarray(values) for values in iter_pixels(dataset, indices=frames)]
    # pydicom and its decoders raise almost every built-in exception on damaged files.
    except Exception as error:
        log.debug("pydicom can't decode %s: %s", path.name, error)
        raise damaged(path.name, "its voxels can't be decoded") from error


def _gdcm_values(header: SliceHeader) -> NDArray[Any]:
    """Decode with the GDCM inside SimpleITK, which applies the rescale itself."""
    import SimpleITK as sitk  # noqa: N813

    try:
        if header.frame is not None:
            raise RuntimeError("GDCM would apply one rescale to all frames")
        image = sitk.ReadImage(str(header.path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        log.debug("GDCM can't decode %s: %s", header.path.name, error)
        raise InputError(
            "dicom-decode",
            f"{header.path.name} is damaged, or compressed in a way that can't be decoded here.",
            "Export the series uncompressed (Explicit VR Little Endian) from the PACS.",
        ) from error
    values = np.asarray(sitk.GetArrayFromImage(image))
    return values[0] if values.ndim == 3 and len(values) == 1 else values


def _rescaled(header: SliceHeader, stored: NDArray[Any]) -> NDArray[Any]:
    slope, intercept = header.rescale or (1.0, 0.0)
    if slope == 1.0 and intercept.is_integer():
        return stored.astype(np.int32) + int(intercept)
    return stored * slope + intercept


def _finished(header: SliceHeader, hu: NDArray[Any]) -> NDArray[np.int16]:
    """Replace padding and return int16."""
    if hu.shape != header.shape:
        raise damaged(header.path.name, "its size differs from its header")
    if header.padding is not None:
        slope, intercept = header.rescale or (1.0, 0.0)
        ends = [limit * slope + intercept for limit in header.padding]
        # Padding that equals a HU of the body is kept: it would punch holes.
        if max(ends) < AIR_HU or min(ends) > np.iinfo(np.int16).max:
            hu = np.where((hu >= min(ends)) & (hu <= max(ends)), AIR_HU, hu)
    return to_int16(hu)
