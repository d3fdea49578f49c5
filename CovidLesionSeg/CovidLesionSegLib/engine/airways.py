"""Trachea and main bronchi, found so that they can be left out of the lungs.

The trachea is the chain of small round air regions that runs down the upper chest; from it
a region grows at rising thresholds until it would break through into the lung
(explosion-controlled region growing, as in Hu, Hoffman and Reinhardt, IEEE Trans Med
Imaging 20(6), 2001, section II-B, here on block means).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .masks import Mask, SpacingZyx, components, dilate

_TRACHEA_AREA_MM2 = (15.0, 900.0)
_TRACHEA_MAX_HU = -800
_MIN_CHAIN_MM = 20.0
_THRESHOLDS_HU = range(-960, -779, 20)
_MAX_GROWTH = 1.5
_MAX_AIRWAY_ML = 110.0
_MAX_VOLUME_PER_TRACHEA = 6.0


@dataclass(frozen=True)
class _Spot:
    """One small air region of one slice."""

    label: int
    y_mm: float
    x_mm: float


def _spots_by_slice(
    hu: NDArray[np.int16], labels: NDArray[np.int32], spacing: SpacingZyx
) -> list[list[_Spot]]:
    """List the in-plane air regions of a trachea's size, darkness and roundness."""
    pixel_mm2 = spacing[1] * spacing[2]
    boxes = ndimage.find_objects(labels)
    spots: list[list[_Spot]] = [[] for _ in range(hu.shape[0])]
    for index, box in enumerate(boxes, start=1):
        if box is None:
            continue
        height_mm = (box[1].stop - box[1].start) * spacing[1]
        width_mm = (box[2].stop - box[2].start) * spacing[2]
        if max(height_mm, width_mm) > 45.0 or max(height_mm, width_mm) > 3.0 * min(
            height_mm, width_mm
        ):
            continue
        inside = labels[box][0] == index
        area = np.count_nonzero(inside) * pixel_mm2
        if not _TRACHEA_AREA_MM2[0] <= area <= _TRACHEA_AREA_MM2[1]:
            continue
        if area < 0.5 * height_mm * width_mm or hu[box][0][inside].min() > _TRACHEA_MAX_HU:
            continue
        y, x = np.nonzero(inside)
        spots[box[0].start].append(
            _Spot(
                index,
                (box[1].start + float(y.mean())) * spacing[1],
                (box[2].start + float(x.mean())) * spacing[2],
            )
        )
    return spots


def _chains(spots: list[list[_Spot]], step_mm: float) -> list[list[_Spot]]:
    """Join spots of neighbouring slices whose centres lie close, from the top down."""
    reach_mm = 5.0 + 0.7 * step_mm
    open_chains: list[list[_Spot]] = []
    closed: list[list[_Spot]] = []
    for slice_spots in reversed(spots):
        free = list(slice_spots)
        still_open = []
        for chain in sorted(open_chains, key=len, reverse=True):
            last = chain[-1]
            near = [
                (np.hypot(s.y_mm - last.y_mm, s.x_mm - last.x_mm), i) for i, s in enumerate(free)
            ]
            distance, best = min(near, default=(np.inf, -1))
            if distance <= reach_mm:
                chain.append(free.pop(best))
                still_open.append(chain)
            else:
                closed.append(chain)
        open_chains = still_open + [[spot] for spot in free]
    return closed + open_chains


def _grow(hu: NDArray[np.int16], air: Mask, seeds: Mask, voxel_ml: float) -> Mask:
    """Grow from the trachea at rising thresholds, stopping before the lung is entered."""
    seed_ml = max(np.count_nonzero(seeds) * voxel_ml, 1.0)
    limit_ml = min(_MAX_AIRWAY_ML, _MAX_VOLUME_PER_TRACHEA * seed_ml)
    grown, grown_ml = seeds, seed_ml
    for threshold_hu in _THRESHOLDS_HU:
        labels, count = components((hu < threshold_hu) & air | seeds)
        hit = np.zeros(count + 1, dtype=bool)
        hit[np.unique(labels[seeds])] = True
        hit[0] = False
        candidate = hit[labels]
        volume_ml = np.count_nonzero(candidate) * voxel_ml
        if volume_ml > limit_ml or (
            threshold_hu > _THRESHOLDS_HU[0] and volume_ml > _MAX_GROWTH * grown_ml + 2.0
        ):
            break
        grown, grown_ml = candidate, volume_ml
    return grown


def find_airways(hu: NDArray[np.int16], air: Mask, body: Mask, spacing_mm_zyx: SpacingZyx) -> Mask:
    """Return lumen and wall of the trachea and the main bronchi.

    Args:
        hu: int16 ``[z, y, x]`` in LPS axis order on the working grid.
        air: Air inside the body.
        body: Filled body.
        spacing_mm_zyx: Edge lengths of a voxel in mm.

    Returns:
        Boolean ``[z, y, x]``; empty where no trachea is seen, for example in a scan of the
        lung bases only.
    """
    labels, _ = components(air & (hu < -500), in_plane=True)
    spots = _spots_by_slice(hu, labels, spacing_mm_zyx)
    middle_mm = _body_middle_x_mm(body, spacing_mm_zyx)
    best: list[_Spot] = []
    best_score = 0.0
    for chain in _chains(spots, spacing_mm_zyx[0]):
        length_mm = len(chain) * spacing_mm_zyx[0]
        off_mm = abs(float(np.mean([spot.x_mm for spot in chain])) - middle_mm)
        score = length_mm - off_mm
        if length_mm >= _MIN_CHAIN_MM and off_mm < 45.0 and score > best_score:
            best, best_score = chain, score
    if not best:
        return np.zeros_like(air)
    wanted = np.zeros(int(labels.max()) + 1, dtype=bool)
    wanted[[spot.label for spot in best]] = True
    seeds = wanted[labels]
    voxel_ml = float(np.prod(spacing_mm_zyx)) / 1000.0
    grown = _grow(hu, air, seeds, voxel_ml)
    # Partial volume and the wall: the ring around the lumen is neither air nor lung.
    return dilate(grown, max(1.6, *spacing_mm_zyx[1:]), spacing_mm_zyx)


def _body_middle_x_mm(body: Mask, spacing_mm_zyx: SpacingZyx) -> float:
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    if columns.size == 0:
        return int(body.shape[2]) * spacing_mm_zyx[2] / 2.0
    return (int(columns[0]) + int(columns[-1])) / 2.0 * spacing_mm_zyx[2]
