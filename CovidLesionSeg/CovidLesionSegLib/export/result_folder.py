"""A finished result back from its folder, with what a person has changed since.

The folder holds what ``covid-lesion-seg segment`` wrote; the segmentation may have been
corrected in 3D Slicer, and the tables of a review may lie beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.geometry import Affine, AxisOrientation
from CovidLesionSegLib.engine.headers import read_header
from CovidLesionSegLib.engine.payload import check_payload
from CovidLesionSegLib.engine.readers import kind_of, read_ct
from CovidLesionSegLib.engine.result_json import layer_digests
from CovidLesionSegLib.engine.result_reading import provenance_from_dict, result_from_dict
from CovidLesionSegLib.engine.review_values import REJECTED
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.errors import InputError

from .job import ExportJob, ReviewRecord
from .recount import recounted
from .review_files import REVIEW_FILES, read_lesions_csv, read_review_log
from .seg_nrrd import StoredSegmentation, read_segmentation
from .segments import segment_definitions

RESULT_FILE = "result.json"
_SAME_PLACE_MM = 1e-3
_MAPS = ("probability", "boundary", "agreement")
_CT_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True, eq=False)
class _CtGrid(CtVolume):
    """The grid of a CT whose voxels are not at hand; its digest is the recorded one."""

    sha256: str = ""

    def digest(self) -> str:
        """Return the digest that was recorded when the CT was segmented."""
        return self.sha256


def read_export_job(result: Path, ct: Path | None = None, *, identified: bool = False) -> ExportJob:
    """Read a result for export.

    Args:
        result: The folder of a result, or its `result.json`.
        ct: The CT it was made from: file, DICOM folder or DICOM file. Without it, a file of
            the recorded name in the folder or the one above is used if its digest is right;
            `result.json` holds no path, because paths often name the patient.
        identified: Whether the exports may name the patient.

    Raises:
        InputError: ``result-not-found``, ``result-unreadable``, ``result-without-maps``,
            ``segmentation-not-read``,
            ``segmentation-other-grid``, ``ct-mismatch``, ``ct-needed``,
            ``review-unreadable``, or why the CT can't be read.
    """
    folder = result if result.is_dir() else result.parent
    values = _read_values(result if result.suffix and not result.is_dir() else result / RESULT_FILE)
    try:
        stored = read_segmentation(folder / values["files"]["segmentation"])
        if _MAPS[0] not in values["files"]:
            raise _without_maps(folder)
        shape_zyx = tuple(values["ct"]["shape_zyx"])
        maps = {
            name: _read_map(folder / values["files"][name], shape_zyx)
            for name in _MAPS
            if name in values["files"]
        }
        volume = _ct(values["ct"], stored, ct or _ct_beside(folder, values["ct"]["name"]))
        return _job(folder, values, stored, maps, volume, identified)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _unreadable(folder) from error


def _job(
    folder: Path,
    values: Mapping[str, Any],
    stored: StoredSegmentation,
    maps: Mapping[str, NDArray[np.float16]],
    ct: CtVolume,
    identified: bool,
) -> ExportJob:
    result = result_from_dict(values, ct, {**maps, **_layers(stored, ct)})
    digests = layer_digests(result.layers)
    recorded = values["segmentation_sha256"]
    # A layer whose segments were all deleted has no digest any more.
    names = digests.keys() | recorded.keys()
    edited = frozenset(key for key in names if digests.get(key) != recorded.get(key))
    has_ct = not isinstance(ct, _CtGrid)
    review = _review(folder)
    if review is not None:
        current = tuple(lesion for lesion in review.lesions if lesion.state != REJECTED)
        result = replace(result, lesions=current)
    if edited:
        if not has_ct:
            raise InputError(
                "ct-needed",
                "The segmentation was edited, so that its numbers have to be counted again, and "
                "that needs the CT.",
                "Give the CT with --ct.",
            )
        computed = recorded.get("infection", "")
        result = recounted(result, edited, computed, keep_lesions=review is not None)
    return ExportJob(result, edited, review, identified, has_ct)


def _read_values(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            "result-not-found",
            f"There is no {path.name} in {str(path.parent)!r}.",
            "Give the folder that covid-lesion-seg segment wrote.",
        )
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not str(values["schema"]).startswith("covid-lesion-seg/result/"):
            raise ValueError(values["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path.parent) from error
    return values


def _unreadable(folder: Path) -> InputError:
    return InputError(
        "result-unreadable",
        f"The result in {folder.name!r} is incomplete or damaged.",
        "Give the whole folder as it was written, or segment the CT again.",
    )


def _without_maps(folder: Path) -> InputError:
    return InputError(
        "result-without-maps",
        f"The result in {folder.name!r} was written without its maps, which are needed here.",
        "Segment this CT with covid-lesion-seg segment, or a batch with --maps into a new folder.",
    )


def _read_map(path: Path, shape_zyx: tuple[int, ...]) -> NDArray[np.float16]:
    """Return a map in LPS axis order.

    Raises:
        InputError: ``result-unreadable`` for one that is cut off, which ITK would fill up with
            zeros, or of another CT.
    """
    import SimpleITK as sitk  # noqa: N813

    try:
        check_payload(read_header(path, kind_of(path)))
    except InputError as error:
        raise _unreadable(path.parent) from error
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3))
    values = AxisOrientation.from_affine(affine).to_lps(
        sitk.GetArrayViewFromImage(image).astype(np.float16)
    )
    if values.shape != shape_zyx:
        raise _unreadable(path.parent)
    return values


def _ct_beside(folder: Path, name: str) -> Path | None:
    """Return the file of the recorded name in the result's folder or the one above."""
    candidates = (
        place / f"{name}{end}" for place in (folder, folder.parent) for end in _CT_SUFFIXES
    )
    return next((path for path in candidates if path.is_file()), None)


def _ct(recorded: Mapping[str, Any], stored: StoredSegmentation, path: Path | None) -> CtVolume:
    if path is None:
        return _grid_only(recorded, stored)
    ct = _read_recorded(path, recorded["series_instance_uid"] or None)
    if ct.digest() != recorded["sha256"] and not _same_as_recorded(ct, recorded, stored):
        raise InputError(
            "ct-mismatch",
            "This is not the CT that was segmented: voxels or position differ.",
            "Give the CT that the result was made from.",
        )
    provenance = replace(ct.provenance, name=recorded["name"])
    return replace(ct, provenance=provenance, flags=tuple(recorded["flags"]))


def _read_recorded(path: Path, series: str | None) -> CtVolume:
    """Read the recorded series of a folder, else its largest: a copy may have new identifiers."""
    try:
        return read_ct(path, series if path.is_dir() else None)
    except InputError as error:
        if error.code != "dicom-series":
            raise
    return read_ct(path)


def _grid_only(recorded: Mapping[str, Any], stored: StoredSegmentation) -> CtVolume:
    shape_kji = stored.labels_lkji.shape[1:]
    orientation = AxisOrientation.from_affine(stored.affine_lps)
    shape_zyx = tuple(recorded["shape_zyx"])
    if tuple(shape_kji[2 - axis] for axis in orientation.source_axis[::-1]) != shape_zyx:
        raise InputError(
            "ct-needed",
            "The segmentation was saved on a part of the CT's grid only.",
            "Give the CT with --ct.",
        )
    return _CtGrid(
        hu=np.broadcast_to(np.int16(0), shape_zyx),
        affine_lps=orientation.affine_to_lps_order(stored.affine_lps, shape_kji),
        orientation=orientation,
        input_affine_lps=stored.affine_lps,
        provenance=provenance_from_dict(recorded),
        flags=tuple(recorded["flags"]),
        sha256=recorded["sha256"],
    )


def _same_as_recorded(
    ct: CtVolume, recorded: Mapping[str, Any], stored: StoredSegmentation
) -> bool:
    """Tell the CT also in another file format, whose geometry is rounded differently."""
    if list(ct.shape_zyx) != recorded["shape_zyx"]:
        return False
    grid = _stored_grid(stored)
    same_place = np.allclose(grid, ct.affine_lps, atol=_SAME_PLACE_MM)
    return bool(same_place and replace(ct, affine_lps=grid).digest() == recorded["sha256"])


def _stored_grid(stored: StoredSegmentation) -> Affine:
    orientation = AxisOrientation.from_affine(stored.affine_lps)
    return orientation.affine_to_lps_order(stored.affine_lps, stored.labels_lkji.shape[1:])


def _layers(stored: StoredSegmentation, ct: CtVolume) -> dict[str, NDArray[np.uint8]]:
    """Return our layers of a segmentation on the CT's grid in LPS axis order.

    Segments may overlap after an edit: of those of `opacity` both bits are set, else the last wins.
    """
    orientation = AxisOrientation.from_affine(stored.affine_lps)
    place = _place(_stored_grid(stored), ct)
    known = {segment.id for segment in stored.segments}
    layers: dict[str, NDArray[np.uint8]] = {}
    for definition in segment_definitions():
        if definition.id not in known:
            continue
        labels = layers.setdefault(definition.layer, np.zeros(ct.shape_zyx, np.uint8))
        mask = orientation.lps_view(stored.mask_kji(definition.id))
        part = labels[tuple(slice(at, at + n) for at, n in zip(place, mask.shape, strict=True))]
        part[mask] = definition.label | (part[mask] if definition.layer == "opacity" else 0)
    for name in ("infection", "lungs"):
        layers.setdefault(name, np.zeros(ct.shape_zyx, np.uint8))
    return layers


def _place(grid: Affine, ct: CtVolume) -> tuple[int, int, int]:
    """Return the CT's voxel ``(z, y, x)`` at which a stored grid begins."""
    start = np.linalg.solve(ct.affine_lps, grid[:, 3])[:3]
    whole = np.round(start)
    same = np.allclose(grid[:3, :3], ct.affine_lps[:3, :3], atol=_SAME_PLACE_MM)
    if not same or not np.allclose(start, whole, atol=0.01) or (whole < 0).any():
        raise InputError(
            "segmentation-other-grid",
            "The segmentation was saved on another grid than the CT's.",
            "In 3D Slicer, set the CT as the segmentation's source geometry and save it again.",
        )
    x, y, z = (int(value) for value in whole)
    return z, y, x


def _review(folder: Path) -> ReviewRecord | None:
    """Return the review that was exported into the folder, whatever its files begin with."""
    lesions, logs = (sorted(folder.glob(name)) for name in REVIEW_FILES)
    if not lesions:
        return None
    return ReviewRecord(read_lesions_csv(lesions[0]), read_review_log(logs[0]) if logs else ())
