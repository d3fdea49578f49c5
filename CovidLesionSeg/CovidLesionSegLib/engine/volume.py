"""The CT on its way through the pipeline."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .geometry import Affine, AxisOrientation, spacing_mm_xyz, voxel_volume_mm3

ScalarT = TypeVar("ScalarT", bound=np.generic)


@dataclass(frozen=True)
class Provenance:
    """Where a CT came from; holds no patient name, date or number.

    Attributes:
        source: ``"nifti"``, ``"nrrd"``, ``"metaimage"``, ``"dicom"``, ``"mrml"`` or ``"array"``.
        name: Display name: the file name without its suffix, ``"DICOM series"`` or the
            node's name; never a path.
        series_instance_uid: DICOM series, empty for other sources.
        files: Paths the voxels were read from, for exports that refer to the source; they
            are not part of `result.json`.
    """

    source: str
    name: str
    series_instance_uid: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CtVolume:
    """A chest CT in Hounsfield units, in LPS axis order.

    Made by permuting and flipping the axes of the input, never by resampling, so that
    `to_input_grid` puts every result back exactly.

    Attributes:
        hu: int16 ``[z, y, x]``; x runs to the patient's left, y to posterior, z to superior
            (as far as an oblique grid can).
        affine_lps: 4 x 4, voxel index ``(x, y, z)`` to LPS in mm.
        orientation: How the input's axes map to these.
        input_affine_lps: 4 x 4, index ``(i, j, k)`` of the input grid to LPS in mm.
        provenance: Where it came from.
        flags: Findings of the guards that let the run continue, for example
            ``"thick-slices"``; they end in every table row.
    """

    hu: NDArray[np.int16]
    affine_lps: Affine
    orientation: AxisOrientation
    input_affine_lps: Affine
    provenance: Provenance
    flags: tuple[str, ...] = field(default=())

    @classmethod
    def from_array(
        cls,
        hu_kji: NDArray[np.int16],
        affine_lps: Affine,
        provenance: Provenance | None = None,
        flags: tuple[str, ...] = (),
    ) -> CtVolume:
        """Make a volume from an array on any axis-aligned or oblique grid.

        Args:
            hu_kji: int16 HU indexed ``[k, j, i]`` (SimpleITK's and Slicer's array order).
            affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm.
            provenance: Where it came from.
            flags: Findings of the guards.
        """
        affine = np.asarray(affine_lps, dtype=np.float64)
        orientation = AxisOrientation.from_affine(affine)
        return cls(
            hu=orientation.to_lps(np.asarray(hu_kji, dtype=np.int16)),
            affine_lps=orientation.affine_to_lps_order(affine, hu_kji.shape),
            orientation=orientation,
            input_affine_lps=affine,
            provenance=provenance or Provenance("array", "array"),
            flags=flags,
        )

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""
        z, y, x = self.hu.shape
        return z, y, x

    @property
    def spacing_mm_zyx(self) -> tuple[float, float, float]:
        """Voxel edge lengths in mm."""
        x, y, z = spacing_mm_xyz(self.affine_lps)
        return z, y, x

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in ml, from the affine's determinant."""
        return voxel_volume_mm3(self.affine_lps) / 1000.0

    def to_input_grid(self, array_zyx: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """Return a result on the grid of the input, indexed ``[k, j, i]``."""
        return self.orientation.from_lps(array_zyx)

    def digest(self) -> str:
        """Return the SHA-256 of voxels and geometry in LPS axis order.

        Equal for every permuted or flipped copy of one CT; names the CT without naming
        the patient.
        """
        sha = hashlib.sha256()
        sha.update(np.asarray(self.hu.shape, dtype="<i8").tobytes())
        sha.update(np.asarray(np.round(self.affine_lps, 4) + 0.0, dtype="<f8").tobytes())
        sha.update(np.ascontiguousarray(self.hu, dtype="<i2").data)
        return sha.hexdigest()
