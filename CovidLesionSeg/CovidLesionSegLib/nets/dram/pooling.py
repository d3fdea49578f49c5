"""From a map to a number per lobe, and from lobes to a map of the lungs."""

from __future__ import annotations

from torch import Tensor


def lobe_mean(values: Tensor, lobe: Tensor) -> Tensor:
    """Return the mean of ``values`` over each sample's lobe (lobe mean pooling).

    Args:
        values: ``(B, 1, D, H, W)``, for example ``sigmoid(dense)``.
        lobe: Mask of the same shape, 1 inside the lobe.

    Returns:
        ``(B,)``; 0 for a sample without lobe voxels.
    """
    inside = lobe.to(values.dtype)
    counts = inside.flatten(1).sum(dim=1)
    return (values * inside).flatten(1).sum(dim=1) / counts.clamp(min=1)
