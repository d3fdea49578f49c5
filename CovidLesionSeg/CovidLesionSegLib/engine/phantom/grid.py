"""Voxel grids cut into blocks, small enough for the processor's cache and for skipping."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .shapes import Array

BLOCK_SAMPLES = 8_000
PROBE_MM = 8.0
"""Distance of the points at which layers are tried before a block is painted."""


@dataclass(frozen=True)
class Block:
    """A box of voxels, as slices over (z, y, x)."""

    z: slice
    y: slice
    x: slice

    @property
    def index(self) -> tuple[slice, slice, slice]:
        """For numpy."""
        return self.z, self.y, self.x

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x)."""
        z, y, x = (part.stop - part.start for part in self.index)
        return z, y, x


class Grid:
    """Where the voxels are, and how finely each is sampled.

    Args:
        shape: Voxels (z, y, x).
        affine: Index (x, y, z) to LPS mm.
        coarsest_mm: Voxels longer than this are divided; ``inf`` for one sample each.
        scale: Size of the patient; probes move closer with it.

    Attributes:
        spacing_mm_zyx: Voxel size.
        splits: Samples per voxel along (z, y, x).
        sample_mm: Mean distance of the samples.
        probe_radius_mm: How far a block's points may be from the nearest of its probes.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        affine: npt.NDArray[np.float64],
        coarsest_mm: float = np.inf,
        scale: float = 1.0,
    ) -> None:
        self.shape, self.affine = shape, affine
        self.spacing_mm_zyx = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
        self.splits = np.maximum(np.ceil(self.spacing_mm_zyx / coarsest_mm - 1e-6), 1).astype(int)
        sample_mm_zyx = self.spacing_mm_zyx / self.splits
        self.sample_mm = float(sample_mm_zyx.mean())
        edge_mm = (BLOCK_SAMPLES * sample_mm_zyx.prod()) ** (1 / 3)
        self._block = np.maximum(np.round(edge_mm / self.spacing_mm_zyx), 1).astype(int)
        longest_mm = float((self._block * self.spacing_mm_zyx).max())
        self._probes = math.ceil(longest_mm / (PROBE_MM * scale))
        corners = np.array([[x, y, 1] for x in (-1, 1) for y in (-1, 1)], float)
        half = corners * self._block[::-1] / self._probes / 2 @ affine[:3, :3].T
        self.probe_radius_mm = float(np.linalg.norm(half, axis=1).max())

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, ml."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000

    def slabs(self) -> Iterator[list[Block]]:
        """Blocks, slab by slab along z."""
        cuts = [
            [slice(i, min(i + int(step), n)) for i in range(0, n, int(step))]
            for n, step in zip(self.shape, self._block, strict=True)
        ]
        for z in cuts[0]:
            yield [Block(z, y, x) for y in cuts[1] for x in cuts[2]]

    def points(self, block: Block, divided: bool) -> tuple[Array, Array, Array]:
        """LPS mm of a block's voxel centres, or of all samples; each flat, in (z, y, x) order."""
        axes = []
        for part, split in zip(block.index, self.splits, strict=True):
            n = int(split) if divided else 1
            steps = np.arange((part.stop - part.start) * n)
            axes.append(part.start - 0.5 + (steps + 0.5) / n)
        k, j, i = np.ix_(*axes)
        a = self.affine
        x, y, z = (
            (a[r, 0] * i + (a[r, 1] * j + (a[r, 2] * k + a[r, 3]))).astype(np.float32).ravel()
            for r in range(3)
        )
        return x, y, z

    def probes(self, blocks: list[Block]) -> tuple[Array, Array, Array]:
        """LPS mm of a lattice of points in each block, block by block."""
        parts = (np.arange(self._probes) + 0.5) / self._probes
        edges = np.array([[(p.start, p.stop) for p in (b.x, b.y, b.z)] for b in blocks], float)
        low, size = edges[..., 0] - 0.5, edges[..., 1] - edges[..., 0]
        inner = np.stack(np.meshgrid(parts, parts, parts, indexing="ij"), axis=-1).reshape(-1, 3)
        index = (low[:, None] + inner * size[:, None]).reshape(-1, 3)
        x, y, z = (index @ self.affine[:3, :3].T + self.affine[:3, 3]).astype(np.float32).T
        return x, y, z
