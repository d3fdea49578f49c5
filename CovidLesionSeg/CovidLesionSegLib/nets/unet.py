"""A light U-Net decoder over any encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .blocks import conv_stack, resize


class SkipDecoder(nn.Module):
    """Decode encoder features to the size of the finest one, with skip connections.

    Args:
        channels: Channels of the encoder features, from fine to coarse.
        widths: Channels after each step, from coarse to fine; one less than ``channels``.
        outputs: Channels of the logits.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        skips = list(reversed(channels))
        inputs = [skips[0], *widths[:-1]]
        self.steps = nn.ModuleList(
            conv_stack(below + skip, width, kernel=3, depth=2)
            for below, skip, width in zip(inputs, skips[1:], widths, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits ``(B, outputs, h, w)`` at the size of ``features[0]``."""
        hidden = features[-1]
        for step, skip in zip(self.steps, reversed(features[:-1]), strict=True):
            hidden = step(torch.cat([resize(hidden, skip), skip], dim=1))
        logits: Tensor = self.head(hidden)
        return logits
