"""Probability maps of single slices."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from CovidLesionSegLib.engine.windowing import normalise
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.outputs import ModelOutput
from CovidLesionSegLib.nets.registry import input_contract
from training.config import TrainingConfig

from .batches import options_of, recipe_of

_BATCH = 10
_FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))


class SlicePredictor:
    """Runs a network on slices of its own size.

    Args:
        model: The network, on ``device``.
        config: Its run.
        device: Where to compute.
        flips: Whether to average over the four flips of a slice.
    """

    def __init__(
        self, model: nn.Module, config: TrainingConfig, device: torch.device, flips: bool = False
    ) -> None:
        self._model = model.eval()
        self._recipe = recipe_of(config)
        self._channels = input_contract(config.model).channels
        self._classes = options_of(config).stage == "classes"
        self._device = device
        self._flips = _FLIPS if flips else _FLIPS[:1]

    def levels(
        self, images: NDArray[np.uint8], priors: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Return maps as 8-bit levels, never stretched.

        Args:
            images: uint8 ``[slice, size, size]``.
            priors: Infection maps of the same shape, for the class stage.

        Returns:
            uint8 ``[slice, channel, size, size]``, probability times 255.
        """
        parts = []
        for start in range(0, len(images), _BATCH):
            chosen = slice(start, start + _BATCH)
            planes = self._normalised(images[chosen])[:, : self._channels]
            if self._classes:
                if priors is None:
                    raise InputError(
                        "training-priors-absent",
                        "The class stage needs the infection maps of its slices.",
                        "Predict them first and name their folder.",
                    )
                planes = torch.cat([planes, self._normalised(priors[chosen])], dim=1)
            parts.append((self._probability(planes) * 255.0).round().byte().cpu().numpy())
        return np.concatenate(parts)

    def _normalised(self, gray: NDArray[np.uint8]) -> Tensor:
        planes = torch.from_numpy(np.array(gray)).to(self._device)
        return normalise(planes[:, None].expand(-1, 3, -1, -1), self._recipe)

    @torch.inference_mode()
    def _probability(self, planes: Tensor) -> Tensor:
        total = torch.zeros(1, device=planes.device)
        for axes in self._flips:
            output: ModelOutput = self._model(planes.flip(axes))
            total = total + torch.sigmoid(output.infection.float()).flip(axes)
        return total / len(self._flips)
