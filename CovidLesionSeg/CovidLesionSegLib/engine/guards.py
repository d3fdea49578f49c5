"""Guards: which input is refused before any computing, and which is only flagged.

A guard refuses when a result would be wrong, and flags when it would be right but needs a
caveat. Refusals are `InputError` (exit code 2); flags travel in `CtVolume.flags` and end in
every table row, with the sentence in `FLAG_TEXT`.

=============================  ==========================================================
Refused, by code               When
=============================  ==========================================================
``input-not-found``            Nothing at this path, or neither a file nor a folder.
``input-permission``           The file or folder may not be read.
``input-empty``                An empty file, or a folder without any file.
``input-format``               No image, or a format that is not supported.
``input-truncated``            The file ends early, or its voxels can't be decoded.
``input-not-3d``               2D, 4D, or an axis without voxels.
``input-not-scalar``           RGB, vector or complex voxels.
``input-too-few-slices``       Fewer than 8 axial slices.
``input-too-many-slices``      More than 2,000 axial slices.
``input-too-large``            More than 2^31 voxels.
``input-spacing``              A voxel edge is not finite, not positive, below 0.1 or above
                               20 mm.
``input-spacing-conflict``     The header states two different spacings.
``input-field-of-view``        Less than 50 mm or more than 1,000 mm across, less than 5 mm
                               or more than 2,500 mm high.
``input-orientation``          Direction cosines that are not finite or not independent, or a
                               NIfTI whose qform and sform contradict each other.
``input-sheared``              Gantry tilt or shear above 0.2 degrees.
``input-slice-gap``            DICOM slices are missing.
``input-slice-spacing``        DICOM slices are unevenly spaced by more than a fifth.
``input-duplicate-slices``     DICOM slices that differ share one position and nothing in
                               the headers tells the acquisitions apart.
``input-not-finite``           NaN or infinite voxels.
``input-hu-range``             Values beyond 16 bits signed.
``input-blank``                All voxels are equal.
``input-normalised``           A range of less than 64: normalised images, label maps.
``input-8-bit``                Grey values 0 to 255 (or any range of 8 bits).
``input-rescale-missing``      CT numbers with an offset, or a rescale that is unusable.
``input-not-ct``               An intensity histogram as of MR or PET.
``input-no-air``               Hardly any voxel below -700 HU.
``input-no-soft-tissue``       Hardly any voxel near 0 HU.
``dicom-no-ct``                DICOM images, but no CT series among them.
``dicom-series``               The series that was asked for is not there.
``dicom-geometry``             Position, orientation or pixel spacing is missing.
``dicom-decode``               Compressed in a way that can't be decoded here.
=============================  ==========================================================

==========================  =============================================================
Flagged                     When
==========================  =============================================================
``thick-slices``            Slices more than 8 mm apart.
``non-axial``               The slices are not axial (columns and rows differ in size, or
                            a DICOM series with coronal or sagittal slices).
``oblique``                 The slices are tilted by more than 20 degrees.
``contrast-suspected``      More than 15 % of the mediastinum is at least 60 HU brighter
                            than muscle.
``hu-offset-suspected``     Muscle is not between 5 and 85 HU.
``orientation-unknown``     The file does not say where left, front and top are.
``spacing-unknown``         All voxel edges are exactly 1 mm and the origin is 0.
``uneven-slices``           DICOM slices uneven by 5 to 20 % of their distance.
``slices-not-contiguous``   DICOM slices thinner than two thirds of their distance.
``duplicates-dropped``      The same DICOM slice was there more than once.
``several-series``          The folder holds several CT series; the largest underived one is used.
``several-acquisitions``    The DICOM series holds more than one stack; the largest is used.
``derived-series``          Only derived DICOM images (reformatted or processed) were there.
``unreadable-files``        Some DICOM files could not be read and were left out.
==========================  =============================================================

No lung found, and lungs that touch the border, belong to the lung stage.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .geometry import Affine, AxisOrientation
from .intensity import check_intensity, contrast_suspected, hu_offset_suspected, to_int16
from .refusals import disoriented, sheared, too_large
from .volume import CtVolume, Provenance

MIN_SLICES = 8
MAX_SLICES = 2000
MAX_VOXELS = 2**31
VOXEL_EDGE_MM = (0.1, 20.0)
IN_PLANE_EXTENT_MM = (50.0, 1000.0)
AXIAL_EXTENT_MM = (5.0, 2500.0)
THICK_SLICES_MM = 8.0
MAX_SHEAR_DEG = 0.2
"""Over 300 mm of lung, 0.2 degrees shift the last slice by 1 mm."""
MAX_ORIGIN_MM = 1e6
OBLIQUE_DEG = 20.0
MAX_PIXEL_ASPECT = 1.25

FLAG_TEXT = {
    "thick-slices": "The slices are more than 8 mm apart; small lesions can be missed.",
    "non-axial": "The slices are not axial; the models were made for axial slices.",
    "oblique": "The slices are tilted by more than 20 degrees against the axial plane.",
    "contrast-suspected": "Contrast medium is likely; HU of lesions may be too high.",
    "hu-offset-suspected": "Air or muscle is off its usual HU; HU of lesions may be shifted.",
    "orientation-unknown": "The file does not state left and right; both may be swapped.",
    "spacing-unknown": "The voxel size looks like a placeholder; volumes in ml may be wrong.",
    "uneven-slices": "The slices are slightly unevenly spaced; volumes are approximate.",
    "slices-not-contiguous": "There are gaps between the slices; volumes are estimates.",
    "duplicates-dropped": "Slices that were there twice were used once.",
    "several-acquisitions": "The series holds several acquisitions; the largest was used.",
    "several-series": "The folder holds several CT series; the largest underived was used.",
    "derived-series": "The series was derived from another one (reformatted or processed).",
    "unreadable-files": "Some files of the folder could not be read and were left out.",
}
"""One plain sentence for each flag a guard can raise."""


def checked_volume(
    hu_kji: NDArray[Any],
    affine_lps: Affine,
    provenance: Provenance | None = None,
    flags: tuple[str, ...] = (),
) -> CtVolume:
    """Make a `CtVolume` from an array on any grid, through all guards.

    Args:
        hu_kji: HU indexed ``[k, j, i]``, any real dtype; floats are rounded.
        affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm.
        provenance: Where the array came from.
        flags: What a reader has already found.

    Raises:
        InputError: Any of the codes in this module's table.
    """
    array = np.asarray(hu_kji)
    affine = np.asarray(affine_lps, dtype=np.float64)
    if array.ndim == 4 and 1 < array.shape[3] <= 4:  # colour and vector images
        check_header(array.shape[:3], affine, components=array.shape[3])
    header_flags = check_header(array.shape, affine)
    ct = CtVolume.from_array(to_int16(array), affine, provenance)
    voxel_flags = check_voxels(ct.hu, ct.spacing_mm_zyx)
    return replace(ct, flags=tuple(dict.fromkeys((*flags, *header_flags, *voxel_flags))))


def check_header(
    shape_kji: tuple[int, ...], affine_lps: Affine, components: int = 1
) -> tuple[str, ...]:
    """Check size and geometry; needs no voxels, so that it can run before they are read.

    Args:
        shape_kji: Number of voxels along ``(k, j, i)``; any number of axes.
        affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm.
        components: Values per voxel.

    Returns:
        Flags, the same for every permuted or flipped copy of a grid.

    Raises:
        InputError: See this module's table.
    """
    _check_scalar_3d(shape_kji, components)
    spacing_mm = check_affine(affine_lps)
    orientation = AxisOrientation.from_affine(affine_lps)
    x, y, z = (shape_kji[2 - axis] for axis in orientation.source_axis)
    x_mm, y_mm, z_mm = (spacing_mm[axis] for axis in orientation.source_axis)
    _check_size((z, y, x))
    _check_extent((z * z_mm, y * y_mm, x * x_mm))
    flags = []
    if z_mm > THICK_SLICES_MM:
        flags.append("thick-slices")
    if max(x_mm, y_mm) / min(x_mm, y_mm) > MAX_PIXEL_ASPECT:
        flags.append("non-axial")
    if _tilt_deg(affine_lps, orientation) > OBLIQUE_DEG:
        flags.append("oblique")
    if spacing_mm == (1.0, 1.0, 1.0) and not affine_lps[:3, 3].any():
        flags.append("spacing-unknown")
    return tuple(flags)


def check_voxels(
    hu_zyx: NDArray[np.int16], spacing_mm_zyx: tuple[float, float, float]
) -> tuple[str, ...]:
    """Check that the voxels are Hounsfield units of a chest with air and soft tissue.

    Args:
        hu_zyx: int16 ``[z, y, x]`` in LPS axis order.
        spacing_mm_zyx: Voxel edge lengths in mm.

    Returns:
        Flags.

    Raises:
        InputError: See this module's table.
    """
    check_intensity(hu_zyx)
    flags = []
    if hu_offset_suspected(hu_zyx):
        flags.append("hu-offset-suspected")
    if contrast_suspected(hu_zyx, spacing_mm_zyx):
        flags.append("contrast-suspected")
    return tuple(flags)


def check_affine(affine_lps: Affine) -> tuple[float, float, float]:
    """Check spacing, direction and shear of a grid.

    Args:
        affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm.

    Returns:
        The voxel edge lengths along ``(i, j, k)`` in mm.

    Raises:
        InputError: ``input-spacing``, ``input-orientation`` or ``input-sheared``.
    """
    if affine_lps.shape != (4, 4) or not np.isfinite(affine_lps).all():
        raise disoriented("it is not made of numbers")
    if np.abs(affine_lps[:3, 3]).max() > MAX_ORIGIN_MM:
        raise disoriented("the origin is kilometres away")
    columns = affine_lps[:3, :3]
    with np.errstate(over="ignore"):
        edges = np.linalg.norm(columns, axis=0)
    check_spacing(tuple(float(edge) for edge in edges))
    cosines = (columns / edges).T @ (columns / edges)
    largest = float(np.abs(cosines[np.triu_indices(3, 1)]).max())
    if largest > 0.9:
        raise disoriented("the image axes are not independent of each other")
    if largest > math.sin(math.radians(MAX_SHEAR_DEG)):
        raise sheared(math.degrees(math.asin(largest)))
    i, j, k = (float(edge) for edge in edges)
    return i, j, k


def check_spacing(spacing_mm: tuple[float, ...]) -> None:
    """Refuse voxel edges that are not finite, not positive or absurd."""
    low, high = VOXEL_EDGE_MM
    # Writing the comparison this way round also refuses NaN.
    if not all(low <= edge <= high for edge in spacing_mm):
        listed = " x ".join(f"{edge:.4g}" for edge in spacing_mm)
        raise InputError(
            "input-spacing",
            f"The voxel size of {listed} mm is not that of a CT.",
            "Voxel edges must lie between 0.1 and 20 mm. Correct the spacing in the header, or "
            "export the CT again from the original DICOM series.",
        )


def _check_scalar_3d(shape_kji: tuple[int, ...], components: int) -> None:
    if len(shape_kji) != 3 or min(shape_kji) < 1:
        kinds = {2: "a single 2D image", 4: "a series of volumes over time"}
        kind = kinds.get(len(shape_kji), f"an image of {len(shape_kji)} axes")
        if len(shape_kji) == 3:
            kind = "an image without voxels"
        raise InputError(
            "input-not-3d",
            f"This is {kind}, not one 3D CT volume.",
            "Export one 3D volume; of a 4D image, save a single time point.",
        )
    if components != 1:
        raise InputError(
            "input-not-scalar",
            f"Every voxel holds {components} values (colour, vector or complex), not one.",
            "Use the original CT in Hounsfield units, not a colour or vector image.",
        )


def _check_size(shape_zyx: tuple[int, int, int]) -> None:
    z, y, x = shape_zyx
    if z < MIN_SLICES:
        raise InputError(
            "input-too-few-slices",
            f"The CT has {z} axial slices; at least {MIN_SLICES} are needed.",
            "Use the full chest series, not a scout view or a few selected slices.",
        )
    if z > MAX_SLICES:
        raise InputError(
            "input-too-many-slices",
            f"The CT has {z:,} axial slices; at most {MAX_SLICES:,} are supported.",
            "Crop the scan to the chest, or use thicker slices.",
        )
    if z * y * x > MAX_VOXELS:
        raise too_large((x, y, z))


def _check_extent(extent_mm_zyx: tuple[float, float, float]) -> None:
    z, y, x = extent_mm_zyx
    low, high = IN_PLANE_EXTENT_MM
    in_plane = low <= min(y, x) and max(y, x) <= high
    if not (in_plane and AXIAL_EXTENT_MM[0] <= z <= AXIAL_EXTENT_MM[1]):
        raise InputError(
            "input-field-of-view",
            f"The image measures {x:.0f} x {y:.0f} x {z:.0f} mm; that is not a chest CT.",
            "Check the voxel size in the header (millimetres, not centimetres or micrometres), "
            "or export the CT again.",
        )


def _tilt_deg(affine_lps: Affine, orientation: AxisOrientation) -> float:
    column = affine_lps[:3, orientation.source_axis[2]]
    cosine = abs(float(column[2])) / float(np.linalg.norm(column))
    return math.degrees(math.acos(min(1.0, cosine)))
