"""Lobes from a file: a label map with names, a Slicer segmentation, a folder of masks."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .geometry import Affine, AxisOrientation
from .headers import read_header
from .lobe_names import LUNGMASK_LTRC, lobe_of_name
from .lobe_segments import (
    LOBES_BY_POSITION,
    LOBES_RESAMPLED,
    NamedSegment,
    check_lobes,
    join_lobes,
    lobes_by_position,
    lobes_from_segments,
    no_lobe_recognised,
)
from .lungs import LungMask
from .payload import check_payload
from .readers import has_image_suffix, kind_of
from .refusals import forbidden
from .result import Anatomy, LobeSource
from .volume import CtVolume

_SAME_GRID = 0.1
"""Grids are the same if no corner is farther off than this share of a voxel."""

_MIN_OVERLAP = 0.02
"""Share of the lobes that must lie in the CT; a CT may be a crop of what they were drawn on.

Whether what does lie there fits its lungs is for `check_lobes` to say."""

_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
_NAME_IN_HEADER = re.compile(r'<Label\b[^>]*\bKey="(\d+)"[^>]*>([^<]*(?:<!\[CDATA\[.*?\]\]>)?)')
_NIFTI_HEADER_BYTES = 348
_FORMATS = "Lobes can be NIfTI, NRRD, MetaImage or .seg.nrrd."


@dataclass(frozen=True, eq=False)
class _Named:
    """A name and the voxels it stands for: layer and label of an image."""

    name: str
    layer: int
    label: int
    terminology: str = ""


@dataclass(frozen=True, eq=False)
class _LabelFile:
    """A label image as it was read.

    Attributes:
        layers: Label maps ``[k, j, i]``.
        affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm.
        names: What the file says its labels are.
        text: Free text of the header, for what only a description tells.
    """

    layers: tuple[NDArray[Any], ...]
    affine_lps: Affine
    names: tuple[_Named, ...]
    text: str


def lobes_from_file(
    path: Path, ct: CtVolume, lungs: LungMask, *, lungmask_order: bool = False
) -> Anatomy:
    """Read lobes from a file or a folder of one mask per lobe.

    Labels are recognised by terminology codes (``.seg.nrrd``), else by names: those of
    ``.seg.nrrd``, of a ``.json`` legend beside the file, of the label table in a NIfTI
    header, of the files in a folder. Five labels without any name are accepted if their
    position decides, with the flag ``"lobes-by-position"``. lungmask's order 1..5 is used
    only if the header names its LTRCLobes model or ``lungmask_order`` says so.

    Args:
        path: NIfTI, NRRD, MetaImage or ``.seg.nrrd`` file, or a folder.
        ct: The CT, on whose grid the lobes are put (nearest voxel).
        lungs: Its lungs.
        lungmask_order: The labels are lungmask's LTRCLobes.

    Raises:
        InputError: ``lobes-not-readable``, ``lobes-other-place``, ``lobes-not-recognised``
            and those of `lobes_from_segments`.
    """
    path = Path(path)
    if path.is_dir():
        return _from_folder(path, ct, lungs)
    content = _read(path)
    grids = [_on_ct_grid(layer, content.affine_lps, ct) for layer in content.layers]
    flags = tuple(sorted({flag for _, found in grids for flag in found}))
    layers = [labels for labels, _ in grids]
    segments = [
        NamedSegment(entry.name, layers[entry.layer] == entry.label, entry.terminology)
        for entry in content.names
        if entry.layer < len(layers)
    ]
    if any(segment.lobe for segment in segments):
        return lobes_from_segments(segments, ct, lungs, LobeSource.FILE, flags)
    labels = np.where((layers[0] > 0) & (layers[0] < 256), layers[0], 0).astype(np.uint8)
    if lungmask_order or re.search(r"ltrclobes|lungmask", content.text, re.IGNORECASE):
        names = LUNGMASK_LTRC
    else:
        names = lobes_by_position(labels, ct) or {}
        flags = (*flags, LOBES_BY_POSITION)
    if not names or segments:
        raise InputError(
            "lobes-not-recognised",
            "It is not clear which label of the file is which lobe.",
            "Use a file with names (.seg.nrrd), or put a .json legend with the labels' names "
            "beside it.",
        )
    renamed = np.zeros(256, dtype=np.uint8)
    for value, lobe in names.items():
        renamed[value] = lobe
    labels = renamed[labels]
    check_lobes(labels, ct, lungs.labels)
    return join_lobes(labels, ct, lungs, LobeSource.FILE, flags)


def check_lobes_file(path: Path) -> None:
    """Refuse what can't be read as lobes before any work is done for it.

    Args:
        path: File or folder, as for `lobes_from_file`.

    Raises:
        InputError: ``lobes-not-readable``, and ``lobes-not-recognised`` for a folder without
            any mask of a lobe.
    """
    try:
        masks = [file for _, file in _masks_in(path)] if path.is_dir() else [path]
        for file in masks:
            _check_whole(file)
    except PermissionError as error:
        refusal = forbidden(Path(error.filename))
        raise _unreadable(refusal.message, refusal.hint) from error
    if not masks:
        raise no_lobe_recognised()


def _masks_in(folder: Path) -> list[tuple[str, Path]]:
    """Return names and files of the masks of lobes in a folder, as TotalSegmentator writes them.

    Two files may have one name (``x.nii`` and ``x.nii.gz``); which of them is meant is not
    decided here.
    """
    masks = []
    for file in sorted(folder.iterdir()):
        name = file.name.lower()
        suffix = next((s for s in sorted(_SUFFIXES, key=len)[::-1] if name.endswith(s)), None)
        if suffix is not None and lobe_of_name(file.name[: -len(suffix)]) is not None:
            masks.append((file.name[: -len(suffix)], file))
    return masks


def _from_folder(folder: Path, ct: CtVolume, lungs: LungMask) -> Anatomy:
    segments: list[NamedSegment] = []
    flags: set[str] = set()
    for name, file in _masks_in(folder):
        content = _read(file)
        mask, found = _on_ct_grid(content.layers[0], content.affine_lps, ct)
        segments.append(NamedSegment(name, mask != 0))
        flags.update(found)
    return lobes_from_segments(segments, ct, lungs, LobeSource.FILE, tuple(sorted(flags)))


def _read(path: Path) -> _LabelFile:
    import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)

    _check_whole(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(f"{path.name} can't be read as an image.", _FORMATS) from error
    if image.GetDimension() != 3:
        raise _unreadable(f"{path.name} is not a 3D image.", _FORMATS)
    array = sitk.GetArrayFromImage(image)
    layers = tuple(np.moveaxis(array, -1, 0)) if array.ndim == 4 else (array,)
    affine = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = directions * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    header = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    names = _segment_names(header) or _legend_names(path) or _nifti_names(path)
    return _LabelFile(layers, affine, names, " ".join(header.values()))


def _check_whole(path: Path) -> None:
    """Refuse a damaged file as strictly as a damaged CT: ITK reads some without a word.

    What is wrong is told as for a CT; what to do about it is not.
    """
    if not path.is_file():
        raise _unreadable(
            f"There is no file or folder {path.name!r}.", "Check the path for typing errors."
        )
    if not has_image_suffix(path):
        raise _unreadable(f"{path.name} is in no format that lobes can have.", _FORMATS)
    try:
        check_payload(read_header(path, kind_of(path)))
    except InputError as error:
        if error.code == "input-not-3d":  # several layers: not a CT, but a segmentation
            return
        if error.code == "input-truncated":
            hint = "Copy or download the file again, or export the lobes again."
        else:
            hint = "Export the lobes again, on the grid of their CT."
        raise _unreadable(error.message, hint) from error


def _unreadable(message: str, hint: str) -> InputError:
    return InputError("lobes-not-readable", message, hint)


def _segment_names(header: dict[str, str]) -> tuple[_Named, ...]:
    """Return the segments of a ``.seg.nrrd`` header."""
    names = []
    for key in header:
        match = re.fullmatch(r"Segment(\d+)_ID", key)
        if not match:
            continue
        prefix = f"Segment{match[1]}_"
        tags = dict(
            tag.split(":", 1) for tag in header.get(f"{prefix}Tags", "").split("|") if ":" in tag
        )
        names.append(
            _Named(
                header.get(f"{prefix}Name", ""),
                int(header.get(f"{prefix}Layer", "0")),
                int(header.get(f"{prefix}LabelValue", "1")),
                tags.get("TerminologyEntry", ""),
            )
        )
    return tuple(names)


def _legend_names(path: Path) -> tuple[_Named, ...]:
    """Return the names of a ``.json`` beside the file: name by label or label by name."""
    stem = path.name
    for suffix in sorted(_SUFFIXES, key=len)[::-1]:
        stem = stem.removesuffix(suffix)
    legend = path.with_name(f"{stem}.json")
    if not legend.is_file():
        return ()
    try:
        content: Any = json.loads(legend.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "lobes-not-readable", f"The legend {legend.name} is not valid JSON."
        ) from error
    if isinstance(content, dict) and isinstance(content.get("labels"), (dict, list)):
        content = content["labels"]
    return tuple(_Named(name, 0, label) for name, label in _pairs(content))


def _pairs(content: Any) -> list[tuple[str, int]]:
    if isinstance(content, list):
        entries = [entry for entry in content if isinstance(entry, dict)]
        content = {
            entry.get("name", ""): entry.get("label", entry.get("value")) for entry in entries
        }
    if not isinstance(content, dict):
        return []
    pairs = []
    for key, value in content.items():
        if str(key).strip().isdigit() and isinstance(value, str):
            pairs.append((value, int(key)))
        elif str(value).strip().isdigit():
            pairs.append((str(key), int(value)))
    return pairs


def _nifti_names(path: Path) -> tuple[_Named, ...]:
    """Return the label table that TotalSegmentator writes into the NIfTI header."""
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        return ()
    with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
        header = file.read(_NIFTI_HEADER_BYTES)
        if len(header) < _NIFTI_HEADER_BYTES:
            return ()
        first_voxel = float(np.frombuffer(header[108:112], dtype="<f4")[0])
        length = int(min(max(first_voxel - _NIFTI_HEADER_BYTES, 0), 1 << 20))
        extension = file.read(length).decode("utf-8", errors="ignore")
    return tuple(
        _Named(re.sub(r"<!\[CDATA\[|\]\]>", "", text).strip(), 0, int(key))
        for key, text in _NAME_IN_HEADER.findall(extension)
    )


def _on_ct_grid(
    labels_kji: NDArray[Any], affine_lps: Affine, ct: CtVolume
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Put labels on the CT's grid in LPS axis order, resampling only if they must be."""
    orientation = AxisOrientation.from_affine(affine_lps)
    labels = orientation.to_lps(labels_kji)
    affine = orientation.affine_to_lps_order(affine_lps, labels_kji.shape)
    if labels.shape == ct.hu.shape:
        corners = np.array([[0, 0, 0, 1], [*ct.hu.shape[::-1], 1]], dtype=float)
        off_mm = np.abs((affine - ct.affine_lps) @ corners.T).max()
        if off_mm < _SAME_GRID * min(ct.spacing_mm_zyx):
            return labels, ()
    return _resample(labels, affine, ct), (LOBES_RESAMPLED,)


def _resample(labels: NDArray[Any], affine_lps: Affine, ct: CtVolume) -> NDArray[Any]:
    """Take each CT voxel's label from the nearest voxel of another grid."""
    to_other = np.linalg.inv(affine_lps) @ ct.affine_lps
    nz, ny, nx = ct.hu.shape
    y, x = np.meshgrid(np.arange(ny), np.arange(nx), indexing="ij")
    plane = to_other[:3, 0, None] * x.ravel() + to_other[:3, 1, None] * y.ravel()
    result = np.zeros(ct.hu.shape, dtype=labels.dtype)
    limits = np.array(labels.shape[::-1])[:, None]
    for z in range(nz):
        index = np.rint(plane + (to_other[:3, 2] * z + to_other[:3, 3])[:, None]).astype(np.intp)
        inside = np.all((index >= 0) & (index < limits), axis=0)
        i, j, k = index[:, inside]
        result[z].reshape(-1)[inside] = labels[k, j, i]
    kept = np.count_nonzero(result) * ct.voxel_volume_ml
    had = np.count_nonzero(labels) * abs(float(np.linalg.det(affine_lps[:3, :3]))) / 1000.0
    if kept < _MIN_OVERLAP * had:
        raise InputError(
            "lobes-other-place",
            "The lobes lie outside this CT.",
            "They may belong to another CT; choose the lobes made from this one.",
        )
    return result
