"""Dense conditional random field as a regulariser (dRAM version 1).

Version 1 of the dRAM paper trains the regression together with a dense CRF, without
published code or constants. This is the relaxed Potts energy of Tang et al., "On
Regularized Losses for Weakly-supervised CNN Segmentation", ECCV 2018, equation 3, with a
Gaussian kernel on position and intensity. All voxel pairs are evaluated, on a grid coarse
enough for that.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_CHUNK = 1024


def dense_crf_loss(
    logits: Tensor,
    volume: Tensor,
    lobe: Tensor,
    grid: int = 16,
    sigma_voxels: float = 15.0,
    sigma_intensity: float = 0.1,
) -> Tensor:
    """Return the mean disagreement of alike voxels, ``sum w p_i (1 - p_j) / sum w``.

    It is 0 for a constant map of zeros or ones and at most 1/2 for any map of zeros and
    ones; a map of probabilities 1/2 everywhere has 1/4.

    Args:
        logits: ``(B, 1, D, H, W)``.
        volume: Windowed intensities in [0, 1], same shape.
        lobe: Mask of the lobe, same shape; pairs with an end outside do not count.
        grid: Edge length of the grid that all three are averaged to; memory grows with its
            third power, time with its sixth.
        sigma_voxels: Width of the spatial kernel in voxels of the input.
        sigma_intensity: Width of the intensity kernel.
    """
    inside = _pooled(lobe.float(), grid)
    scale = inside.clamp(min=1e-6)
    probability = _pooled(torch.sigmoid(logits.float()) * lobe, grid) / scale
    intensity = _pooled(volume.float() * lobe, grid) / scale
    positions = _positions(logits, grid) / sigma_voxels
    losses = [
        _disagreement(
            torch.cat([positions, intensity[index, :, None] / sigma_intensity], dim=1),
            probability[index],
            inside[index],
        )
        for index in range(len(logits))
    ]
    return torch.stack(losses).mean()


def _pooled(values: Tensor, grid: int) -> Tensor:
    """Average ``(B, 1, D, H, W)`` to ``grid`` voxels per axis and flatten to ``(B, N)``."""
    return F.adaptive_avg_pool3d(values, grid).flatten(1)


def _positions(like: Tensor, grid: int) -> Tensor:
    """Return the grid's voxel centres in voxels of the input, ``(N, 3)``."""
    axes = [
        (torch.arange(grid, dtype=torch.float32, device=like.device) + 0.5) * size / grid
        for size in like.shape[2:]
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)


def _disagreement(features: Tensor, probability: Tensor, weights: Tensor) -> Tensor:
    """Return the normalised energy of one sample, row block by row block."""
    energy, total = probability.new_zeros(()), probability.new_zeros(())
    for start in range(0, len(features), _CHUNK):
        rows = slice(start, start + _CHUNK)
        squared = torch.cdist(features[rows], features).square()
        kernel = torch.exp(-squared / 2) * weights[rows, None] * weights[None, :]
        energy = energy + (kernel * probability[rows, None] * (1 - probability[None, :])).sum()
        total = total + kernel.sum()
    return energy / total.clamp(min=1e-12)
