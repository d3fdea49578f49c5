"""Lesions: 3D connected components of the infection, each with its own numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .definitions import CONSOLIDATION_FROM_HU
from .lungs_grid import BlockGrid
from .masks import TOUCHING, bounding_box, distance_mm
from .opacity import lesion_class
from .result import Anatomy, Lesion, Lobe, Lung, Prediction
from .uncertainty import binary_entropy, doubt
from .volume import CtVolume


@dataclass(frozen=True, eq=False)
class PleuralDistance:
    """Distance to the lungs' surface; made once per CT, used after every edit.

    Attributes:
        distance_mm: float16 on the working grid, 0 outside the lungs.
        factor: Voxels per block along ``(z, y, x)``.
    """

    distance_mm: NDArray[np.float16]
    factor: tuple[int, int, int]

    @classmethod
    def of(cls, lungs: NDArray[np.uint8], ct: CtVolume) -> PleuralDistance:
        """Measure on blocks of about 2 mm, which is also the accuracy."""
        grid = BlockGrid.over(ct.shape_zyx, ct.spacing_mm_zyx)
        factor = grid.factor
        blocks = lungs[factor[0] // 2 :: factor[0], factor[1] // 2 :: factor[1]]
        inside = blocks[:, :, factor[2] // 2 :: factor[2]] > 0
        distance = np.zeros(inside.shape, dtype=np.float16)
        if inside.any():
            box = bounding_box(inside)
            padded = np.pad(~inside[box], 1, constant_values=True)
            measured = distance_mm(padded, grid.spacing_mm_zyx)[1:-1, 1:-1, 1:-1]
            # From the voxel's centre to the surface, which lies half a voxel before the
            # first centre outside.
            half = min(grid.spacing_mm_zyx) / 2.0
            distance[box] = np.maximum(measured - half, 0.0)
        return cls(distance, factor)

    def at(
        self, z: NDArray[np.intp], y: NDArray[np.intp], x: NDArray[np.intp]
    ) -> NDArray[np.float16]:
        """Return the distance in mm at voxels of the CT's grid."""
        index = tuple(
            np.minimum(axis // factor, size - 1)
            for axis, factor, size in zip(
                (z, y, x), self.factor, self.distance_mm.shape, strict=True
            )
        )
        distance: NDArray[np.float16] = self.distance_mm[index]
        return distance


def find_lesions(
    infection: NDArray[np.uint8],
    prediction: Prediction,
    ct: CtVolume,
    anatomy: Anatomy,
    minimum_ml: float,
    pleura: PleuralDistance | None = None,
) -> tuple[tuple[Lesion, ...], NDArray[np.uint16]]:
    """Find the lesions and measure each.

    Voxels that touch by a face, an edge or a corner belong together. Components below
    ``minimum_ml`` are no lesions: they get label 0 (their voxels still count in the
    table's volumes).

    Args:
        infection: uint8 ``[z, y, x]``, non-zero where infected.
        prediction: Probability and agreement.
        ct: The CT.
        anatomy: Lungs and lobes.
        minimum_ml: Smallest lesion.
        pleura: Distance to the pleura, if it is already there.

    Returns:
        The lesions, largest first, and the component map: uint16 ``[z, y, x]`` with each
        lesion's id.
    """
    labels = np.zeros(infection.shape, dtype=np.uint16)
    infected = infection > 0
    if not infected.any():
        return (), labels
    box = bounding_box(infected)
    found, count = ndimage.label(infected[box], structure=TOUCHING)
    sizes = np.bincount(found.ravel(), minlength=count + 1)
    sizes[0] = 0
    big = np.flatnonzero(sizes * ct.voxel_volume_ml >= max(minimum_ml, 1e-12))
    # Stable: equal sizes keep the scan order, so that two runs agree.
    order = big[np.argsort(-sizes[big], kind="stable")][: np.iinfo(np.uint16).max]
    ids = np.zeros(count + 1, dtype=np.uint16)
    ids[order] = np.arange(1, order.size + 1)
    labels[box] = ids[found]
    if order.size == 0:
        return (), labels
    pleura = pleura or PleuralDistance.of(anatomy.lungs, ct)
    return measure_lesions(labels, order.size, prediction, ct, anatomy, pleura), labels


def _majority(
    ids: NDArray[np.uint16], labels: NDArray[np.uint8], count: int, kinds: int
) -> NDArray[np.intp]:
    """Return, per lesion id 0..count, the label (0..kinds) that holds most of it.

    0 only if none of its voxels has a label.
    """
    votes = np.bincount(
        ids.astype(np.intp) * (kinds + 1) + labels, minlength=(count + 1) * (kinds + 1)
    ).reshape(count + 1, kinds + 1)
    winner = 1 + np.argmax(votes[:, 1:], axis=1)
    return np.where(votes[:, 1:].any(axis=1), winner, 0)


def measure_lesions(
    labels: NDArray[np.uint16],
    count: int,
    prediction: Prediction,
    ct: CtVolume,
    anatomy: Anatomy,
    pleura: PleuralDistance,
) -> tuple[Lesion, ...]:
    """Measure lesions that are already told apart.

    Args:
        labels: uint16 ``[z, y, x]`` with every id from 1 to ``count``.
        count: Number of lesions.
        prediction: Probability and agreement.
        ct: The CT.
        anatomy: Lungs and lobes.
        pleura: Distance to the pleura.
    """
    where = np.nonzero(labels)
    ids = labels[where]
    sizes = np.bincount(ids, minlength=count + 1).astype(np.float64)
    sizes[0] = 1.0

    def mean(values: NDArray[np.generic]) -> NDArray[np.float64]:
        sums = np.bincount(ids, weights=values.astype(np.float64), minlength=count + 1)
        return np.asarray(sums / sizes)

    centre_zyx = [mean(axis) for axis in where]
    centre_xyz1 = np.stack([*centre_zyx[::-1], np.ones(count + 1)])
    centre_lps = (ct.affine_lps @ centre_xyz1)[:3].T
    hu = mean(ct.hu[where])
    dense = mean(ct.hu[where] >= CONSOLIDATION_FROM_HU)
    entropy = mean(binary_entropy(prediction.infection[where]))
    agrees = None if prediction.agreement is None else prediction.agreement[where]
    agreement = None if agrees is None else mean(agrees)
    wrong = mean(doubt(prediction.infection[where], np.ones(ids.shape, dtype=bool), agrees))
    lungs = _majority(ids, anatomy.lungs[where], count, max(Lung))
    lobes = np.zeros(count + 1, dtype=np.intp)
    if anatomy.lobes is not None:
        lobes = _majority(ids, anatomy.lobes[where], count, max(Lobe))
    nearest = np.full(count + 1, np.inf, dtype=np.float16)
    np.minimum.at(nearest, ids, pleura.at(*where))
    volumes = sizes * ct.voxel_volume_ml
    return tuple(
        Lesion(
            id=i,
            lobe=Lobe(int(lobes[i])) if lobes[i] else None,
            lung=Lung(int(lungs[i])) if lungs[i] else None,
            volume_ml=float(volumes[i]),
            diameter_mm=float(np.cbrt(6000.0 * volumes[i] / np.pi)),
            mean_hu=float(hu[i]),
            centroid_lps_mm=(
                float(centre_lps[i, 0]),
                float(centre_lps[i, 1]),
                float(centre_lps[i, 2]),
            ),
            uncertainty=float(np.clip(entropy[i], 0.0, 1.0)),
            agreement=None if agreement is None else float(agreement[i]),
            pleural_distance_mm=float(nearest[i]) if lungs[i] else None,
            lesion_class=lesion_class(float(dense[i])),
            doubt_ml=float(wrong[i] * volumes[i]),
        )
        for i in range(1, count + 1)
    )
