"""The slices that a report shows: the worst one of every affected lobe, and one coronal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import Lobe, Lung, SegmentationResult

from .slices import AXIAL, CORONAL, choose_slices

_LEAST_ML = 0.05
"""Less infection than this in a lobe makes it no affected lobe: the least lesion kept."""


@dataclass(frozen=True)
class KeySlice:
    """One slice and why it is shown.

    Attributes:
        axis: `AXIAL` or `CORONAL`.
        index: Index along the axis.
        regions: Lobes (or lungs, without lobes) whose worst slice it is; empty for a slice
            that only gives an overview.
    """

    axis: int
    index: int
    regions: tuple[Lobe | Lung, ...] = ()


def key_slices(result: SegmentationResult) -> tuple[KeySlice, ...]:
    """Choose slices by content, from head to feet, the coronal one last.

    Per affected lobe the axial slice with its largest infected area; without lobes per lung. A
    slice that is the worst of several regions is shown once. Without infection: two axial
    slices through the lungs. The coronal slice is the one with the largest infected area.
    """
    worst: dict[int, list[Lobe | Lung]] = {}
    for region, mask in _regions(result):
        areas = np.count_nonzero(mask & (result.infection > 0), axis=(1, 2))
        if areas.sum() * result.ct.voxel_volume_ml >= _LEAST_ML:
            worst.setdefault(int(areas.argmax()), []).append(region)
    axial = [KeySlice(AXIAL, index, tuple(regions)) for index, regions in worst.items()]
    if not axial:
        chosen = choose_slices(result, AXIAL, 4).indices
        axial = [KeySlice(AXIAL, index) for index in chosen[1:-1] or chosen]
    axial.sort(key=lambda item: -item.index)
    coronal = choose_slices(result, CORONAL, 3)
    index = coronal.indices[len(coronal.indices) // 2] if coronal.worst is None else coronal.worst
    return (*axial, KeySlice(CORONAL, index))


def _regions(result: SegmentationResult) -> list[tuple[Lobe | Lung, NDArray[np.bool_]]]:
    anatomy = result.anatomy
    if anatomy.lobes is None:
        return [(lung, anatomy.lungs == lung) for lung in Lung]
    return [(lobe, anatomy.lobes == lobe) for lobe in Lobe]
