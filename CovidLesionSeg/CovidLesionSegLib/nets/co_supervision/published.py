"""The two published states of the co-supervision code, as networks that can be trained.

Both keep their heads and fusion blocks in plain Python lists, so that these were neither
optimised nor saved. Here every part in use is registered, and parts that the published
forward pass never touches are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from CovidLesionSegLib.nets.blocks import resize
from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.family import SegmentationModel
from CovidLesionSegLib.nets.outputs import ModelOutput

from .backbone import DECODER_WIDTHS, ENCODER_WIDTHS, ResUnet, UnetFeatures
from .heads import AttentionFusion, SupervisionHead
from .options import options_of, side_names

# Smallest probability that is turned into a logit; float32 rounds 1 - 1e-7 still below one.
_EPS = 1e-7


class ReleasedNet(SegmentationModel):
    """The network of the released code.

    It differs from the article: the encoder has no supervision, one shared head turns each
    projected decoder feature into a side output, and the finest feature of the fusion is a
    further up-sampling to twice the input size. The side outputs pass the sigmoid twice, so
    that their probabilities lie between 0.5 and 0.73; here the inner one belongs to the logits.

    Args:
        config: Resolved config of the family, of variant ``"released"``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        options = options_of(config)
        width, finest = options.fusion_width, DECODER_WIDTHS[0]
        self.unet = ResUnet(input_channels=1)
        self.last_up = nn.ConvTranspose2d(finest, finest, 2, stride=2)
        self.last_conv = nn.Conv2d(finest, finest, 3, padding=1)
        self.fusion = AttentionFusion(finest, DECODER_WIDTHS, width)
        self.side_head = nn.Conv2d(width, 1, 1)
        self.head = nn.Conv2d(width, 1, 1, bias=False)
        self._side_names = side_names(options)

    def forward(self, images: Tensor) -> ModelOutput:
        """Map images ``(B, 1, H, W)`` to logits ``(B, 1, H, W)``; see ``side_names``."""
        decoder = self.unet(images).decoder
        finest = self.last_conv(self.last_up(decoder[0]))
        fused, projections = self.fusion(finest, decoder, like=images)
        maps = [torch.sigmoid(self.side_head(projection)) for projection in projections]
        sides = dict(zip(self._side_names, maps[:0:-1], strict=True))
        return ModelOutput(self.head(fused), maps[0], sides)


class OldNet(SegmentationModel):
    """The network of the authors' older code.

    It differs from the article: pooling of the stem, one edge head shared by both levels
    whose probabilities are added to the finest decoder feature, probabilities (not logits)
    are resized, and the gate's logits take the place of the projection in the fusion.

    Args:
        config: Resolved config of the family, of variant ``"old"``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        options = options_of(config)
        self.unet = ResUnet(input_channels=1, pool_kernel=3)
        self.edge_head = SupervisionHead(ENCODER_WIDTHS[0])
        self.mask_heads = nn.ModuleList(SupervisionHead(width) for width in ENCODER_WIDTHS[2:])
        self.fusion = AttentionFusion(
            DECODER_WIDTHS[0], DECODER_WIDTHS[1:], options.fusion_width, gate_as_value=True
        )
        self.head = nn.Conv2d(options.fusion_width, 1, 1, bias=False)
        self._side_names = side_names(options)

    def forward(self, images: Tensor) -> ModelOutput:
        """Map images ``(B, 1, H, W)`` to logits ``(B, 1, H, W)``; see ``side_names``."""
        features: UnetFeatures = self.unet(images)
        heads = (self.edge_head, self.edge_head, *self.mask_heads)
        maps = [
            resize(torch.sigmoid(head.conv(feature)), images)
            for head, feature in zip(heads, features.encoder, strict=True)
        ]
        finest = features.decoder[0] + maps[0] + maps[1]
        fused, _ = self.fusion(finest, features.decoder[1:], like=images)
        logits = [torch.logit(probability, eps=_EPS) for probability in maps]
        sides = dict(zip(self._side_names, (*logits[:1:-1], logits[0]), strict=True))
        return ModelOutput(self.head(fused), logits[1], sides)
