"""Tissues as paint: each layer covers what lies under it, by its share of a sample.

Layers are painted from the air outwards-in. A layer also says, for whole
blocks of samples, whether it can be skipped or covers everything, which makes
a full chest at sub-millimetre voxels a matter of seconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .shapes import Array, Field, Samples, clamp
from .tubes import Tubes

SKIP, MIXED, COVERED = 0, 1, 2
STEEPEST = 1.7
"""Bound on how fast any field changes per mm of the patient, for skipping blocks."""

_ROD_CELL_MM = 16.0
_ROD_CELL_SAMPLES = 400

WARP = 1.3
"""Bound on how much the map to the canonical anatomy stretches a distance."""


def by_block(status: npt.NDArray[np.uint8], blocks: int) -> npt.NDArray[np.uint8]:
    """Status of each block from those of its probes, given block by block."""
    probes = status.reshape(blocks, -1)
    first = probes[:, 0]
    return np.where((probes == first[:, None]).all(axis=1), first, MIXED).astype(np.uint8)


class Layer(ABC):
    """One tissue."""

    name: str

    @abstractmethod
    def survey(self, centres: Samples, radius_mm: float) -> npt.NDArray[np.uint8]:
        """SKIP, MIXED or COVERED for each ball of ``radius_mm`` around a centre."""

    @abstractmethod
    def paint(self, s: Samples, hu: Array, blur_mm: float) -> None:
        """Blend this tissue into ``hu`` in place."""


def blend(hu: Array, coverage: Array, tissue: float | Array) -> None:
    """Mix a tissue into the picture in place by its share of each sample."""
    hu += coverage * (tissue - hu)


def soft_edge(distance: Array, width_mm: float) -> Array:
    """Share of a sample inside a smooth surface, seen through a box of ``width_mm``."""
    return clamp(np.float32(0.5) - distance * np.float32(1 / width_mm), 0, 1)


@dataclass
class Solid(Layer):
    """A tissue that fills a volume.

    Attributes:
        name: For reading and for tests.
        field: Negative inside.
        hu: Attenuation, constant or by sample.
        softness_mm: Width of the edge beyond that of the scanner.
    """

    name: str
    field: Field
    hu: float | Field
    softness_mm: float = 0.0

    def survey(self, centres: Samples, radius_mm: float) -> npt.NDArray[np.uint8]:
        """See Layer."""
        distance = self.field(centres)
        reach = STEEPEST * radius_mm + self.softness_mm
        status = np.full(distance.shape, MIXED, np.uint8)
        status[distance > reach] = SKIP
        status[distance < -reach] = COVERED
        return status

    def paint(self, s: Samples, hu: Array, blur_mm: float) -> None:
        """See Layer."""
        coverage = soft_edge(self.field(s), float(np.hypot(blur_mm, self.softness_mm)))
        if coverage.any():
            blend(hu, coverage, self.hu(s) if callable(self.hu) else self.hu)


@dataclass
class Sheet(Layer):
    """A membrane thinner than a voxel, such as a fissure.

    Attributes:
        name: For reading and for tests.
        field: Unsigned distance to the membrane.
        within: Field of the organ that holds it.
        thickness_mm: Thickness, constant or by sample.
        hu: Attenuation of the membrane itself.
    """

    name: str
    field: Field
    within: Field
    thickness_mm: Field
    hu: float

    def survey(self, centres: Samples, radius_mm: float) -> npt.NDArray[np.uint8]:
        """See Layer."""
        distance = np.maximum(self.field(centres), self.within(centres))
        return np.where(distance > STEEPEST * radius_mm, SKIP, MIXED).astype(np.uint8)

    def paint(self, s: Samples, hu: Array, blur_mm: float) -> None:
        """See Layer."""
        thickness = self.thickness_mm(s)
        profile = np.minimum((thickness + blur_mm) / 2 - self.field(s), thickness)
        profile = np.maximum(profile, 0)
        coverage = profile * np.float32(1 / blur_mm) * soft_edge(self.within(s), blur_mm)
        blend(hu, np.minimum(coverage, 1), self.hu)


def _rod_cells(s: Samples) -> list[tuple[npt.NDArray[np.intp], Samples]]:
    """The samples in small cubes, so that each is compared with the rods nearby only."""
    return [(index, s.subset(index)) for index in s.cells(_ROD_CELL_MM, _ROD_CELL_SAMPLES)]


@dataclass
class Rods(Layer):
    """Vessels, airways and long bones.

    Attributes:
        name: For reading and for tests.
        tubes: Geometry.
        hu: Attenuation.
    """

    name: str
    tubes: Tubes
    hu: float

    def survey(self, centres: Samples, radius_mm: float) -> npt.NDArray[np.uint8]:
        """See Layer."""
        points = np.stack([centres.x, centres.y, centres.z], axis=1).astype(float)
        return np.where(self.tubes.touch(points, WARP * radius_mm), MIXED, SKIP).astype(np.uint8)

    def paint(self, s: Samples, hu: Array, blur_mm: float) -> None:
        """See Layer."""
        local = self.tubes[self.tubes.near(s, blur_mm)]
        if len(local) == 0:
            return
        for index, part in s.recall("rod cells", _rod_cells):
            rods = local.near(part, blur_mm)
            if len(rods):
                patch = hu[index]
                blend(patch, local[rods].coverage(part, blur_mm), self.hu)
                hu[index] = patch
