"""Size and cost of a network."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, trainable or not; buffers don't count."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return the multiply-accumulate operations of one forward pass.

    Counts convolutions and matrix products only, as the papers do up to BatchNorm.
    The model is left in the mode it was in.

    Args:
        model: Any network; runs on the device of its parameters.
        input_shape: ``(B, C, *spatial)``.
    """
    parameter = next(model.parameters())
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(input_shape, device=parameter.device, dtype=parameter.dtype))
    finally:
        model.train(was_training)
    return int(counter.get_total_flops()) // 2
