"""The 3D U-Net that makes the dense regression activation map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 3


def resize_volume(maps: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Resize ``(B, C, *, *, *)`` trilinearly with aligned corners to ``size`` (z, y, x)."""
    if tuple(maps.shape[2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="trilinear", align_corners=True)


def volume_size(maps: Tensor) -> tuple[int, int, int]:
    """Return the spatial size (z, y, x) of ``(B, C, D, H, W)``."""
    depth, height, width = maps.shape[2:]
    return depth, height, width


def conv_pair(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    """Return two bias-free 3x3x3 convolutions, each with batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for first, second in ((inputs, middle), (middle, outputs)):
        conv = nn.Conv3d(first, second, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        layers += [conv, nn.BatchNorm3d(second), nn.ReLU()]
    return nn.Sequential(*layers)


class DenseFeatures(NamedTuple):
    """What the U-Net yields.

    Attributes:
        logits: The dense map ``(B, 1, D, H, W)`` at input size.
        fine: Feature of the first encoder level ``(B, 2w, D, H, W)``.
        middle: Feature of the second encoder level ``(B, 4w, D/2, H/2, W/2)``.
    """

    logits: Tensor
    fine: Tensor
    middle: Tensor


class DenseUnet(nn.Module):
    """3D U-Net with three levels and trilinear up-sampling ("DC3D" of the published code).

    Args:
        width: Channels w of the first convolution; 32 in the paper.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * 2 ** (level + 1) for level in range(LEVELS + 1)]
        self.down = nn.ModuleList(
            conv_pair(inputs, outputs // 2, outputs)
            for inputs, outputs in zip((1, *widths), widths[:-1], strict=False)
        )
        self.bottom = conv_pair(widths[-2], widths[-2], widths[-1])
        self.up = nn.ModuleList(
            conv_pair(widths[level + 1] + widths[level], widths[level], widths[level])
            for level in reversed(range(LEVELS))
        )
        self.head = nn.Conv3d(widths[0], 1, 1)
        nn.init.kaiming_normal_(self.head.weight)
        nn.init.constant_(self.head.bias, 0.01)  # type: ignore[arg-type]

    def forward(self, volume: Tensor) -> DenseFeatures:
        """Map a volume ``(B, 1, D, H, W)`` to its dense map; sizes are multiples of 8."""
        hidden = volume
        skips: list[Tensor] = []
        for block in self.down:
            skips.append(block(hidden))
            hidden = F.max_pool3d(skips[-1], 2)
        hidden = self.bottom(hidden)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            upsampled = resize_volume(hidden, volume_size(skip))
            hidden = block(torch.cat([upsampled, skip], dim=1))
        return DenseFeatures(self.head(hidden), skips[0], skips[1])
