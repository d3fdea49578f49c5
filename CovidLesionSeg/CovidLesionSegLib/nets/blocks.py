"""Building blocks that several families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# One mean and deviation for all three channels: they hold neighbouring CT slices of equal
# statistics, unlike the colours that the ImageNet constants belong to.
CT_MEAN = (0.449, 0.449, 0.449)
CT_STD = (0.226, 0.226, 0.226)
CT_CHANNELS = ("slice below", "slice", "slice above")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def resize(maps: Tensor, like: Tensor, align_corners: bool = False) -> Tensor:
    """Resize maps ``(B, C, h, w)`` bilinearly to the height and width of ``like``."""
    size = like.shape[-2:]
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)


def double(maps: Tensor) -> Tensor:
    """Double height and width bilinearly with aligned corners."""
    return F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=True)


class ConvBn(nn.Module):
    """Bias-free convolution and batch normalisation, "same" size, **no** activation.

    The published Inf-Net and BSNet define an activation here but never apply it; their
    weights need it left out.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Kernel size, square or (height, width); odd.
        dilation: Dilation of the kernel.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int] = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (height // 2), dilation * (width // 2))
        self.conv = nn.Conv2d(
            inputs, outputs, (height, width), padding=padding, dilation=dilation, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``."""
        normalised: Tensor = self.bn(self.conv(features))
        return normalised


class ReceptiveFieldBlock(nn.Module):
    """Four parallel receptive fields, merged (Inf-Net section III-B, after RFB-Net).

    Args:
        inputs: Channels of the encoder feature.
        width: Channels of every branch and of the result.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(ConvBn(inputs, width))
        self.branch1 = self._branch(inputs, width, 3)
        self.branch2 = self._branch(inputs, width, 5)
        self.branch3 = self._branch(inputs, width, 7)
        self.merge = ConvBn(4 * width, width, 3)
        self.shortcut = ConvBn(inputs, width)

    @staticmethod
    def _branch(inputs: int, width: int, size: int) -> nn.Sequential:
        return nn.Sequential(
            ConvBn(inputs, width),
            ConvBn(width, width, (1, size)),
            ConvBn(width, width, (size, 1)),
            ConvBn(width, width, 3, dilation=size),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, width, H, W)``."""
        branches = (self.branch0, self.branch1, self.branch2, self.branch3)
        merged = self.merge(torch.cat([branch(features) for branch in branches], dim=1))
        return F.relu(merged + self.shortcut(features))


class EdgeAttention(nn.Module):
    """Edge attention on a low-level feature (Inf-Net section III-A).

    Args:
        inputs: Channels of the low-level feature.
        width: Channels of the edge feature.
        normalised_logits: Whether the logit passes a batch normalisation, as published.
    """

    def __init__(self, inputs: int, width: int, normalised_logits: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvBn(inputs, width), ConvBn(width, width, 3), ConvBn(width, width, 3)
        )
        self.head = logit_head(width, 3, normalised_logits)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the edge feature ``(B, width, H, W)`` and edge logits ``(B, 1, H, W)``."""
        edge = self.layers(features)
        return edge, self.head(edge)


def logit_head(inputs: int, kernel: int, normalised: bool) -> nn.Module:
    """Return the layer that makes one map of logits.

    The published heads end in a batch normalisation. It ties the logits to the share of
    lesion in a training batch, so our own scale ends in a plain convolution with bias.
    """
    if normalised:
        return ConvBn(inputs, 1, kernel)
    return nn.Conv2d(inputs, 1, kernel, padding=kernel // 2)


def conv_stack(inputs: int, width: int, kernel: int, depth: int) -> nn.Sequential:
    """Return ``depth`` times ConvBn and ReLU, from ``inputs`` to ``width`` channels."""
    layers: list[nn.Module] = []
    for index in range(depth):
        layers += [ConvBn(inputs if index == 0 else width, width, kernel), nn.ReLU()]
    return nn.Sequential(*layers)
