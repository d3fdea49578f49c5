"""One lesion of a review measured where it lies: the rest of the CT is not looked at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .lesions import PleuralDistance, measure_lesions
from .masks import Box, bounding_box
from .result import Lesion, Prediction
from .review_values import Labels, ReviewContext


class LesionMeter:
    """Measures single lesions of one CT, with the lungs and lobes of now.

    Args:
        context: What stays the same.

    Attributes:
        pleura: Distance to the surface of the lungs.
    """

    def __init__(self, context: ReviewContext) -> None:
        self._context = context
        self.pleura = PleuralDistance.of(context.anatomy.lungs, context.ct)

    def measure(self, labels: Labels, lesion_id: int, box: Box) -> tuple[Lesion, Box] | None:
        """Return a lesion and the smallest box around it; None when it has no voxels.

        Args:
            labels: uint16 ``[z, y, x]`` with the lesions' ids.
            lesion_id: The lesion.
            box: A box that holds it whole.
        """
        inside = labels[box] == lesion_id
        if not inside.any():
            return None
        z, y, x = (
            slice(outer.start + part.start, outer.start + part.stop)
            for outer, part in zip(box, bounding_box(inside), strict=True)
        )
        near = self._aligned((z, y, x))
        lesion = self._measured(labels[near] == lesion_id, near)
        return replace(lesion, id=lesion_id), (z, y, x)

    def _aligned(self, box: Box) -> Box:
        """Return a box whose start fits the blocks of the pleural distance."""
        z, y, x = (
            slice(part.start - part.start % step, part.stop)
            for part, step in zip(box, self.pleura.factor, strict=True)
        )
        return z, y, x

    def _measured(self, crop: NDArray[np.bool_], near: Box) -> Lesion:
        """Return the lesion of a mask on an aligned box, with id 1."""
        context = self._context
        affine = context.ct.affine_lps.copy()
        start_xyz = [part.start for part in near][::-1]
        affine[:3, 3] = (affine @ [*start_xyz, 1.0])[:3]
        # A block that the CT's border cuts may be missing; the one before it stands for it.
        blocks = tuple(
            slice(min(part.start // step, size - 1), -(-part.stop // step))
            for part, step, size in zip(
                near, self.pleura.factor, self.pleura.distance_mm.shape, strict=True
            )
        )
        lobes = context.anatomy.lobes
        agreement = context.prediction.agreement
        (lesion,) = measure_lesions(
            crop.astype(np.uint16),
            1,
            Prediction(
                context.prediction.infection[near],
                None,
                None if agreement is None else agreement[near],
            ),
            replace(context.ct, hu=context.ct.hu[near], affine_lps=affine),
            replace(
                context.anatomy,
                lungs=context.anatomy.lungs[near],
                lobes=None if lobes is None else lobes[near],
            ),
            PleuralDistance(self.pleura.distance_mm[blocks], self.pleura.factor),
        )
        return lesion
