"""From probabilities to lesions: the 3D step that joins the slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .flags import FAINT_LEFT_OUT
from .masks import TOUCHING, Box, Mask
from .resampling import bounding_window
from .surroundings import densities, density_ratio
from .volume import CtVolume

CORE_MARGIN = 0.15
"""A lesion must somewhere be this much more probable than the threshold."""

MINIMUM_LESION_ML = 0.05
"""Smaller components are dropped: a sphere of 4.6 mm diameter, below what a 5 mm slice can
show."""

LEAST_DENSITY_RATIO = 1.3
"""A finding must hold this much more tissue than the lung around it. Measured on the held-out
scans of three folds (``training/reports/finding-rules.md``): what expiration fakes lies below,
no lesion of a scan with disease is lost."""

LARGE_SHARE = 0.1
"""A finding that fills more of the lungs leaves no healthy lung to compare it with, and stays."""

LEFT_OUT_TOLD_PERCENT = 0.2
"""From this share of the lungs on the reader is told that faint findings were left out."""


@dataclass(frozen=True, eq=False)
class InfectionFindings:
    """What is called infected, and what was left out of it.

    Attributes:
        mask: uint8 ``[z, y, x]``, 1 where infected.
        left_out: Number of findings that are hardly denser than the lung around them.
        left_out_percent: Their volume in percent of the lungs.
    """

    mask: NDArray[np.uint8]
    left_out: int = 0
    left_out_percent: float = 0.0

    @property
    def flags(self) -> tuple[str, ...]:
        """What the reader must know: that much was left out."""
        return (FAINT_LEFT_OUT,) if self.left_out_percent >= LEFT_OUT_TOLD_PERCENT else ()


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Connected findings inside the box of the lungs.

    Attributes:
        box: The box.
        components: int32, numbers of the findings inside the box.
        sizes: Voxels of each number, the background included.
        keep: Whether a number stays.
    """

    box: Box
    components: NDArray[np.int32]
    sizes: NDArray[np.int64]
    keep: NDArray[np.bool_]

    def mask(self, shape_zyx: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return what stays."""
        mask = np.zeros(shape_zyx, dtype=np.uint8)
        for target, labels in zip(mask[self.box], self.components, strict=True):
            target[...] = self.keep[labels]
        return mask


def find_infection(
    ct: CtVolume, probability: NDArray[np.float16], lungs: NDArray[np.uint8], threshold: float
) -> InfectionFindings:
    """Do what `infection_mask` does and leave out what is hardly denser than the lung around.

    A finding stays if it holds `LEAST_DENSITY_RATIO` times as much tissue as the uncalled lung
    within 6 mm, or fills more than `LARGE_SHARE` of the lungs.

    Args:
        ct: The CT.
        probability: float16 ``[z, y, x]``.
        lungs: uint8 ``[z, y, x]``, non-zero where lesions can be.
        threshold: Probability, 0..1.
    """
    found = _candidates(probability, lungs, threshold, ct.voxel_volume_ml)
    if found is None:
        return InfectionFindings(np.zeros(probability.shape, dtype=np.uint8))
    faint = _faint(found, ct, lungs)
    found.keep[faint] = False
    share = found.sizes[faint].sum() / np.count_nonzero(lungs[found.box])
    return InfectionFindings(found.mask(probability.shape), len(faint), 100.0 * float(share))


def infection_mask(
    probability: NDArray[np.float16],
    lungs: NDArray[np.uint8],
    threshold: float,
    voxel_volume_ml: float,
) -> NDArray[np.uint8]:
    """Threshold with hysteresis in 3D and drop what is too small.

    A 26-connected component above ``threshold`` stays if it reaches ``threshold`` plus
    `CORE_MARGIN` somewhere (never more than 0.95) and holds at least `MINIMUM_LESION_ML`.

    Args:
        probability: float16 ``[z, y, x]``.
        lungs: uint8 ``[z, y, x]``, non-zero where lesions can be.
        threshold: Probability, 0..1.
        voxel_volume_ml: Volume of one voxel.

    Returns:
        uint8 ``[z, y, x]``, 1 where infected.
    """
    found = _candidates(probability, lungs, threshold, voxel_volume_ml)
    if found is None:
        return np.zeros(probability.shape, dtype=np.uint8)
    return found.mask(probability.shape)


def _candidates(
    probability: NDArray[np.float16],
    lungs: NDArray[np.uint8],
    threshold: float,
    voxel_volume_ml: float,
) -> _Candidates | None:
    found = bounding_window(lungs > 0)
    if found is None:
        return None
    z_range, window = found
    box = (z_range, *window.slices)
    inside = probability[box]
    above = (inside >= np.float32(threshold)) & (lungs[box] > 0)
    components, count = ndimage.label(above, structure=TOUCHING)
    if count == 0:
        return None
    # Slice by slice: numpy would make an index of eight bytes per voxel of the whole box.
    sizes = np.zeros(count + 1, dtype=np.int64)
    for labels in components:
        sizes += np.bincount(labels.ravel(), minlength=count + 1)
    core = above & (inside >= np.float32(max(min(threshold + CORE_MARGIN, 0.95), threshold)))
    has_core = np.zeros(count + 1, dtype=bool)
    has_core[np.unique(components[core])] = True
    keep = has_core & (sizes * voxel_volume_ml >= MINIMUM_LESION_ML)
    keep[0] = False
    return _Candidates(box, components, sizes, keep)


def _faint(found: _Candidates, ct: CtVolume, lungs: NDArray[np.uint8]) -> list[int]:
    """Return the numbers of the findings that are hardly denser than the lung around them."""
    components, spacing = found.components, ct.spacing_mm_zyx
    hu, inside = ct.hu[found.box], lungs[found.box] > 0
    large = LARGE_SHARE * int(np.count_nonzero(inside))

    def free(box: Box) -> Mask:
        lung: Mask = inside[box] & ~found.keep[components[box]]
        return lung

    faint = []
    for label, box in enumerate(ndimage.find_objects(components), start=1):
        if not found.keep[label] or found.sizes[label] > large:
            continue
        if density_ratio(*densities(label, box, components, free, hu, spacing)) < (
            LEAST_DENSITY_RATIO
        ):
            faint.append(label)
    return faint
