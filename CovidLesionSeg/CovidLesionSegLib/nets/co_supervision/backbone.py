"""ResUnet: the backbone of the co-supervision network at paper scale."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from CovidLesionSegLib.nets.decoder_blocks import ConvNormRelu, UpStage

_STAGE_DEPTHS = (3, 4, 6, 3)
ENCODER_WIDTHS = (64, 64, 128, 256, 512)
DECODER_WIDTHS = (64, 64, 128, 256, 512)


class UnetFeatures(NamedTuple):
    """Features of a U-Net, each from fine to coarse.

    Attributes:
        encoder: S1 to S5 of the paper.
        decoder: X1 to X5 of the paper; X5 is the bridge.
    """

    encoder: tuple[Tensor, ...]
    decoder: tuple[Tensor, ...]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with bias and a shortcut, as in ResNet-34.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        stride: Stride of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H / stride, W / stride)``."""
        hidden = F.relu(self.norm1(self.conv1(features)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(features))


class ResNetEncoder(nn.Module):
    """ResNet-34 layout without the 7x7 stem; S1 keeps the input size.

    Args:
        input_channels: Channels of the image.
        pool_kernel: Kernel of the stem's pooling: 2 as released, 3 in the older code.
    """

    def __init__(self, input_channels: int, pool_kernel: int) -> None:
        super().__init__()
        stem = ENCODER_WIDTHS[0]
        self.conv = nn.Conv2d(input_channels, stem, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(stem)
        self.pool = nn.MaxPool2d(pool_kernel, stride=2, padding=(pool_kernel - 1) // 2)
        stages = []
        for index, depth in enumerate(_STAGE_DEPTHS):
            inputs, outputs = ENCODER_WIDTHS[index], ENCODER_WIDTHS[index + 1]
            blocks = [BasicBlock(inputs, outputs, stride=1 if index == 0 else 2)]
            blocks += [BasicBlock(outputs, outputs, stride=1) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return S1 to S5 at strides 1, 2, 4, 8, 16 of images ``(B, C, H, W)``."""
        features = [F.relu(self.norm(self.conv(images)))]
        hidden = self.pool(features[0])
        for stage in self.stages:
            hidden = stage(hidden)
            features.append(hidden)
        return tuple(features)


class ResUnet(nn.Module):
    """The paper's U-Net with a residual encoder, without any head.

    Args:
        input_channels: Channels of the image.
        pool_kernel: See ``ResNetEncoder``.
    """

    def __init__(self, input_channels: int, pool_kernel: int = 2) -> None:
        super().__init__()
        coarsest = DECODER_WIDTHS[-1]
        self.encoder = ResNetEncoder(input_channels, pool_kernel)
        self.bridge = nn.Sequential(
            ConvNormRelu(ENCODER_WIDTHS[-1], coarsest), ConvNormRelu(coarsest, coarsest)
        )
        # The finest stage alone narrows to 32 channels before the skip joins it.
        self.up_stages = nn.ModuleList(
            UpStage(DECODER_WIDTHS[i + 1], ENCODER_WIDTHS[i], DECODER_WIDTHS[i], upsampled)
            for i, upsampled in ((3, 256), (2, 128), (1, 64), (0, 32))
        )

    def forward(self, images: Tensor) -> UnetFeatures:
        """Return encoder and decoder features of images ``(B, C, H, W)``."""
        encoder = self.encoder(images)
        return UnetFeatures(encoder, decode(self.bridge(encoder[-1]), encoder, self.up_stages))


def decode(
    bridge: Tensor, encoder: tuple[Tensor, ...], stages: nn.ModuleList
) -> tuple[Tensor, ...]:
    """Run the decoder stages, coarsest first; return X1 to X5, finest first."""
    decoded = [bridge]
    for stage, skip in zip(stages, encoder[-2::-1], strict=True):
        decoded.append(stage(decoded[-1], skip))
    return tuple(decoded[::-1])
