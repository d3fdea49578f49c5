"""Networks without memory and without initial values, to be filled from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .config import ModelConfig
from .family import SegmentationModel
from .registry import create_from_config


class _LeaveEmpty(TorchFunctionMode):
    """Skips the random initialisation of layers.

    On tensors without memory it does nothing, but its first call loads a compiler of torch,
    which takes longer than reading the weights.
    """

    _FILLING = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the tensor as it is instead of filling it; do everything else."""
        if func in self._FILLING:
            return args[0]
        return func(*args, **(kwargs or {}))


def build_skeleton(config: ModelConfig) -> SegmentationModel:
    """Build the network that ``config`` describes on the ``meta`` device.

    Raises:
        InputError: See `create_from_config`.
    """
    with _LeaveEmpty(), torch.device("meta"):
        return create_from_config(config)
