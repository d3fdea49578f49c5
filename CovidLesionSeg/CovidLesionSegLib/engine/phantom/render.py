"""Sampling a patient on a grid: attenuation with partial volume, and reconstruction noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .grid import Block, Grid
from .labels import label
from .layers import COVERED, SKIP, Layer, by_block
from .lesions import Lesion
from .patient import Patient
from .shapes import Array

AIR_HU = -1000.0
LOWEST_HU, HIGHEST_HU = -1024, 3071
SCANNER_BLUR_MM = 0.9
"""Width of the scanner's own blur, added to that of a sample."""

COARSEST_SAMPLE_MM = 3.0


@dataclass
class Sampled:
    """What a scan of the patient gives, all [z, y, x]."""

    hu: npt.NDArray[np.int16]
    infection: npt.NDArray[np.uint8]
    lobes: npt.NDArray[np.uint8]


class Scanner:
    """Samples one patient on one grid.

    Args:
        patient: Anatomy.
        lesions: Lesions, the ones that win an overlap last.
        shape: Voxels (z, y, x).
        affine: Index (x, y, z) to LPS mm.
    """

    def __init__(
        self,
        patient: Patient,
        lesions: list[Lesion],
        shape: tuple[int, int, int],
        affine: npt.NDArray[np.float64],
    ) -> None:
        scale = patient.spec.scale
        self._patient, self._lesions = patient, lesions
        self._grid = Grid(shape, affine, COARSEST_SAMPLE_MM, scale)
        # From here on in canonical mm, in which the layers live.
        self._blur_mm = float(np.hypot(SCANNER_BLUR_MM, self._grid.sample_mm)) / scale
        self._radius_mm = self._grid.probe_radius_mm / scale + self._blur_mm
        self._layers: list[Layer] = [
            *patient.layers(),
            *(lesion.layer() for lesion in lesions),
            *patient.vessel_layers(),
        ]

    def scan(self) -> Sampled:
        """Paint, label and add noise, slab by slab to save memory."""
        grid = self._grid
        out = Sampled(
            np.empty(grid.shape, np.int16),
            np.zeros(grid.shape, np.uint8),
            np.zeros(grid.shape, np.uint8),
        )
        noise = Noise(self._patient, grid)
        for blocks in grid.slabs():
            z = blocks[0].z
            slab = np.full((z.stop - z.start, *grid.shape[1:]), AIR_HU, np.float32)
            self._paint(blocks, slab)
            label(
                self._patient,
                self._lesions,
                grid,
                blocks,
                lambda block: grid.points(block, divided=False),
                out.lobes,
                out.infection,
            )
            noise.add(slab, z.start)
            np.clip(np.round(slab), LOWEST_HU, HIGHEST_HU, out=slab)
            out.hu[z] = slab.astype(np.int16)
        return out

    def _paint(self, blocks: list[Block], slab: Array) -> None:
        """Paint the blocks of one slab [z, y, x] that holds more than air."""
        probes = self._patient.samples(*self._grid.probes(blocks))
        surveys = np.stack(
            [by_block(layer.survey(probes, self._radius_mm), len(blocks)) for layer in self._layers]
        )
        for number in np.flatnonzero(surveys.any(axis=0)):
            block = blocks[number]
            hu = self._paint_block(block, surveys[:, number])
            slab[:, block.y, block.x] = hu

    def _paint_block(self, block: Block, status: npt.NDArray[np.uint8]) -> Array:
        """Blend the layers of one block, from the last one that hides all others."""
        covering = np.flatnonzero(status == COVERED)
        first = int(covering[-1]) if len(covering) else 0
        s = self._patient.samples(*self._grid.points(block, divided=True))
        hu = np.full(s.x.shape, np.float32(AIR_HU))
        for index in np.flatnonzero(status[first:] != SKIP) + first:
            self._layers[index].paint(s, hu, self._blur_mm)
        n, splits = block.shape, self._grid.splits
        fine = hu.reshape(n[0], splits[0], n[1], splits[1], n[2], splits[2])
        mean: Array = fine.mean(axis=(1, 3, 5))
        return mean


class Noise:
    """Reconstruction noise: band-passed in the slice, weakly linked along z.

    The in-plane power spectrum rises from near zero and falls again, as filtered
    back-projection gives it. Amplitude is highest in the middle of the body.
    Each slice has its own stream, so a scan does not depend on block sizes.

    Args:
        patient: Gives the seed, the level and the body's position.
        grid: Voxels.
    """

    def __init__(self, patient: Patient, grid: Grid) -> None:
        self._patient, self._grid = patient, grid
        dz, dy, dx = (float(v) for v in grid.spacing_mm_zyx)
        self._narrow = (0.55 / dy, 0.55 / dx)
        self._wide = (1.5 / dy, 1.5 / dx)
        self._link = 0.35 * float(np.exp(-dz))
        impulse = np.zeros((65, 65), np.float32)
        impulse[32, 32] = 1
        power = (self._shape(impulse) ** 2).sum() * (1 + 2 * self._link**2)
        self._gain = float(1 / np.sqrt(power))

    def _shape(self, white: Array) -> Array:
        narrow: Array = ndimage.gaussian_filter(white, self._narrow, mode="wrap", truncate=3)
        wide: Array = ndimage.gaussian_filter(white, self._wide, mode="wrap", truncate=3)
        return narrow - np.float32(0.7) * wide

    def _slice(self, k: int) -> Array:
        """Unit-free noise of slice ``k``, which may lie just outside the grid."""
        rng = np.random.default_rng([self._patient.spec.seed, 1000, k + 1])
        return self._shape(rng.standard_normal(self._grid.shape[1:], dtype=np.float32))

    def add(self, slab: Array, first: int) -> None:
        """Add noise in place to a slab [z, y, x] that begins at slice ``first``."""
        level = self._patient.spec.noise_hu
        if level == 0:
            return
        _, ny, nx = slab.shape
        block = Block(slice(first, first + 1), slice(0, ny), slice(0, nx))
        x, y, _ = self._patient.samples(*self._grid.points(block, divided=False)).room
        weight = 0.45 + 0.55 * np.exp(-((x / 150) ** 2 + (y / 120) ** 2))
        weight = weight.reshape(ny, nx) * np.float32(level * self._gain)
        before, here = self._slice(first - 1), self._slice(first)
        for k in range(len(slab)):
            after = self._slice(first + k + 1)
            slab[k] += weight * (here + self._link * (before + after))
            before, here = here, after
