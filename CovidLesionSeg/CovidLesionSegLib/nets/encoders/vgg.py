"""VGG-16 without batch normalisation, as an encoder.

Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556, configuration D. Parameter names are
those of the public ImageNet weights. Pooling is by average, as Inf-Net uses it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .base import Encoder, kaiming_init

# Position in the public layer list -> (input, output channels); one tuple per stage.
_STAGES = (
    ((0, 3, 64), (2, 64, 64)),
    ((5, 64, 128), (7, 128, 128)),
    ((10, 128, 256), (12, 256, 256), (14, 256, 256)),
    ((17, 256, 512), (19, 512, 512), (21, 512, 512)),
    ((24, 512, 512), (26, 512, 512), (28, 512, 512)),
)


class Vgg16(Encoder):
    """The thirteen convolutions of VGG-16 in five stages."""

    channels = (64, 128, 256, 512, 512)
    strides = (1, 2, 4, 8, 16)
    stem = "features.0.weight"
    published_only = (r"classifier\.",)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {
                str(position): nn.Conv2d(inputs, outputs, 3, padding=1)
                for stage in _STAGES
                for position, inputs, outputs in stage
            }
        )
        kaiming_init(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features at strides 1 to 16 of images ``(B, 3, H, W)``."""
        hidden, features = images, []
        for index, stage in enumerate(_STAGES):
            if index:
                hidden = F.avg_pool2d(hidden, 2)
            for position, _, _ in stage:
                hidden = F.relu(self.features[str(position)](hidden))
            features.append(hidden)
        return tuple(features)
