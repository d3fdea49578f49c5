"""The co-supervision network as the paper describes it, at both scales."""

from __future__ import annotations

from torch import Tensor, nn

from CovidLesionSegLib.nets.blocks import resize
from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.decoder_blocks import ConvNormRelu, UpStage
from CovidLesionSegLib.nets.encoders import create_encoder
from CovidLesionSegLib.nets.family import SegmentationModel, require
from CovidLesionSegLib.nets.outputs import ModelOutput

from .backbone import DECODER_WIDTHS, ENCODER_WIDTHS, ResUnet, UnetFeatures, decode
from .heads import AttentionFusion, FusedEdgeHead, SupervisionHead
from .options import CoSupervisionOptions, options_of, side_names

_EDGE_LEVELS = 2


class LiteUnet(nn.Module):
    """U-Net over a small ImageNet encoder; its finest feature has half the input size.

    Args:
        encoder: Name of an encoder with five features.
        widths: Channels of the decoder features from fine to coarse.
    """

    def __init__(self, encoder: str, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = create_encoder(encoder)
        channels = self.encoder.channels
        self.bridge = nn.Sequential(
            ConvNormRelu(channels[-1], widths[-1]), ConvNormRelu(widths[-1], widths[-1])
        )
        self.up_stages = nn.ModuleList(
            UpStage(widths[i + 1], channels[i], widths[i]) for i in reversed(range(4))
        )

    def forward(self, images: Tensor) -> UnetFeatures:
        """Return encoder and decoder features of images ``(B, 3, H, W)``."""
        encoder = self.encoder(images)
        return UnetFeatures(encoder, decode(self.bridge(encoder[-1]), encoder, self.up_stages))


class CoSupervisionNet(SegmentationModel):
    """ResUnet with edge supervision, semantic supervision and attention fusion.

    Edge supervision (ESM, equation 1) sits on the two finest encoder features, semantic
    supervision (ASSM, equation 2) on the three coarser ones, attention fusion (AFM) on the
    five decoder features. At paper scale the boundary output is the coarser of the two
    edge heads, whose receptive field is the larger one; the lite scale adds an edge head on
    the fused feature, which also knows where lesions are.

    Args:
        config: Resolved config of the family, of variant ``"paper"``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        options = options_of(config)
        self.unet, encoder_widths, decoder_widths = _unet(config, options)
        self.supervision = nn.ModuleList(SupervisionHead(width) for width in encoder_widths)
        self.fused_edge = (
            FusedEdgeHead(options.fusion_width, options.fused_edge_width)
            if options.fused_edge_width
            else None
        )
        self.fusion = AttentionFusion(decoder_widths[0], decoder_widths[1:], options.fusion_width)
        self.head = nn.Conv2d(options.fusion_width, 1, 1)
        self._side_names = side_names(options)

    def forward(self, images: Tensor) -> ModelOutput:
        """Map images ``(B, C, H, W)`` to logits ``(B, 1, H, W)``; see ``side_names``."""
        features: UnetFeatures = self.unet(images)
        finest = features.decoder[0]
        fused, _ = self.fusion(finest, features.decoder[1:], like=finest)
        maps = [
            head(feature, images)
            for head, feature in zip(self.supervision, features.encoder, strict=True)
        ]
        edges = maps[:_EDGE_LEVELS]
        if self.fused_edge is not None:
            edges.append(self.fused_edge(fused, images))
        boundary = edges.pop()
        sides = dict(
            zip(self._side_names, (*maps[:1:-1], *edges[::-1]), strict=True),
        )
        return ModelOutput(resize(self.head(fused), images), boundary, sides)


def _unet(
    config: ModelConfig, options: CoSupervisionOptions
) -> tuple[nn.Module, tuple[int, ...], tuple[int, ...]]:
    """Return the backbone with its encoder and decoder widths from fine to coarse."""
    if config.encoder is not None:
        lite = LiteUnet(config.encoder, options.decoder_widths)
        return lite, lite.encoder.channels, options.decoder_widths
    require(
        options.decoder_widths == DECODER_WIDTHS, "decoder_widths", "is fixed at the paper scale"
    )
    return ResUnet(input_channels=1), ENCODER_WIDTHS, DECODER_WIDTHS
