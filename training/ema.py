"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class WeightAverage:
    """Keeps a slowly following copy of a network; the copy is what is validated and shipped.

    Early in training the copy follows faster, so that it never lags by more than the run is
    long. Batch-norm statistics are averaged too.

    Args:
        model: The network in training.
        decay: Weight of the old average in the long run.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow ``model`` after optimiser step ``step`` (counted from 1)."""
        decay = min(self._decay, (1.0 + step) / (10.0 + step))
        source = model.state_dict()
        for name, value in self.module.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(source[name].to(value), 1.0 - decay)
            else:
                value.copy_(source[name])
