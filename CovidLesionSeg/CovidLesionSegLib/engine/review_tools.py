"""Proposals for a person who corrects lesions: where to split, what to add."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CovidLesionSegLib.errors import InputError

from .masks import TOUCHING
from .postprocess import MINIMUM_LESION_ML
from .review import LesionBook
from .review_values import ReviewContext

SEED_RADIUS_MM = 3.0
"""A click is this exact."""

GROWN_RADIUS_MM = 30.0
"""A missed lesion is looked for within this distance of the click."""

LEAST_PROBABILITY = 0.02
"""Below this the networks saw nothing at all."""

_ROUNDS = 20


def index_of_point(
    context: ReviewContext, point_lps_mm: tuple[float, float, float]
) -> tuple[int, int, int]:
    """Return the voxel ``(z, y, x)`` of a point.

    Raises:
        InputError: ``point-outside`` when it lies beyond the CT.
    """
    xyz = (np.linalg.inv(context.ct.affine_lps) @ [*point_lps_mm, 1.0])[:3]
    x, y, z = (int(value) for value in np.rint(xyz))
    if not all(0 <= i < n for i, n in zip((z, y, x), context.ct.shape_zyx, strict=True)):
        raise InputError("point-outside", "That place lies outside the CT.", "Click into the lung.")
    return z, y, x


def split_at(
    book: LesionBook, context: ReviewContext, lesion_id: int, index_zyx: tuple[int, int, int]
) -> NDArray[np.bool_]:
    """Divide a lesion in two: the part around a place, and the rest.

    Two-means clustering of the voxels in mm, begun at the place and at the voxel farthest
    from it.

    Args:
        book: The lesions.
        context: What stays the same.
        lesion_id: The lesion.
        index_zyx: The place, a voxel of the CT.

    Returns:
        Boolean on the lesion's box, true for the part around the place.

    Raises:
        InputError: ``lesion-not-divisible``.
    """
    box = book.box(lesion_id)
    inside = book.labels[box] == lesion_id
    spacing = np.array(context.ct.spacing_mm_zyx)
    points = np.argwhere(inside) * spacing
    place = (np.array(index_zyx) - [part.start for part in box]) * spacing
    start = points[np.argmin(((points - place) ** 2).sum(axis=1))]
    farthest = points[np.argmax(((points - start) ** 2).sum(axis=1))]
    centres = np.stack([start, farthest])
    near = np.zeros(len(points), dtype=bool)
    for _ in range(_ROUNDS):
        distance = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
        closer = distance[:, 0] <= distance[:, 1]
        if (closer == near).all():
            break
        near = closer
        if near.all() or not near.any():
            break
        centres = np.stack([points[near].mean(axis=0), points[~near].mean(axis=0)])
    smallest = min(int(near.sum()), int((~near).sum())) * context.ct.voxel_volume_ml
    if smallest < MINIMUM_LESION_ML:
        raise InputError(
            "lesion-not-divisible",
            "The lesion can't be split at this place.",
            "Move the views to the part that you want to separate.",
        )
    part = np.zeros(inside.shape, dtype=bool)
    part[inside] = near
    return part


def grow_at(
    context: ReviewContext, infection: NDArray[np.uint8], index_zyx: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Return the infection with a lesion added that the networks saw but did not call.

    The voxels around the place whose probability is at least half of the highest within
    `SEED_RADIUS_MM` of it, connected to it, inside the lungs and within `GROWN_RADIUS_MM`.

    Args:
        context: What stays the same.
        infection: uint8 ``[z, y, x]``.
        index_zyx: The place, a voxel of the CT.

    Raises:
        InputError: ``nothing-to-grow`` outside the lungs or where no network saw anything.
    """
    spacing = context.ct.spacing_mm_zyx
    z, y, x = (
        slice(max(0, i - int(GROWN_RADIUS_MM / step)), i + int(GROWN_RADIUS_MM / step) + 1)
        for i, step in zip(index_zyx, spacing, strict=True)
    )
    box = (z, y, x)
    probability = context.prediction.infection[box].astype(np.float32)
    probability[context.anatomy.lungs[box] == 0] = 0.0
    grids = np.ogrid[tuple(slice(0, size) for size in probability.shape)]
    distance2 = sum(
        ((grid + part.start - i) * step) ** 2
        for grid, part, i, step in zip(grids, box, index_zyx, spacing, strict=True)
    )
    seed = distance2 <= SEED_RADIUS_MM**2
    peak = float(probability[seed].max(initial=0.0))
    if peak < LEAST_PROBABILITY:
        raise InputError(
            "nothing-to-grow",
            "The networks saw no infection at this place.",
            "Draw the lesion with the Segment Editor below.",
        )
    wanted = (probability >= peak / 2.0) & (distance2 <= GROWN_RADIUS_MM**2)
    pieces, _ = ndimage.label(wanted, structure=TOUCHING)
    own = np.unique(pieces[seed & wanted])
    grown = infection.copy()
    grown[box][np.isin(pieces, own[own > 0])] = 1
    return grown
