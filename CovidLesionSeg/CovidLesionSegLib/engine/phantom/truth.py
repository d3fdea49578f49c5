"""The analytic table: volumes from dense sampling of the model, whatever the output grid.

Each cell of a fine lattice contributes one random point (stratified sampling),
so errors of neighbouring cells cancel instead of adding up. Only cells that a
surface crosses are uncertain, each by at most half a cell volume; the standard
error in the table is that bound over their number, h^3/2 * sqrt(cells).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .grid import Block, Grid
from .labels import label
from .layers import WARP
from .lesions import Lesion
from .patient import Patient
from .shapes import Array
from .spec import LOBES, LesionKind, Vector

LUNG_STEP_MM = 2.5
LESION_STEPS = 12
"""Lattice cells per mean radius of a lesion."""


@dataclass(frozen=True)
class TruthRow:
    """Volumes of one lobe, lung or both lungs.

    Attributes:
        name: ``RUL`` .. ``LLL``, ``right``, ``left`` or ``total``.
        volume_ml: Air, vessels and lesions alike, up to the pleura and the hilum.
        infected_ml: Ground glass and consolidation.
        ggo_ml: Ground glass alone.
        consolidation_ml: Consolidation alone.
        infected_percent: Of ``volume_ml``.
        volume_error_ml: Standard error of ``volume_ml``, an upper bound.
        infected_error_ml: Standard error of ``infected_ml``, an upper bound.
    """

    name: str
    volume_ml: float
    infected_ml: float
    ggo_ml: float
    consolidation_ml: float
    infected_percent: float
    volume_error_ml: float
    infected_error_ml: float


@dataclass(frozen=True)
class LesionTruth:
    """One lesion as it ended up in the lung.

    Attributes:
        kind: Its class.
        lobe: The lobe that holds it, whole.
        centre_mm: Centre of mass, LPS mm.
        volume_ml: What neither pleura, fissure nor a lesion over it took away.
        volume_error_ml: Standard error of ``volume_ml``, an upper bound.
    """

    kind: LesionKind
    lobe: str
    centre_mm: Vector
    volume_ml: float
    volume_error_ml: float


@dataclass(frozen=True)
class Truth:
    """What a perfect measurement of the phantom finds.

    Lobes that the patient lacks, or that lie outside a crop, have no row.

    Attributes:
        rows: Lobes, then lungs, then total.
        lesions: Ground glass first; those with no volume left out.
    """

    rows: tuple[TruthRow, ...]
    lesions: tuple[LesionTruth, ...]

    def row(self, name: str) -> TruthRow:
        """The row of that name.

        Raises:
            KeyError: The patient has no such lobe or lung.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return asdict(self)


def measure(patient: Patient, lesions: list[Lesion]) -> Truth:
    """Volumes of lobes, lungs and lesions of a patient, within the order's crop.

    Args:
        patient: Anatomy.
        lesions: In order of precedence, the winner of an overlap last.
    """
    measured = [_measure_lesion(patient, lesions, number) for number in range(len(lesions))]
    entries = [entry for entry in measured if entry is not None]
    volumes, cells, cell_ml = _measure_lobes(patient)
    lobes = [
        _row(name, float(volumes[n]), _error_ml(float(cells[n]), cell_ml), entries, (name,))
        for n, name in enumerate(LOBES, start=1)
        if volumes[n] > 0
    ]
    rows = list(lobes)
    for name, members in (("right", LOBES[:3]), ("left", LOBES[3:]), ("total", LOBES)):
        parts = [r for r in lobes if r.name in members]
        if parts:
            error = float(np.sqrt(sum(r.volume_error_ml**2 for r in parts)))
            rows.append(_row(name, sum(r.volume_ml for r in parts), error, entries, members))
    return Truth(tuple(rows), tuple(entries))


def _error_ml(cells: float, cell_ml: float) -> float:
    return float(np.sqrt(cells) * cell_ml / 2)


def _row(
    name: str,
    volume_ml: float,
    error_ml: float,
    lesions: list[LesionTruth],
    lobes: tuple[str, ...],
) -> TruthRow:
    inside = [e for e in lesions if e.lobe in lobes]
    ggo = float(sum(e.volume_ml for e in inside if e.kind == "ggo"))
    dense = float(sum(e.volume_ml for e in inside if e.kind == "consolidation"))
    error = float(np.sqrt(sum(e.volume_error_ml**2 for e in inside)))
    percent = 100 * (ggo + dense) / volume_ml
    return TruthRow(name, volume_ml, ggo + dense, ggo, dense, percent, error_ml, error)


def _lattice(
    patient: Patient, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], step: float
) -> Grid:
    """Cells of ``step`` mm that fill the box, cut at the order's crop."""
    crop = patient.spec.crop_z_mm
    step_z = step
    if crop is not None:
        low, high = low.copy(), high.copy()
        low[2], high[2] = max(low[2], crop[0]), min(high[2], crop[1])
    count = np.maximum(np.ceil((high - low) / step), 1).astype(int)
    step_z = float(max(high[2] - low[2], 1e-6) / count[2])
    affine = np.diag([step, step, step_z, 1.0])
    affine[:3, 3] = low + np.diag(affine)[:3] / 2
    return Grid((int(count[2]), int(count[1]), int(count[0])), affine)


def _measure_lobes(
    patient: Patient,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Volume (ml) and number of surface cells per lobe label 0..5, and a cell's volume."""
    half = np.array([165.0, 135.0, 175.0]) * patient.spec.scale
    grid = _lattice(patient, -half, half, LUNG_STEP_MM * patient.spec.scale)
    rng = np.random.default_rng([patient.spec.seed, 4000])
    labels = np.zeros(grid.shape, np.uint8)
    for blocks in grid.slabs():
        label(patient, [], grid, blocks, lambda b: _jittered(grid, b, rng), labels, None)
    counts = np.bincount(labels.ravel(), minlength=6)
    volumes = counts.astype(float) * grid.voxel_ml
    cells = np.zeros(6)
    for n in range(1, 6):
        own = labels == n
        cells[n] = (own & ~ndimage.binary_erosion(own)).sum() * 2
    return volumes, cells, grid.voxel_ml


def _jittered(grid: Grid, block: Block, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """One point per cell, at random within it, LPS mm."""
    step = np.diag(grid.affine)
    x, y, z = (
        p + rng.uniform(-s / 2, s / 2, p.shape).astype(np.float32)
        for p, s in zip(grid.points(block, divided=False), step, strict=False)
    )
    return x, y, z


def _measure_lesion(patient: Patient, lesions: list[Lesion], number: int) -> LesionTruth | None:
    """One lesion's volume and centre of mass, by its own fine lattice."""
    lesion = lesions[number]
    if lesion.lobe == 0:
        return None
    reach = lesion.radius_mm * patient.spec.scale * WARP
    centre = np.array(lesion.spec.centre_mm)
    size = float(np.prod(lesion.spec.radii_mm)) ** (1 / 3)
    grid = _lattice(patient, centre - reach, centre + reach, size / LESION_STEPS)
    rng = np.random.default_rng([patient.spec.seed, 5000, lesion.spec.seed])
    rivals = [r for r in lesions[number + 1 :] if r.touches(lesion)]
    total, moment, surface = 0, np.zeros(3), 0.0
    for blocks in grid.slabs():
        for block in blocks:
            points = _jittered(grid, block, rng)
            s = patient.samples(*points)
            inside = lesion.contains(s)
            for rival in rivals if inside.any() else []:
                inside &= ~rival.contains(s)
            count = int(inside.sum())
            total += count
            moment += [float(p[inside].sum(dtype=float)) for p in points]
            own = inside.reshape(block.shape)
            surface += 2.0 * float((own & ~ndimage.binary_erosion(own)).sum())
    if total == 0:
        return None
    cell_ml = grid.voxel_ml
    x, y, z = (float(v) for v in moment / total)
    name = LOBES[int(patient.named(np.array([lesion.lobe], np.uint8))[0]) - 1]
    error = _error_ml(surface, cell_ml)
    return LesionTruth(lesion.spec.kind, name, (x, y, z), total * cell_ml, error)
