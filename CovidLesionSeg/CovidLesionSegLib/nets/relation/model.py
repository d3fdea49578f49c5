"""The relation-driven collaborative network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.blocks import CT_CHANNELS, CT_MEAN, CT_STD
from CovidLesionSegLib.nets.config import InputContract, ModelConfig
from CovidLesionSegLib.nets.encoders import create_encoder
from CovidLesionSegLib.nets.family import (
    FamilyOptions,
    SegmentationModel,
    require,
    require_widths,
)
from CovidLesionSegLib.nets.outputs import ModelOutput

from .layers import LightDecoder, SliceDecoder, VolumeDecoder, VolumeEncoder, level_strides

_LEVELS = 5


@dataclass(frozen=True)
class RelationOptions(FamilyOptions):
    """Widths and streams.

    Attributes:
        widths: Paper scale: channels of the five levels. Lite scale: channels of the four
            decoder stages. Both from fine to coarse.
        collaborative: Whether there is a general encoder; without it the network is the
            single-encoder baseline that the method is compared with.
        general_width: Channels of the general stream's own decoder.
        anisotropic: Whether the first down-sampling spares z, for thick slices. Paper scale.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256, 320)
    collaborative: bool = True
    general_width: int = 16
    anisotropic: bool = False

    def __post_init__(self) -> None:
        require_widths("widths", self.widths, _LEVELS - 1, _LEVELS)
        require(self.general_width > 0, "general_width", "must be positive")


class StreamFeatures(NamedTuple):
    """Features of the two encoders, each from fine to coarse; the last is the bottleneck.

    Attributes:
        target: Of the encoder that specialises on COVID lesions.
        general: Of the encoder that learns any lung lesion; empty without one.
    """

    target: tuple[Tensor, ...]
    general: tuple[Tensor, ...]


class RelationNet(SegmentationModel):
    """General and target encoder, one decoder on both, a light decoder on the general one.

    The features are concatenated at every level. The side output ``general`` is the light
    decoder's map of lesions of any kind; inference has no use for it. The relation loss
    compares the features that ``forward_with_features`` returns, as a rule the bottlenecks.

    Args:
        config: Resolved config of the family.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        options = options_of(config)
        streams = 2 if options.collaborative else 1
        parts = _volume_parts if config.encoder is None else _slice_parts
        encoders, channels, self.decoder = parts(config, options, streams)
        dimensions = 3 if config.encoder is None else 2
        self.target = encoders[0]
        self.general = encoders[1] if options.collaborative else None
        self.general_decoder = (
            LightDecoder(channels, options.general_width, dimensions)
            if options.collaborative
            else None
        )

    def forward(self, images: Tensor) -> ModelOutput:
        """Map images ``(B, C, *spatial)`` to logits ``(B, 1, *spatial)``; see the class."""
        return self.forward_with_features(images)[0]

    def forward_with_features(self, images: Tensor) -> tuple[ModelOutput, StreamFeatures]:
        """Return output and encoder features of images ``(B, C, *spatial)``."""
        target: tuple[Tensor, ...] = self.target(images)
        if self.general is None or self.general_decoder is None:
            infection = _resized(self.decoder(target), images)
            return ModelOutput(infection, None, {}), StreamFeatures(target, ())
        general: tuple[Tensor, ...] = self.general(images)
        joined = [torch.cat(pair, dim=1) for pair in zip(target, general, strict=True)]
        output = ModelOutput(
            _resized(self.decoder(joined), images),
            None,
            {"general": _resized(self.general_decoder(general), images)},
        )
        return output, StreamFeatures(target, general)

    def forward_general(self, images: Tensor) -> Tensor:
        """Return the general stream's logits ``(B, 1, *spatial)`` and compute nothing else.

        For the non-COVID batches of both training stages.

        Raises:
            InputError: ``model-option-invalid`` if there is no general encoder.
        """
        if self.general is None or self.general_decoder is None:
            raise InputError(
                "model-option-invalid",
                "This network has no general encoder.",
                "Build it with the option collaborative=True.",
            )
        return _resized(self.general_decoder(self.general(images)), images)


_Parts = tuple[list[nn.Module], tuple[int, ...], nn.Module]


def _volume_parts(config: ModelConfig, options: RelationOptions, streams: int) -> _Parts:
    """Return encoders, their channels and the decoder of the paper scale."""
    del config  # the volume encoder has no name
    require(len(options.widths) == _LEVELS, "widths", "needs five widths at the paper scale")
    strides = level_strides(_LEVELS, options.anisotropic)
    encoders: list[nn.Module] = [VolumeEncoder(options.widths, strides) for _ in range(streams)]
    return encoders, options.widths, VolumeDecoder(options.widths, strides, streams)


def _slice_parts(config: ModelConfig, options: RelationOptions, streams: int) -> _Parts:
    """Return encoders, their channels and the decoder of the lite scale."""
    require(len(options.widths) == _LEVELS - 1, "widths", "needs four widths at the lite scale")
    require(not options.anisotropic, "anisotropic", "belongs to the paper scale")
    encoders = [create_encoder(str(config.encoder)) for _ in range(streams)]
    channels = encoders[0].channels
    return [*encoders], channels, SliceDecoder(channels, options.widths, streams)


def _resized(logits: Tensor, images: Tensor) -> Tensor:
    if logits.shape[2:] == images.shape[2:]:
        return logits
    mode = "trilinear" if images.dim() == 5 else "bilinear"
    return F.interpolate(logits, size=images.shape[2:], mode=mode)


def options_of(config: ModelConfig) -> RelationOptions:
    """Return the typed options of a resolved config."""
    values: dict[str, Any] = dict(config.options)
    return RelationOptions(**values)


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the outputs of a resolved config by name."""
    return ("infection", "general") if options_of(config).collaborative else ("infection",)


def input_contract(config: ModelConfig) -> InputContract:
    """Return the input contract of a resolved config."""
    if config.scale == "paper":
        return InputContract(3, 1, 16, CT_MEAN[:1], CT_STD[:1], 32, ("patch",))
    return InputContract(2, 3, 32, CT_MEAN, CT_STD, 64, CT_CHANNELS)
