"""Res2Net-50 v1b, 26 channels x 4 scales, as an encoder.

Gao et al., "Res2Net: A New Multi-Scale Backbone Architecture", IEEE TPAMI 43(2), 2021,
section 3; v1b replaces the 7x7 stem by three 3x3 convolutions and pools in the shortcut.
Parameter names are those of the public ImageNet weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .resnet import EXPANSION, StagedEncoder

_BASE_WIDTH = 26
_SCALES = 4


class _Bottle2neck(nn.Module):
    """Bottleneck whose 3x3 convolution is split into four scales in a hierarchy.

    The first block of a stage has no hierarchy, since its strided groups can't be added.
    """

    def __init__(self, inputs: int, planes: int, stride: int, first: bool) -> None:
        super().__init__()
        self._width = planes * _BASE_WIDTH // 64
        self._first = first
        outputs, hidden = planes * EXPANSION, self._width * _SCALES
        self.conv1 = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.convs = nn.ModuleList(
            nn.Conv2d(self._width, self._width, 3, stride, 1, bias=False)
            for _ in range(_SCALES - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(self._width) for _ in range(_SCALES - 1))
        self.pool = nn.AvgPool2d(3, stride, padding=1) if first else nn.Identity()
        self.conv3 = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _pooled_shortcut(inputs, outputs, stride) if first else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(features)))
        groups = torch.split(hidden, self._width, dim=1)
        scales: list[Tensor] = []
        for group, conv, norm in zip(groups[:-1], self.convs, self.bns, strict=True):
            fed = group if self._first or not scales else group + scales[-1]
            scales.append(F.relu(norm(conv(fed))))
        scales.append(self.pool(groups[-1]))
        merged = self.bn3(self.conv3(torch.cat(scales, dim=1)))
        return F.relu(merged + self.downsample(features))


def _pooled_shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Res2Net50(StagedEncoder):
    """Res2Net-50 v1b 26w x 4s without its classifier."""

    stem = "conv1.0.weight"

    def __init__(self) -> None:
        stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
        )
        super().__init__(stem, _Bottle2neck)
