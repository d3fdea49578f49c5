"""Decoder parts of Inf-Net: parallel partial decoder and reverse attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import ConvBn, conv_stack, double, logit_head, resize


class PartialDecoder(nn.Module):
    """Parallel partial decoder: three high-level features to the global map.

    Inf-Net section III-B, equation 1, in the form of the published code.

    Args:
        width: Channels of each of the three inputs.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up_middle = ConvBn(width, width, 3)
        self.up_fine_coarse = ConvBn(width, width, 3)
        self.up_fine_middle = ConvBn(width, width, 3)
        self.join_coarse = ConvBn(width, width, 3)
        self.join_middle = ConvBn(2 * width, 2 * width, 3)
        self.merge_middle = ConvBn(2 * width, 2 * width, 3)
        self.merge_fine = ConvBn(3 * width, 3 * width, 3)
        self.last = ConvBn(3 * width, 3 * width, 3)
        self.head = nn.Conv2d(3 * width, 1, 1)

    def forward(self, coarse: Tensor, middle: Tensor, fine: Tensor) -> Tensor:
        """Return logits ``(B, 1, h, w)`` at the size of ``fine``.

        Args:
            coarse: ``(B, width, h/4, w/4)``.
            middle: ``(B, width, h/2, w/2)``.
            fine: ``(B, width, h, w)``.
        """
        up_coarse = double(coarse)
        gated_middle = self.up_middle(up_coarse) * middle
        gated_fine = (
            self.up_fine_coarse(double(up_coarse)) * self.up_fine_middle(double(middle)) * fine
        )
        joined = self.merge_middle(torch.cat([gated_middle, self.join_coarse(up_coarse)], dim=1))
        joined = self.merge_fine(torch.cat([gated_fine, self.join_middle(double(joined))], dim=1))
        logits: Tensor = self.head(self.last(joined))
        return logits


class ReverseAttention(nn.Module):
    """Reverse attention: refine a coarse map where it sees no lesion yet.

    Inf-Net section III-C, equation 2 as corrected by the authors on 2020-08-15:
    ``R = concat(feature * (1 - sigmoid(coarse)), down(edge))``.

    Args:
        inputs: Channels of the encoder feature.
        edge_width: Channels of the edge feature.
        width: Channels of the refinement.
        kernel: Kernel size of the refinement.
        depth: Number of convolutions before the head.
        head_kernel: Kernel size of the head.
        normalised_logits: Whether the residual passes a batch normalisation, as published.
    """

    def __init__(
        self,
        inputs: int,
        edge_width: int,
        width: int,
        kernel: int,
        depth: int,
        head_kernel: int,
        normalised_logits: bool,
    ) -> None:
        super().__init__()
        self.reduce = ConvBn(inputs, width)
        self.stack = conv_stack(width + edge_width, width, kernel, depth)
        self.head = logit_head(width, head_kernel, normalised_logits)

    def forward(self, feature: Tensor, edge: Tensor, coarse: Tensor) -> Tensor:
        """Return refined logits ``(B, 1, h, w)`` at the size of ``feature``.

        Args:
            feature: Raw encoder feature ``(B, inputs, h, w)``.
            edge: Edge feature ``(B, edge_width, *)`` of any size.
            coarse: Coarser logits ``(B, 1, *)`` of any size.
        """
        prior = resize(coarse, feature)
        reduced = self.reduce(feature * (1 - torch.sigmoid(prior)))
        hidden = self.stack(torch.cat([reduced, resize(edge, feature)], dim=1))
        refined: Tensor = self.head(hidden) + prior
        return refined


class EdgeRefinement(nn.Module):
    """Residual refinement of the edge logits on a finer feature (ours, lite scale).

    The published edge map is decided at a quarter of the input size, where a boundary of
    one pixel can't be told from its neighbours.

    Args:
        inputs: Channels of the finer encoder feature.
        edge_width: Channels of the edge feature.
        width: Channels of the refinement.
    """

    def __init__(self, inputs: int, edge_width: int, width: int) -> None:
        super().__init__()
        self.reduce_feature = ConvBn(inputs, width)
        self.reduce_edge = ConvBn(edge_width, width)
        self.stack = conv_stack(2 * width, width, 3, 1)
        self.head = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, feature: Tensor, edge: Tensor, coarse: Tensor) -> Tensor:
        """Return edge logits ``(B, 1, h, w)`` at the size of ``feature``."""
        reduced = F.relu(self.reduce_edge(edge))
        joined = torch.cat([self.reduce_feature(feature), resize(reduced, feature)], dim=1)
        refined: Tensor = self.head(self.stack(joined)) + resize(coarse, feature)
        return refined
