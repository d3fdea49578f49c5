"""U-Net decoder stages that several 2D families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvNormRelu(nn.Module):
    """3x3 convolution with bias, batch normalisation, ReLU; keeps the spatial size.

    Args:
        inputs: Input channels.
        outputs: Output channels.
    """

    applied_in_order = True

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``."""
        activated: Tensor = self.relu(self.norm(self.conv(features)))
        return activated


class UpStage(nn.Module):
    """One decoder stage: transposed convolution, concatenation of the skip, two convolutions.

    Args:
        inputs: Channels of the coarser feature.
        skip: Channels of the encoder feature of this stage.
        outputs: Channels of the result.
        upsampled: Channels after the transposed convolution; ``outputs`` if None.
    """

    def __init__(self, inputs: int, skip: int, outputs: int, upsampled: int | None = None) -> None:
        super().__init__()
        upsampled = outputs if upsampled is None else upsampled
        self.up = nn.ConvTranspose2d(inputs, upsampled, 2, stride=2)
        self.conv1 = ConvNormRelu(upsampled + skip, outputs)
        self.conv2 = ConvNormRelu(outputs, outputs)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` and ``(B, skip, 2H, 2W)`` to ``(B, outputs, 2H, 2W)``."""
        joined = torch.cat([self.up(coarse), skip], dim=1)
        decoded: Tensor = self.conv2(self.conv1(joined))
        return decoded
