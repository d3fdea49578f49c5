"""The fissure points of the ChestImagingPlatform atlas, in the reference person's space."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)

from CovidLesionSegLib.engine.lobe_atlas import (
    LEFT_OBLIQUE,
    RIGHT_HORIZONTAL,
    RIGHT_OBLIQUE,
    Array,
    shape_features,
)
from CovidLesionSegLib.engine.result import Lung

_POINTS_SUFFIX = "_regionAndTypePoints.csv"
_REFERENCE_LABELS = {Lung.RIGHT: 2, Lung.LEFT: 3}
_REFERENCE_BLOCK = 10
_REFERENCE_MARGIN = 4


@dataclass(frozen=True, eq=False)
class Subject:
    """One person of the atlas.

    Attributes:
        name: Identifier within the atlas.
        from_reference: 3 x 4, reference LPS to the person's LPS in mm (the ``.tfm``).
        points_mm: By fissure, ``(n, 3)`` reference LPS: the inverse of the ``.tfm`` applied.
    """

    name: str
    from_reference: Array
    points_mm: Mapping[str, Array]

    @property
    def features(self) -> Array:
        """Shape features as the engine computes them for a patient."""
        square = np.vstack([self.from_reference, [0.0, 0.0, 0.0, 1.0]])
        return shape_features(np.linalg.inv(square))


def _fissure_of(region: str, kind: str) -> str | None:
    """Name the fissure of a point; the files spell regions by lung or by lobe."""
    region, kind = region.upper(), kind.upper()
    if region.startswith("RIGHT"):
        return {"OBLIQUEFISSURE": RIGHT_OBLIQUE, "HORIZONTALFISSURE": RIGHT_HORIZONTAL}.get(kind)
    if region.startswith("LEFT") and kind == "OBLIQUEFISSURE":
        return LEFT_OBLIQUE
    return None


def _read_affine(path: Path) -> Array:
    transform = sitk.AffineTransform(sitk.ReadTransform(str(path)))
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    offset = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    return np.column_stack([matrix, offset])


def read_subjects(folder: Path) -> list[Subject]:
    """Read all persons of the atlas, sorted by name."""
    subjects = []
    for points_file in sorted(folder.glob(f"*{_POINTS_SUFFIX}")):
        name = points_file.name.removesuffix(_POINTS_SUFFIX)
        (transform_file,) = folder.glob(f"{name}_TO_*_transform.tfm")
        affine = _read_affine(transform_file)
        inverse = np.linalg.inv(affine[:, :3])
        found: dict[str, list[list[float]]] = {}
        with points_file.open(newline="", encoding="ascii") as file:
            for region, kind, *xyz in csv.reader(file):
                fissure = _fissure_of(region, kind)
                if fissure:
                    found.setdefault(fissure, []).append([float(value) for value in xyz])
        points = {
            fissure: (np.array(rows) - affine[:, 3]) @ inverse.T for fissure, rows in found.items()
        }
        subjects.append(Subject(name, affine, points))
    return subjects


def read_reference(folder: Path) -> tuple[dict[Lung, Array], Array, Array]:
    """Return signed distance maps of the reference lungs, their origin and spacing (LPS).

    The label map is averaged over blocks of about 5 mm first.
    """
    (path,) = folder.glob("*_leftLungRightLung.nrrd")
    image = sitk.ReadImage(str(path))
    block = _REFERENCE_BLOCK
    spacing = np.array(image.GetSpacing()) * block
    origin = np.array(image.GetOrigin()) + np.array(image.GetSpacing()) * (block - 1) / 2.0
    origin -= _REFERENCE_MARGIN * spacing
    labels = sitk.GetArrayViewFromImage(image)
    z, y, x = (size // block for size in labels.shape)
    distances = {}
    for lung, label in _REFERENCE_LABELS.items():
        mask = labels[: z * block, : y * block, : x * block] == label
        share = mask.reshape(z, block, y, block, x, block).mean(axis=(1, 3, 5))
        half = np.pad(share > 0.5, _REFERENCE_MARGIN).astype(np.uint8)
        coarse = sitk.GetImageFromArray(half)
        coarse.SetSpacing(spacing.tolist())
        distance = sitk.SignedMaurerDistanceMap(
            coarse, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
        )
        distances[lung] = sitk.GetArrayFromImage(distance).astype(np.float64)
    return distances, origin, spacing
