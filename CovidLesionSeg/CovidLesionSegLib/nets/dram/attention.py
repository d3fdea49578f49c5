"""Attention over the 18 nearest voxels, dense and without a graph library."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .unet import resize_volume, volume_size

# Neighbours that share a face or an edge with the centre, not only a corner.
NEIGHBOURS = tuple(
    offset for offset in product((-1, 0, 1), repeat=3) if 1 <= sum(map(abs, offset)) <= 2
)


def _shifted(padded: Tensor, offset: tuple[int, ...], size: tuple[int, int, int]) -> Tensor:
    """Return the neighbour at ``offset`` of every voxel; ``padded`` has one voxel of margin."""
    z, y, x = (1 + step for step in offset)
    depth, height, width = size
    return padded[:, :, z : z + depth, y : y + height, x : x + width]


def _over_channels(layer: nn.Linear, maps: Tensor) -> Tensor:
    """Apply a linear layer to the channel axis of ``(B, C, D, H, W)``."""
    return F.conv3d(maps, layer.weight[..., None, None, None], layer.bias)


def neighbour_mask(like: Tensor) -> Tensor:
    """Return which of the 18 neighbours lie inside the grid, ``(1, 18, D, H, W)`` of 0 and 1."""
    size = volume_size(like)
    inside = F.pad(torch.ones_like(like[:1, :1]), (1,) * 6)
    return torch.cat([_shifted(inside, offset, size) for offset in NEIGHBOURS], dim=1)


class NeighbourAttention(nn.Module):
    """Replace each logit by an affinity-weighted mean of its neighbours' logits.

    The published pixel-correlation module: affinity ``e_j = relu(theta(f_i) . phi(f_j))``,
    weights ``softmax_j(e_j / sqrt(n_i))`` with the neighbour count ``n_i`` (not the feature
    width), value and output affine. The weights sum to one, so the affine value commutes
    with the mean, which is taken over the scalar logits.

    Args:
        features: Channels of the features f.
        width: Channels of keys, queries and values; 8 in the published code.
    """

    def __init__(self, features: int, width: int = 8) -> None:
        super().__init__()
        self.query = nn.Linear(features, width)
        self.key = nn.Linear(features, width)
        self.value = nn.Linear(1, width)
        self.output = nn.Linear(width, 1)
        # Ours: start as the plain mean of the neighbours. From random values the few weights
        # here would need hundreds of steps before the refined map has the sign of the dense one.
        for layer in (self.value, self.output):
            nn.init.constant_(layer.weight, layer.in_features**-1.0)
            nn.init.zeros_(layer.bias)

    def weights(self, features: Tensor) -> Tensor:
        """Return the attention weights ``(B, 18, D, H, W)``; they sum to one per voxel.

        Args:
            features: ``(B, features, D, H, W)``.
        """
        query = _over_channels(self.query, features)
        key = F.pad(_over_channels(self.key, features), (1,) * 6)
        size = volume_size(features)
        affinity = torch.cat(
            [
                F.relu((query * _shifted(key, offset, size)).sum(dim=1, keepdim=True))
                for offset in NEIGHBOURS
            ],
            dim=1,
        )
        inside = neighbour_mask(affinity)
        scaled = affinity / inside.sum(dim=1, keepdim=True).sqrt()
        return torch.softmax(scaled.masked_fill(inside == 0, float("-inf")), dim=1)

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        """Refine logits ``(B, 1, D, H, W)`` once; features are of the same grid."""
        padded = F.pad(logits, (1,) * 6)
        size = volume_size(logits)
        neighbours = torch.cat([_shifted(padded, offset, size) for offset in NEIGHBOURS], dim=1)
        mean = (self.weights(features) * neighbours).sum(dim=1, keepdim=True)
        return _over_channels(self.output, _over_channels(self.value, mean))


class AttentionRefinement(nn.Module):
    """Refine the dense map on a fixed grid from image and encoder features.

    The features are detached, so that the affinities don't train the encoder.

    Args:
        fine: Channels of the fine encoder feature.
        middle: Channels of the middle encoder feature.
        grid: Edge length of the attention grid in voxels; 64 in the paper.
        width: Channels that each encoder feature is reduced to.
    """

    def __init__(self, fine: int, middle: int, grid: int, width: int = 8) -> None:
        super().__init__()
        self._grid = (grid, grid, grid)
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv3d(inputs, width, 1), nn.BatchNorm3d(width), nn.ReLU())
            for inputs in (fine, middle)
        )
        self.attention = NeighbourAttention(1 + 2 * width, width)

    def forward(self, volume: Tensor, fine: Tensor, middle: Tensor, logits: Tensor) -> Tensor:
        """Return refined logits ``(B, 1, D, H, W)`` at the size of ``volume``."""
        reduced = [
            block(feature.detach())
            for block, feature in zip(self.reduce, (fine, middle), strict=True)
        ]
        maps = [resize_volume(item, self._grid) for item in (volume.detach(), *reduced)]
        coarse = resize_volume(logits, self._grid)
        refined = self.attention(coarse, torch.cat(maps, dim=1))
        return resize_volume(refined, volume_size(volume))
