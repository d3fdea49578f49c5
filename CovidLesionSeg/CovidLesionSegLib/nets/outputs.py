"""The one output type of every network family."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class ModelOutput(NamedTuple):
    """What a network returns; a named tuple, so that export and compile see through it.

    Attributes:
        infection: Logits of the final infection map, ``(B, C, *spatial)`` at input size.
            ``C`` is 1 for binary families; a multi-class family (lungs, ground glass and
            consolidation) has one channel per entry of ``Family.classes``.
        boundary: Logits of the lesion boundary, ``(B, 1, *spatial)`` at input size,
            or None for a family without a boundary head.
        sides: Logits of every further supervised head by name, at input size,
            from coarse to fine.
    """

    infection: Tensor
    boundary: Tensor | None
    sides: dict[str, Tensor]
