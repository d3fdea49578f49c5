"""Decoder parts of BSNet: dual-branch semantic enhancement and mirror-symmetric guidance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import double, resize


class TopLevelBranch(nn.Module):
    """Top-level semantic preservation: a spatially attended map of the coarsest feature.

    Args:
        width: Channels of the feature.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(2, 1, 3, padding=1, bias=False)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, coarse: Tensor) -> Tensor:
        """Map ``(B, width, h, w)`` to logits ``(B, 1, 4h, 4w)``."""
        feature = double(double(coarse))
        summary = torch.cat([feature.mean(1, keepdim=True), feature.amax(1, keepdim=True)], dim=1)
        gate = torch.sigmoid(self.attention(summary))
        logits: Tensor = self.head(gate * feature + feature)
        return logits


class ProgressiveBranch(nn.Module):
    """Progressive semantic integration of the three high-level features.

    As released, the dilated convolutions are not padded, so each map loses its border
    (16, 8 and 4 cells in total) and the result is later stretched over the full grid,
    which displaces it by up to 8 cells at the border. Padding keeps it in place.

    Args:
        width: Channels of each feature.
        padded: Whether the dilated convolutions keep the size.
    """

    def __init__(self, width: int, padded: bool) -> None:
        super().__init__()
        self.fine, self.middle, self.coarse = (
            nn.Conv2d(width, width, 3, dilation=rate, padding=rate if padded else 0)
            for rate in (8, 4, 2)
        )
        self.head = nn.Conv2d(3 * width, 1, 1)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Return logits ``(B, 1, h, w)``, or 16 cells smaller if not padded.

        Args:
            fine: ``(B, width, h, w)``.
            middle: ``(B, width, h/2, w/2)``.
            coarse: ``(B, width, h/4, w/4)``.
        """
        joined = torch.cat([self.middle(middle), double(self.coarse(coarse))], dim=1)
        joined = torch.cat([self.fine(fine), double(joined)], dim=1)
        logits: Tensor = self.head(joined)
        return logits


def _conv_bn_relu(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class MirrorGuidance(nn.Module):
    """Mirror-symmetric boundary guidance: edge, semantics and a coarser map meet.

    Args:
        edge_inputs: Channels of the edge feature.
        semantic_inputs: Channels of the encoder feature.
        width: Channels inside and of the result.
    """

    def __init__(self, edge_inputs: int, semantic_inputs: int, width: int) -> None:
        super().__init__()
        self.edge_in = _conv_bn_relu(edge_inputs, width)
        self.semantic_in = _conv_bn_relu(semantic_inputs, width)
        self.map_in = _conv_bn_relu(1, width)
        self.edge_gate = nn.Conv2d(width, width, 3, padding=1)
        self.semantic_gate = nn.Conv2d(width, width, 3, padding=1)
        self.map_gate = nn.Conv2d(width, width, 3, padding=1)
        self.merge = _conv_bn_relu(3 * width, width)

    def forward(self, edge: Tensor, semantic: Tensor, coarse: Tensor) -> Tensor:
        """Return ``(B, width, h, w)`` at the size of ``edge``.

        Args:
            edge: Edge feature ``(B, edge_inputs, h, w)``.
            semantic: Encoder feature ``(B, semantic_inputs, *)`` of any size.
            coarse: Coarser logits ``(B, 1, *)`` of any size.
        """
        left = self.edge_in(edge)
        down = self.semantic_in(semantic)
        edge_side = F.relu(self.edge_gate(left) * resize(down, left))
        semantic_side = F.relu(resize(self.semantic_gate(down), left) * left)
        map_side = F.relu(resize(self.map_gate(self.map_in(coarse)), left))
        merged: Tensor = self.merge(torch.cat([edge_side, semantic_side, map_side], dim=1))
        return merged
