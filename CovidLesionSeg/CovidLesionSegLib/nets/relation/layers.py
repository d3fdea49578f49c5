"""Encoders and decoders of the relation-driven network, in two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from CovidLesionSegLib.nets.decoder_blocks import UpStage

Stride = tuple[int, int, int]

_ISOTROPIC: Stride = (2, 2, 2)
_SLOPE = 0.01


def conv_pair(inputs: int, outputs: int, stride: Stride = (1, 1, 1)) -> nn.Sequential:
    """Return two 3x3x3 convolutions, each with instance norm and leaky ReLU."""
    layers: list[nn.Module] = []
    for channels, step in ((inputs, stride), (outputs, (1, 1, 1))):
        layers += [
            nn.Conv3d(channels, outputs, 3, step, padding=1),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.LeakyReLU(_SLOPE),
        ]
    return nn.Sequential(*layers)


class VolumeEncoder(nn.Module):
    """Five levels of two convolutions; the first convolution of a level carries the stride.

    Args:
        widths: Channels of the levels from fine to coarse.
        strides: Stride (z, y, x) between the levels.
    """

    def __init__(self, widths: Sequence[int], strides: Sequence[Stride]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            conv_pair(inputs, outputs, stride)
            for inputs, outputs, stride in zip(
                (1, *widths), widths, ((1, 1, 1), *strides), strict=False
            )
        )

    def forward(self, volume: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``(B, 1, D, H, W)`` from fine to coarse."""
        features: list[Tensor] = []
        for level in self.levels:
            features.append(level(features[-1] if features else volume))
        return tuple(features)


class VolumeDecoder(nn.Module):
    """Decoder over the concatenated features of one or two encoders.

    Args:
        widths: Channels of the levels from fine to coarse.
        strides: Stride (z, y, x) between the levels.
        streams: Number of encoders.
    """

    def __init__(self, widths: Sequence[int], strides: Sequence[Stride], streams: int) -> None:
        super().__init__()
        deepest = len(widths) - 1
        self.ups = nn.ModuleList()
        self.convs = nn.ModuleList()
        for level in reversed(range(deepest)):
            inputs = widths[level + 1] * (streams if level + 1 == deepest else 1)
            stride = strides[level]
            self.ups.append(nn.ConvTranspose3d(inputs, widths[level], stride, stride))
            self.convs.append(conv_pair((1 + streams) * widths[level], widths[level]))
        self.head = nn.Conv3d(widths[0], 1, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map concatenated features, fine to coarse, to logits at the size of the first."""
        hidden = features[-1]
        for up, conv, skip in zip(self.ups, self.convs, features[-2::-1], strict=True):
            hidden = conv(torch.cat([up(hidden), skip], dim=1))
        logits: Tensor = self.head(hidden)
        return logits


class SliceDecoder(nn.Module):
    """Decoder of the lite scale over the concatenated features of one or two encoders.

    Args:
        channels: Channels of the concatenated features from fine to coarse.
        widths: Channels of the decoder stages from fine to coarse, one less.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        inputs = (*widths[1:], channels[-1])
        self.stages = nn.ModuleList(
            UpStage(inputs[level], channels[level], widths[level])
            for level in reversed(range(len(widths)))
        )
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map concatenated features, fine to coarse, to logits at the size of the first."""
        hidden = features[-1]
        for stage, skip in zip(self.stages, features[-2::-1], strict=True):
            hidden = stage(hidden, skip)
        logits: Tensor = self.head(hidden)
        return logits


class LightDecoder(nn.Module):
    """The general stream's own small decoder: project every level, add top-down, one head.

    It only has to give the general encoder a segmentation task, so it is kept small enough
    that the encoder does the work.

    Args:
        channels: Channels of the encoder's features from fine to coarse.
        width: Channels of every projection.
        dimensions: 2 or 3.
    """

    def __init__(self, channels: Sequence[int], width: int, dimensions: int) -> None:
        super().__init__()
        conv: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv3d if dimensions == 3 else nn.Conv2d
        self._mode = "trilinear" if dimensions == 3 else "bilinear"
        self.project = nn.ModuleList(conv(inputs, width, 1) for inputs in channels)
        self.smooth = conv(width, width, 3, padding=1)
        self.head = conv(width, 1, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map features, fine to coarse, to logits at the size of the first."""
        hidden = self.project[-1](features[-1])
        for index in reversed(range(len(features) - 1)):
            projected = self.project[index](features[index])
            size = projected.shape[2:]
            hidden = projected + F.interpolate(F.relu(hidden), size=size, mode=self._mode)
        logits: Tensor = self.head(F.relu(self.smooth(F.relu(hidden))))
        return logits


def level_strides(levels: int, anisotropic: bool) -> tuple[Stride, ...]:
    """Return the strides between levels; anisotropic spares z at the first one."""
    first: Stride = (1, 2, 2) if anisotropic else _ISOTROPIC
    return (first, *[_ISOTROPIC] * (levels - 2))
