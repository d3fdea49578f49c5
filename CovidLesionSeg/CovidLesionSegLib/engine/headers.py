"""What the headers of NIfTI, NRRD and MetaImage files say that SimpleITK does not pass on.

SimpleITK reads the voxels and the geometry. Measured with ITK 5.4, it turns a NIfTI spacing
of zero or NaN into 1 mm, silently takes the unsheared qform of a scan whose sform is
sheared and one of both where they contradict each other, ignores a rescale that is not a
number, and does not tell whether a file states its orientation at all. These facts are read
here, from the header's bytes.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .guards import check_affine, check_spacing
from .payload import FileHeader, check_voxel_count, is_gzip, read_start
from .refusals import damaged, disoriented

_MAX_TEXT_HEADER = 1 << 20
_MAX_SPACING_CONFLICT = 0.02
_MAX_ORIENTATION_CONFLICT_DEG = 2.0

_NIFTI_FIELDS = {
    # name: (format, offset) in NIfTI-1 and in NIfTI-2
    "dim": (("8h", 40), ("8q", 16)),
    "datatype": (("h", 70), ("h", 12)),
    "bitpix": (("h", 72), ("h", 14)),
    "pixdim": (("8f", 76), ("8d", 104)),
    "vox_offset": (("f", 108), ("q", 168)),
    "scl_slope": (("f", 112), ("d", 176)),
    "scl_inter": (("f", 116), ("d", 184)),
    "qform_code": (("h", 252), ("i", 344)),
    "sform_code": (("h", 254), ("i", 348)),
    "quatern": (("6f", 256), ("6d", 352)),
    "srow": (("12f", 280), ("12d", 400)),
}
_NIFTI_BITS = {
    **{2: 8, 256: 8, 4: 16, 512: 16, 8: 32, 768: 32, 1024: 64, 1280: 64, 16: 32, 64: 64},
    **{32: 64, 1792: 128, 128: 24, 2304: 32},  # complex and colour, refused later
}
"""Bits per voxel by datatype code."""
_NIFTI_FLOATS = {16: "f4", 64: "f8"}

_NRRD_ANATOMICAL_SPACES = {
    *("right-anterior-superior", "ras"),
    *("left-anterior-superior", "las"),
    *("left-posterior-superior", "lps"),
}
_NRRD_BYTES = {
    1: ("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"),
    2: (
        *("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
        *("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    ),
    4: ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "float"),
    8: ("double", "longlong", "long long", "int64", "int64_t", "ulonglong", "uint64"),
}
_METAIMAGE_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "FLOAT": 4, "DOUBLE": 8}


def read_header(path: Path, source: str) -> FileHeader:
    """Read and check a header.

    Args:
        path: Image file.
        source: ``"nifti"``, ``"nrrd"`` or ``"metaimage"``.

    Raises:
        InputError: ``input-truncated``, ``input-not-3d``, ``input-too-large``,
            ``input-spacing``, ``input-spacing-conflict``, ``input-orientation``,
            ``input-sheared`` or ``input-rescale-missing``.
    """
    readers = {"nifti": _read_nifti, "nrrd": _read_nrrd, "metaimage": _read_metaimage}
    try:
        return readers[source](path)
    except (ValueError, KeyError, StopIteration, struct.error, OverflowError) as error:
        raise damaged(path.name, "its header is damaged") from error


@dataclass(frozen=True)
class _NiftiFields:
    raw: bytes
    order: str
    version: int

    def __getitem__(self, name: str) -> tuple[float, ...]:
        kind, offset = _NIFTI_FIELDS[name][self.version - 1]
        return struct.unpack_from(self.order + kind, self.raw, offset)


def _nifti_fields(path: Path) -> _NiftiFields:
    raw = read_start(path, 540)
    for order in "<>":
        size = struct.unpack_from(order + "i", raw)[0]
        if size == 348 and raw[344:347] == b"n+1":
            return _NiftiFields(raw, order, 1)
        if size == 540 and raw[4:7] == b"n+2":
            return _NiftiFields(raw, order, 2)
    raise damaged(path.name, "it is not a NIfTI image in a single file")


def _read_nifti(path: Path) -> FileHeader:
    fields = _nifti_fields(path)
    dim = tuple(int(count) for count in fields["dim"])
    if not 1 <= dim[0] <= 7:
        raise ValueError(f"{dim[0]} axes")
    voxels = check_voxel_count(dim[1 : dim[0] + 1])
    bits, offset = int(fields["bitpix"][0]), int(fields["vox_offset"][0])
    datatype = int(fields["datatype"][0])
    if _NIFTI_BITS.get(datatype) != bits or offset < 0:
        raise ValueError(f"{bits} bits per voxel of type {datatype} at offset {offset}")
    _check_nifti_rescale(fields["scl_slope"][0], fields["scl_inter"][0])
    has_sform = fields["sform_code"][0] > 0
    if dim[0] >= 3:
        sform = np.array(fields["srow"], dtype=np.float64).reshape(3, 4)
        if fields["qform_code"][0] > 0 and not np.isfinite(fields["quatern"]).all():
            raise disoriented("the qform is not made of numbers")
        _check_nifti_grid(fields["pixdim"][1:4], sform if has_sform else None)
        if has_sform and fields["qform_code"][0] > 0:
            _check_nifti_orientation(fields, sform)
    return FileHeader(
        source="nifti",
        data_path=path,
        data_offset=offset,
        voxels=voxels,
        voxel_bytes=voxels * bits // 8,
        encoding="gzip" if is_gzip(path) else "raw",
        orientation_known=has_sform or fields["qform_code"][0] > 0,
        float_dtype=fields.order + _NIFTI_FLOATS[datatype] if datatype in _NIFTI_FLOATS else "",
    )


def _check_nifti_rescale(slope: float, intercept: float) -> None:
    """Refuse a rescale that is not a number, or that readers understand differently.

    NIfTI says that a slope of 0 means no rescale; ITK then still adds the intercept.
    """
    finite = math.isfinite(slope) and math.isfinite(intercept)
    if not finite or (slope == 0 and intercept != 0):
        raise InputError(
            "input-rescale-missing",
            f"The rescale in the header (slope {slope:g}, intercept {intercept:g}) is "
            "unusable, so the voxels can't be turned into Hounsfield units.",
            "Correct scl_slope and scl_inter, or convert the CT from DICOM again.",
        )


def _check_nifti_grid(pixdim: tuple[float, ...], sform: NDArray[np.float64] | None) -> None:
    """Check the two statements of the voxel size, and the shear of the sform."""
    spacing = tuple(abs(edge) for edge in pixdim)
    if not all(0 < edge < math.inf for edge in spacing):
        check_spacing(spacing)
    if sform is None:
        return
    if not np.isfinite(sform).all():
        raise disoriented("the sform is not made of numbers")
    edges = np.linalg.norm(sform[:, :3], axis=0)
    if not np.allclose(edges, spacing, rtol=_MAX_SPACING_CONFLICT):
        stated = " x ".join(f"{edge:.4g}" for edge in spacing)
        other = " x ".join(f"{edge:.4g}" for edge in edges)
        raise InputError(
            "input-spacing-conflict",
            f"The header states two voxel sizes: {stated} (pixdim) and {other} (sform).",
            "Find out which is right and save the image again with a consistent header.",
        )
    # Only directions count here: the unit of length is ITK's business.
    directions = np.eye(4)
    directions[:3, :3] = sform[:, :3] / edges
    check_affine(directions)


def _check_nifti_orientation(fields: _NiftiFields, sform: NDArray[np.float64]) -> None:
    """Refuse two statements of the orientation that contradict each other.

    Which of them a program follows depends on codes that few writers set with care, so left and
    right may be swapped without a word.
    """
    axes = sform[:, :3] / np.linalg.norm(sform[:, :3], axis=0)
    cosines = (axes * _qform_axes(fields)).sum(axis=0)
    angle = math.degrees(math.acos(max(-1.0, min(1.0, float(cosines.min())))))
    if angle > _MAX_ORIENTATION_CONFLICT_DEG:
        raise InputError(
            "input-orientation",
            f"The header states two orientations, qform and sform, which differ by {angle:.0f} "
            "degrees.",
            "Find out which is right, above all where left is, and save the image again with a "
            "consistent header.",
        )


def _qform_axes(fields: _NiftiFields) -> NDArray[np.float64]:
    """Return the unit vectors of the index axes by the qform, as columns (nifti1.h, method 2)."""
    b, c, d = fields["quatern"][:3]
    # Rounded to 32 bits, a rotation by 180 degrees may be a little longer than 1.
    length = max(1.0, math.sqrt(b * b + c * c + d * d))
    b, c, d = b / length, c / length, d / length
    a = math.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    axes = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    if fields["pixdim"][0] < 0:
        axes[:, 2] *= -1.0
    return axes


def _text_header(path: Path, separators: str, last_key: str = "") -> tuple[dict[str, str], int]:
    """Return the fields of a text header by lower-case key, and where it ends.

    A header ends after ``last_key``, or with an empty line or the file if that is empty. One
    that runs on into the voxels is refused, because ITK 5.4 crashes on some of those.
    """
    with path.open("rb") as file:
        raw = file.read(_MAX_TEXT_HEADER)
    fields: dict[str, str] = {}
    position = 0
    for line in raw.split(b"\n"):
        position += len(line) + 1
        text = line.rstrip(b"\r").decode("utf-8")
        if not text.strip() and not last_key:
            break
        if not text.replace("\t", " ").isprintable():
            raise ValueError("the header holds bytes that are no text")
        at = min((text.find(mark) for mark in separators if mark in text), default=-1)
        if at > 0 and not text.startswith("#"):
            key = text[:at].strip().lower()
            if key in fields:
                raise ValueError(f"{key} is stated twice")
            fields[key] = text[at + 1 :].lstrip("=").strip()
            if key == last_key:
                break
    return fields, position


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(word) for word in text.split())
    if not numbers:
        raise ValueError("a list of numbers is empty")
    return numbers


def _single(data_file: str) -> str:
    """Return the name of the voxels' file; refuse one file per slice.

    Such images are rare, and ITK 5.4 crashes on damaged ones.
    """
    if data_file.upper().startswith("LIST") or "%" in data_file:
        raise InputError(
            "input-format",
            "The voxels of this image are spread over several files.",
            "Save it as one file, for example as .nii.gz or .nrrd.",
        )
    return data_file


def _read_nrrd(path: Path) -> FileHeader:
    fields, end = _text_header(path, ":")
    if read_start(path, 4) != b"NRRD":
        raise damaged(path.name, "it is not a NRRD image")
    counts = _numbers(fields["sizes"])
    voxels = check_voxel_count(counts)
    _check_nrrd_spacing(fields, len(counts))
    kind = fields["type"].lower()
    voxel_bytes = next(size for size, kinds in _NRRD_BYTES.items() if kind in kinds)
    encoding = fields["encoding"].lower()
    if encoding in ("txt", "text", "ascii"):
        encoding, voxel_bytes = "raw", 1
    data_file = _single(fields.get("data file", fields.get("datafile", "")))
    skipped = int(fields.get("byte skip", fields.get("byteskip", "0")))
    if "line skip" in fields or "lineskip" in fields:
        encoding = "other"
    return FileHeader(
        source="nrrd",
        data_path=path.parent / data_file if data_file else path,
        data_offset=max(0, skipped) + (0 if data_file else end),
        voxels=voxels,
        voxel_bytes=voxels * voxel_bytes,
        encoding={"raw": "raw", "gzip": "gzip", "gz": "gzip"}.get(encoding, "other"),
        orientation_known=fields.get("space", "").lower() in _NRRD_ANATOMICAL_SPACES,
    )


def _check_nrrd_spacing(fields: dict[str, str], axes: int) -> None:
    """Refuse a 3D image without a voxel size along one of its axes; ITK would take 1 mm."""
    directions = fields.get("space directions", "").split(")")
    spacings = fields.get("spacings", "")
    missing = "none" in "".join(directions).lower() or "nan" in spacings.lower()
    if axes == 3 and missing:
        check_spacing((math.nan,) * 3)


def _read_metaimage(path: Path) -> FileHeader:
    fields, end = _text_header(path, "=:", "elementdatafile")
    counts = _numbers(fields["dimsize"])
    if len(counts) != int(fields["ndims"]):
        raise ValueError("DimSize and NDims differ")
    channels = int(fields.get("elementnumberofchannels", "1"))
    voxels = check_voxel_count((*counts, channels)) // channels
    kind = fields["elementtype"].upper().removeprefix("MET_").removesuffix("_ARRAY")
    voxel_bytes = channels * _METAIMAGE_BYTES[kind.removeprefix("U")]
    data_file = _single(fields["elementdatafile"])
    attached = data_file.upper() == "LOCAL"
    compressed = fields.get("compresseddata", "false").lower() == "true"
    if fields.get("binarydata", "true").lower() != "true":
        voxel_bytes = 1
    return FileHeader(
        source="metaimage",
        data_path=path if attached else path.parent / data_file,
        data_offset=max(0, int(fields.get("headersize", "0"))) + (end if attached else 0),
        voxels=voxels,
        voxel_bytes=voxels * voxel_bytes,
        encoding="zlib" if compressed else "raw",
        orientation_known=any(
            key in fields for key in ("transformmatrix", "rotation", "orientation")
        ),
        compressed_bytes=int(fields.get("compresseddatasize", "0")) if compressed else 0,
    )
