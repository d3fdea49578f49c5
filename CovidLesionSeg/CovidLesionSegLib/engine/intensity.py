"""Is this a CT in Hounsfield units? Checks of the voxels, by their histogram."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CovidLesionSegLib.errors import InputError

from .refusals import not_finite, rescale_missing

_OFFSET = 32768
_SAMPLE_SHAPE_ZYX = (64, 160, 160)
_CHUNK_SLICES = 16

AIR_BELOW_HU = -700
MIN_AIR_FRACTION = 0.005
SOFT_TISSUE_HU = (-250, 250)
MIN_SOFT_TISSUE_FRACTION = 0.01
MUSCLE_SEARCH_HU = (0, 200)
MUSCLE_HU = (5, 85)
CONTRAST_ABOVE_MUSCLE_HU = (60, 400)
MIN_CONTRAST_FRACTION = 0.15
_BODY_HU = -300
_LUNG_HU = (-950, -400)

Histogram = NDArray[np.int64]
"""Counts of the 65,536 values of int16; HU + 32768 is the index."""


def to_int16(array_kji: NDArray[Any]) -> NDArray[np.int16]:
    """Return the voxels as int16 HU, rounded; int16 input is returned as it is.

    Other types are checked and converted in chunks of slices, so that no second copy in
    floating point is made.

    Args:
        array_kji: 3D array of any real dtype.

    Raises:
        InputError: ``input-not-scalar``, ``input-not-finite``, ``input-normalised`` or
            ``input-hu-range``.
    """
    if array_kji.dtype == np.int16:
        return array_kji
    if array_kji.dtype.kind not in "iufb":
        raise InputError(
            "input-not-scalar",
            f"The voxels are of type {array_kji.dtype}, not plain numbers.",
            "Use the original CT in Hounsfield units.",
        )
    _check_range(array_kji)
    converted = np.empty(array_kji.shape, dtype=np.int16)
    for start in range(0, len(array_kji), _CHUNK_SLICES):
        chunk = array_kji[start : start + _CHUNK_SLICES]
        if chunk.dtype.kind == "f":
            chunk = np.rint(chunk)
        converted[start : start + _CHUNK_SLICES] = chunk.astype(np.int16)
    return converted


def _check_range(array_kji: NDArray[Any]) -> None:
    low, high = np.inf, -np.inf
    for start in range(0, len(array_kji), _CHUNK_SLICES):
        chunk = array_kji[start : start + _CHUNK_SLICES]
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
        # min and max of a chunk with NaN are NaN, and of one with infinity infinite.
        if not (np.isfinite(chunk.min()) and np.isfinite(chunk.max())):
            raise not_finite()
    if array_kji.dtype.kind == "f" and low < high:
        _check_not_normalised(low, high)
    if low < -_OFFSET or high > _OFFSET - 1:
        raise InputError(
            "input-hu-range",
            f"The intensities reach from {low:.4g} to {high:.4g}, beyond any CT's.",
            "Use the original CT in Hounsfield units; replace padding values by -1024.",
        )


def _check_not_normalised(low: float, high: float) -> None:
    if high - low < 64:
        raise InputError(
            "input-normalised",
            f"The intensities reach only from {low:.4g} to {high:.4g}: a normalised image or a "
            "label map, not a CT.",
            "Use the original CT in Hounsfield units, not an image normalised for a network "
            "or for display.",
        )


def check_intensity(hu_zyx: NDArray[np.int16]) -> None:
    """Refuse voxels that are not Hounsfield units of a body with air around or in it.

    Values clipped at the ends of a window, or made from 8-bit images by a right rescale,
    pass.

    Args:
        hu_zyx: int16 ``[z, y, x]``.

    Raises:
        InputError: ``input-blank``, ``input-normalised``, ``input-8-bit``,
            ``input-rescale-missing``, ``input-not-ct``, ``input-no-air`` or
            ``input-no-soft-tissue``.
    """
    low, high = int(hu_zyx.min()), int(hu_zyx.max())
    if low == high:
        raise InputError(
            "input-blank",
            f"All voxels have the same value ({low}).",
            "The export has failed; export the CT again.",
        )
    _check_not_normalised(low, high)
    if high - low <= 255:
        raise InputError(
            "input-8-bit",
            f"The intensities reach from {low} to {high}: an 8-bit picture, not a CT.",
            "Use the original CT in Hounsfield units, not exported pictures (JPG, PNG) or "
            "an image converted to 8 bits.",
        )
    _check_histogram(_histogram(_sample(hu_zyx)), low, high)


def _check_histogram(counts: Histogram, low: int, high: int) -> None:
    if _has_unscaled_peaks(counts, low):
        raise rescale_missing(low)
    if low >= 0:
        raise InputError(
            "input-not-ct",
            f"The intensities ({low} to {high}) look like MR or PET, not like CT.",
            "Use a chest CT in Hounsfield units, where air is near -1000 and water is 0.",
        )
    if _fraction(counts, -_OFFSET, AIR_BELOW_HU) < MIN_AIR_FRACTION:
        raise InputError(
            "input-no-air",
            "There is hardly any air in this image, so it shows no lungs or is no CT in "
            "Hounsfield units.",
            "Use a chest CT in Hounsfield units, where air is near -1000 and water is 0.",
        )
    if _fraction(counts, *SOFT_TISSUE_HU) < MIN_SOFT_TISSUE_FRACTION:
        raise InputError(
            "input-no-soft-tissue",
            "There is hardly any soft tissue near 0 HU in this image.",
            "The rescale may have been applied twice, or everything but the lungs was removed. "
            "Use the original CT.",
        )


def hu_offset_suspected(hu_zyx: NDArray[np.int16]) -> bool:
    """Return whether muscle lies outside 5..85 HU, as in HU made from display windows."""
    muscle_hu = _muscle_hu(_histogram(_sample(hu_zyx)))
    return not MUSCLE_HU[0] <= muscle_hu <= MUSCLE_HU[1]


def contrast_suspected(
    hu_zyx: NDArray[np.int16], spacing_mm_zyx: tuple[float, float, float]
) -> bool:
    """Return whether heart and great vessels are much brighter than muscle.

    Compared with muscle instead of a fixed HU, the test is not misled by shifted HU. Looks
    at slices averaged over about 6 mm, in a box in front of the spine on the levels with
    most lung.

    Args:
        hu_zyx: int16 ``[z, y, x]`` in LPS axis order.
        spacing_mm_zyx: Voxel edge lengths in mm.
    """
    depth = len(hu_zyx)
    levels = np.unique(np.linspace(0, depth - 1, min(depth, 40)).astype(int))
    step_yx = tuple(max(1, round(3.0 / edge)) for edge in spacing_mm_zyx[1:])
    thin = hu_zyx[levels][:, :: step_yx[0], :: step_yx[1]]
    box = _body_box(thin)
    if box is None:
        return False
    y0, height, x0, width = box
    chest = thin[:, y0 + height // 5 : y0 + 4 * height // 5, x0 : x0 + width]
    lung = ((chest > _LUNG_HU[0]) & (chest < _LUNG_HU[1])).mean(axis=(1, 2))
    smooth_yx = tuple(max(1, round(6.0 / edge)) for edge in spacing_mm_zyx[1:])
    values = []
    for level in levels[lung >= np.median(lung)]:
        mean = ndimage.uniform_filter(hu_zyx[level].astype(np.float32), smooth_yx)
        mean = mean[:: step_yx[0], :: step_yx[1]]
        rows = slice(y0 + int(0.22 * height), y0 + int(0.55 * height))
        values.append(mean[rows, x0 + int(0.35 * width) : x0 + int(0.68 * width)].ravel())
    hu = np.concatenate(values)
    muscle_hu = _muscle_hu(_histogram(_sample(hu_zyx)))
    low, high = (muscle_hu + above for above in CONTRAST_ABOVE_MUSCLE_HU)
    tissue = np.count_nonzero((hu > muscle_hu - 50) & (hu < high))
    bright = np.count_nonzero((hu > low) & (hu < high))
    return bool(tissue > 0 and bright > MIN_CONTRAST_FRACTION * tissue)


def _body_box(thin_zyx: NDArray[np.int16]) -> tuple[int, int, int, int] | None:
    """Return first row, height, first column and width of the body, without the table.

    None when there is no body, or one of less than 16 samples (about 50 mm) in one direction.
    """
    labels, count = ndimage.label((thin_zyx > _BODY_HU).mean(axis=0) > 0.5)
    if count == 0:
        return None
    largest = int(np.bincount(labels.ravel())[1:].argmax())
    rows, columns = ndimage.find_objects(labels)[largest]
    height, width = rows.stop - rows.start, columns.stop - columns.start
    return (rows.start, height, columns.start, width) if min(height, width) >= 16 else None


def _sample(hu_zyx: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return a regular subset of about 1.6 million voxels at most."""
    steps = (
        max(1, count // wanted)
        for count, wanted in zip(hu_zyx.shape, _SAMPLE_SHAPE_ZYX, strict=True)
    )
    return hu_zyx[tuple(slice(None, None, step) for step in steps)]


def _histogram(hu: NDArray[np.int16]) -> Histogram:
    return np.bincount(hu.ravel().astype(np.int32) + _OFFSET, minlength=2 * _OFFSET)


def _fraction(counts: Histogram, low_hu: int, high_hu: int) -> float:
    return float(counts[low_hu + _OFFSET : high_hu + _OFFSET].sum() / counts.sum())


def _muscle_hu(counts: Histogram) -> float:
    """Return the HU of the muscle peak: the highest one above fat."""
    low, high = MUSCLE_SEARCH_HU
    margin = 50
    window = counts[low - margin + _OFFSET : high + margin + _OFFSET].astype(np.float64)
    smooth = ndimage.gaussian_filter1d(window, 8.0)[margin:-margin]
    return float(low + int(smooth.argmax()))


def _has_unscaled_peaks(counts: Histogram, lowest: int) -> bool:
    """Return whether soft tissue lies about 1000 above air, and air at or above 0.

    A scan with padding below 0 outside the scanned circle is recognised by its soft tissue
    near 1024 instead of 0: bone never fills a tenth of the body.
    """
    if lowest < 0:
        return _fraction(counts, 850, 1300) > 0.1
    median = int(np.searchsorted(counts.cumsum(), counts.sum() / 2))
    air = int(counts[: median + 1].argmax()) - _OFFSET
    tissue = _fraction(counts, air + 850, min(air + 1300, _OFFSET))
    valley = _fraction(counts, air + 400, min(air + 700, _OFFSET))
    return tissue > 0.08 and tissue > 2 * valley
