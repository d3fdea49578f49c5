"""What Inf-Net and BSNet share: encoder, receptive fields, edge branch, outputs by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from .blocks import EdgeAttention, ReceptiveFieldBlock, resize
from .encoders.base import Encoder
from .family import SegmentationModel
from .inf_net_heads import EdgeRefinement
from .outputs import ModelOutput


class Perception(NamedTuple):
    """What both networks make of an image before their decoders differ.

    Attributes:
        features: Encoder features from fine to coarse.
        semantic: The three coarsest through their receptive-field blocks, from fine to coarse.
        edge: Edge feature ``(B, edge_width, h, w)``.
        boundary: Boundary logits ``(B, 1, h, w)``.
    """

    features: tuple[Tensor, ...]
    semantic: tuple[Tensor, Tensor, Tensor]
    edge: Tensor
    boundary: Tensor


class EdgeGuidedNet(SegmentationModel):
    """Base of the two; a subclass makes the parts that are declared here.

    Attributes:
        encoder: Features at strides 2 to 32.
        receptive: A block for each of the three coarsest features.
        edge: Edge attention on the feature before them.
        edge_refine: Refinement of the boundary on the finest feature, or None.
        side_names: Names of the side outputs, in the order of the maps.
    """

    encoder: Encoder
    receptive: nn.ModuleList
    edge: EdgeAttention
    edge_refine: EdgeRefinement | None
    side_names: tuple[str, ...]

    def perceive(self, images: Tensor) -> Perception:
        """Run everything in front of the decoder on images ``(B, 3, H, W)``."""
        features: tuple[Tensor, ...] = self.encoder(images)
        fine, middle, coarse = (
            block(feature) for block, feature in zip(self.receptive, features[-3:], strict=True)
        )
        edge, boundary = self.edge(features[-4])
        if self.edge_refine is not None:
            boundary = self.edge_refine(features[0], edge, boundary)
        return Perception(features, (fine, middle, coarse), edge, boundary)

    def named(self, maps: Sequence[Tensor], boundary: Tensor, images: Tensor) -> ModelOutput:
        """Return maps and boundary at the size of the images; the last map is the infection."""
        full = [resize(logits, images) for logits in maps]
        sides = dict(zip(self.side_names, full[:-1], strict=True))
        return ModelOutput(full[-1], resize(boundary, images), sides)


def receptive_fields(channels: Sequence[int], width: int) -> nn.ModuleList:
    """Return the blocks of the three coarsest of an encoder's features."""
    return nn.ModuleList(ReceptiveFieldBlock(inputs, width) for inputs in channels[-3:])


def edge_refinement(inputs: int, edge_width: int, width: int) -> EdgeRefinement | None:
    """Return the refinement of the edge map; None at width 0, as published."""
    return EdgeRefinement(inputs, edge_width, width) if width else None
