"""What phantom to make: the order form, checked before any computing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from CovidLesionSegLib.errors import InputError

LesionKind: TypeAlias = Literal["ggo", "consolidation"]
LobeName: TypeAlias = Literal["RUL", "RML", "RLL", "LUL", "LLL"]

LOBES: tuple[LobeName, ...] = ("RUL", "RML", "RLL", "LUL", "LLL")
"""Lobe names; the label of a lobe is its place in this tuple plus one."""

MAX_VOXELS = 1_000_000_000

Vector: TypeAlias = tuple[float, float, float]
Matrix: TypeAlias = tuple[Vector, Vector, Vector]
IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class LesionSpec:
    """One lesion, an irregular ellipsoid kept inside the lobe that holds its centre.

    Attributes:
        kind: ``"ggo"`` (ground glass, -700..-300 HU) or ``"consolidation"`` (-100..50 HU).
        centre_mm: LPS position in the patient's frame, mm.
        radii_mm: Semi-axes, mm; the last one points towards the nearest pleura.
        mean_hu: Attenuation around which the lesion's texture varies.
        seed: Shapes the outline.
    """

    kind: LesionKind
    centre_mm: Vector
    radii_mm: Vector
    mean_hu: float
    seed: int = 0


@dataclass(frozen=True)
class PhantomSpec:
    """A patient (seed, size, disease) and the grid on which the scanner samples it.

    The patient depends on ``seed``, ``scale``, ``mirror``, ``pneumonectomy``,
    ``missing_lobe`` and ``lesions`` only; every grid shows the same one. The
    frame is LPS in mm with the middle of the chest at the origin.

    Attributes:
        seed: Chooses the anatomy, the lesions and the noise.
        spacing_mm_zyx: Voxel size along the index axes, slowest first.
        shape_zyx: Voxels per axis; by default whatever covers the chest.
        direction: Row-major direction cosines as in SimpleITK; column c is the
            LPS direction of index axis c in the order x, y, z.
        origin_mm: LPS position of the first voxel's centre; by default the grid
            is centred on the patient.
        crop_z_mm: Only the chest between these heights, for partial scans;
            needs the default grid. Voxel faces lie on the lower bound.
        lesions: A number of lesions to place, the lesions themselves, or ``None``
            (as 0) for a healthy chest.
        noise_hu: Standard deviation of the noise in the middle of the body.
        scale: Size of the patient relative to an adult; about 0.55 is a small child.
        mirror: Reflect the patient at the midline. Sides are named as they lie then
            (lung 1 is at x < 0); the lung with three lobes is then the left one, and
            its middle lobe counts as part of the left upper lobe.
        pneumonectomy: The right lung is gone and fluid has filled its place.
        missing_lobe: A lobe removed by surgery, its space taken by its neighbour.
    """

    seed: int = 0
    spacing_mm_zyx: Vector = (2.5, 1.5, 1.5)
    shape_zyx: tuple[int, int, int] | None = None
    direction: Matrix = IDENTITY
    origin_mm: Vector | None = None
    crop_z_mm: tuple[float, float] | None = None
    lesions: int | tuple[LesionSpec, ...] | None = 12
    noise_hu: float = 18.0
    scale: float = 1.0
    mirror: bool = False
    pneumonectomy: bool = False
    missing_lobe: LobeName | None = None

    def __post_init__(self) -> None:
        _check(self)

    def grid(self) -> tuple[tuple[int, int, int], npt.NDArray[np.float64]]:
        """Shape (z, y, x) and the 4x4 affine from index (x, y, z) to LPS mm."""
        spacing = np.array(self.spacing_mm_zyx[::-1], float)
        step = np.array(self.direction, float) * spacing
        low, high = self._extent_mm()
        shape = self.shape_zyx or self._covering_shape(step, low, high)
        last = np.array(shape[::-1], float) - 1
        if self.origin_mm is not None:
            origin = np.array(self.origin_mm, float)
        else:
            origin = (low + high) / 2 - step @ last / 2
            if self.crop_z_mm is not None:
                origin[2] = low[2] + spacing[2] / 2
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = step, origin
        return shape, affine

    def _extent_mm(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The box, in LPS mm, that a complete chest scan of this patient covers."""
        low = np.array([-190.0, -175.0, -158.0]) * self.scale
        high = np.array([190.0, 205.0, 154.0]) * self.scale
        if self.crop_z_mm is not None:
            low[2], high[2] = self.crop_z_mm
        return low, high

    def _covering_shape(
        self,
        step: npt.NDArray[np.float64],
        low: npt.NDArray[np.float64],
        high: npt.NDArray[np.float64],
    ) -> tuple[int, int, int]:
        """Voxels per axis whose box, however turned, covers ``low``..``high``."""
        half = np.abs(np.linalg.inv(step)) @ (high - low) / 2
        nx, ny, nz = (max(1, round(2 * float(h))) for h in half)
        return nz, ny, nx


def _check(spec: PhantomSpec) -> None:
    """Refuse an order that can't be carried out."""

    def refuse(message: str, hint: str) -> None:
        raise InputError("phantom-spec", message, hint)

    if spec.seed < 0:
        refuse("The seed is negative.", "Use 0 or a positive whole number.")
    if not all(0.1 <= v <= 20 for v in spec.spacing_mm_zyx):
        refuse("The voxel size is out of range.", "Use 0.1 to 20 mm on each axis.")
    if not 0.3 <= spec.scale <= 1.3:
        refuse("The patient's scale is out of range.", "Use 0.3 (infant) to 1.3.")
    if not 0 <= spec.noise_hu <= 200:
        refuse("The noise is out of range.", "Use 0 to 200 HU.")
    cosines = np.array(spec.direction, float)
    if cosines.shape != (3, 3) or not np.allclose(cosines @ cosines.T, np.eye(3), atol=1e-4):
        refuse("The direction cosines are not orthonormal.", "Use a 3 x 3 rotation or reflection.")
    if isinstance(spec.lesions, int) and not 0 <= spec.lesions <= 200:
        refuse("The number of lesions is out of range.", "Use 0 to 200.")
    crop = spec.crop_z_mm
    if crop is not None and (
        spec.shape_zyx is not None or spec.origin_mm is not None or spec.direction != IDENTITY
    ):
        refuse("A crop needs the default grid.", "Leave out shape, origin and direction.")
    if crop is not None and crop[1] - crop[0] < spec.spacing_mm_zyx[0]:
        refuse("The crop is empty.", "Give the lower height first, at least a slice apart.")
    if spec.shape_zyx is not None and min(spec.shape_zyx) < 1:
        refuse("The shape has an empty axis.", "Use at least one voxel per axis.")
    if int(np.prod(spec.grid()[0], dtype=np.int64)) > MAX_VOXELS:
        refuse("The grid is too large.", f"Use at most {MAX_VOXELS:,} voxels.")
