"""ResNet-50 as an encoder, and the stage layout that Res2Net-50 shares.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, Table 1, with the
stride in the 3x3 convolution. Parameter names are those of the public ImageNet weights.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from .base import Encoder, kaiming_init

EXPANSION = 4
# (planes, number of blocks, stride of the first block) of the four stages.
_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))

BlockMaker = Callable[[int, int, int, bool], nn.Module]


class StagedEncoder(Encoder):
    """Stem, pooling and four residual stages of 3, 4, 6 and 3 blocks.

    Features: the stem at stride 2 (64 channels), then the stages at strides 4, 8, 16 and
    32 (256, 512, 1024 and 2048 channels).

    Args:
        stem: Maps the image to 64 channels at stride 2, before BN and ReLU.
        block: Makes one block of (input channels, planes, stride, first of its stage).
    """

    channels = (64, 256, 512, 1024, 2048)
    strides = (2, 4, 8, 16, 32)
    published_only = (r"fc\.",)

    def __init__(self, stem: nn.Module, block: BlockMaker) -> None:
        super().__init__()
        self.conv1 = stem
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs, stages = 64, []
        for planes, count, stride in _STAGES:
            blocks = [block(inputs, planes, stride, True)]
            inputs = planes * EXPANSION
            blocks += [block(inputs, planes, 1, False) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        kaiming_init(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features at strides 2 to 32 of images ``(B, 3, H, W)``."""
        stem = F.relu(self.bn1(self.conv1(images)))
        stage1 = self.layer1(self.maxpool(stem))
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        return stem, stage1, stage2, stage3, self.layer4(stage3)


class _Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution with a shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int, first: bool) -> None:
        super().__init__()
        outputs = planes * EXPANSION
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if first
            else nn.Identity()
        )

    def forward(self, features: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(features)))
        hidden = F.relu(self.bn2(self.conv2(hidden)))
        return F.relu(self.bn3(self.conv3(hidden)) + self.downsample(features))


class ResNet50(StagedEncoder):
    """ResNet-50 without its classifier."""

    stem = "conv1.weight"

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), _Bottleneck)
