"""The relation-driven collaborative network."""

from __future__ import annotations

import dataclasses
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
        general_width: Channels of the general stream's own decoder; 0 leaves it out, because
            inference has no use for it.
        general_levels: Levels of the general encoder from the finest on; with fewer than five
            the coarsest features are the target encoder's alone, which makes the network
            smaller. Lite scale.
        anisotropic: Whether the first down-sampling spares z, for thick slices. Paper scale.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256, 320)
    collaborative: bool = True
    general_width: int = 16
    general_levels: int = _LEVELS
    anisotropic: bool = False

    def __post_init__(self) -> None:
        require_widths("widths", self.widths, _LEVELS - 1, _LEVELS)
        require(self.general_width >= 0, "general_width", "must not be negative")
        require(2 <= self.general_levels <= _LEVELS, "general_levels", "must be 2 to 5")


class StreamFeatures(NamedTuple):
    """Features of the two encoders, each from fine to coarse; the last is the bottleneck.

    Attributes:
        target: Of the encoder that specialises on COVID lesions.
        general: Of the encoder that learns any lung lesion; empty without one.
    """

    target: tuple[Tensor, ...]
    general: tuple[Tensor, ...]

    @property
    def related(self) -> tuple[Tensor, Tensor]:
        """Target's and general features of the coarsest level that both have."""
        return self.target[len(self.general) - 1], self.general[-1]


class RelationNet(SegmentationModel):
    """General and target encoder, one decoder on both, a light decoder on the general one.

    The features are concatenated at every level that both encoders have. The side output
    ``general`` is the light decoder's map of lesions of any kind; inference has no use for it.
    The relation loss compares the features that ``forward_with_features`` returns, as a rule
    the bottlenecks.

    Args:
        config: Resolved config of the family.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        options = options_of(config)
        parts = _volume_parts if config.encoder is None else _slice_parts
        encoders, channels, self.decoder = parts(config, options)
        dimensions = 3 if config.encoder is None else 2
        self.target = encoders[0]
        self.general = encoders[1] if options.collaborative else None
        self.general_decoder = (
            LightDecoder(channels, options.general_width, dimensions)
            if _has_general_map(options)
            else None
        )

    def forward(self, images: Tensor) -> ModelOutput:
        """Map images ``(B, C, *spatial)`` to logits ``(B, 1, *spatial)``; see the class."""
        return self.forward_with_features(images)[0]

    def forward_with_features(self, images: Tensor) -> tuple[ModelOutput, StreamFeatures]:
        """Return output and encoder features of images ``(B, C, *spatial)``."""
        target: tuple[Tensor, ...] = self.target(images)
        general: tuple[Tensor, ...] = () if self.general is None else self.general(images)
        shared = [torch.cat(pair, dim=1) for pair in zip(target, general, strict=False)]
        infection = _resized(self.decoder([*shared, *target[len(shared) :]]), images)
        sides: dict[str, Tensor] = {}
        if self.general_decoder is not None:
            sides["general"] = _resized(self.general_decoder(general), images)
        return ModelOutput(infection, None, sides), StreamFeatures(target, general)

    def forward_general(self, images: Tensor) -> Tensor:
        """Return the general stream's logits ``(B, 1, *spatial)`` and compute nothing else.

        For the non-COVID batches of both training stages.

        Raises:
            InputError: ``model-option-invalid`` if the general stream is not there.
        """
        if self.general is None or self.general_decoder is None:
            raise InputError(
                "model-option-invalid",
                "This network has no general stream that could be trained.",
                "Build it with the options collaborative=True and general_width of 1 or more.",
            )
        return _resized(self.general_decoder(self.general(images)), images)


_Parts = tuple[list[nn.Module], tuple[int, ...], nn.Module]


def _volume_parts(config: ModelConfig, options: RelationOptions) -> _Parts:
    """Return encoders, their channels and the decoder of the paper scale."""
    del config  # the volume encoder has no name
    require(len(options.widths) == _LEVELS, "widths", "needs five widths at the paper scale")
    require(options.general_levels == _LEVELS, "general_levels", "belongs to the lite scale")
    streams = 2 if options.collaborative else 1
    strides = level_strides(_LEVELS, options.anisotropic)
    encoders: list[nn.Module] = [VolumeEncoder(options.widths, strides) for _ in range(streams)]
    return encoders, options.widths, VolumeDecoder(options.widths, strides, streams)


def _slice_parts(config: ModelConfig, options: RelationOptions) -> _Parts:
    """Return encoders, the general one's channels and the decoder of the lite scale."""
    require(len(options.widths) == _LEVELS - 1, "widths", "needs four widths at the lite scale")
    require(not options.anisotropic, "anisotropic", "belongs to the paper scale")
    target = create_encoder(str(config.encoder))
    if not options.collaborative:
        return [target], target.channels, SliceDecoder(target.channels, options.widths)
    deepest = target.strides[options.general_levels - 1]
    general = create_encoder(str(config.encoder), deepest_stride=deepest)
    joined = [a + b for a, b in zip(target.channels, general.channels, strict=False)]
    joined += target.channels[len(joined) :]
    return [target, general], general.channels, SliceDecoder(joined, options.widths)


def _has_general_map(options: RelationOptions) -> bool:
    return options.collaborative and options.general_width > 0


def without_general_decoder(model: RelationNet) -> RelationNet:
    """Return a copy of a trained network without what only its training needs."""
    options = {**model.config.options, "general_width": 0}
    slim = RelationNet(dataclasses.replace(model.config, options=options))
    wanted = slim.state_dict()
    slim.load_state_dict({k: v for k, v in model.state_dict().items() if k in wanted})
    return slim.train(model.training)


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
    return ("infection", "general") if _has_general_map(options_of(config)) else ("infection",)


def input_contract(config: ModelConfig) -> InputContract:
    """Return the input contract of a resolved config."""
    if config.scale == "paper":
        return InputContract(3, 1, 16, CT_MEAN[:1], CT_STD[:1], 32, ("patch",))
    return InputContract(2, 3, 32, CT_MEAN, CT_STD, 64, CT_CHANNELS)
