"""A dense map without context of its own, for few training scans (ours)."""

from __future__ import annotations

from torch import Tensor, nn

from .unet import DenseFeatures

_NO_LESION_LOGIT = -2.0


class VoxelwiseMap(nn.Module):
    """Map the channels of every voxel to a logit by itself, with one hidden layer.

    Some forty scored lobes can't tell a U-Net where in a lobe a lesion lies, but they can fit a
    few hundred weights. What lies around a voxel must be among its channels.

    Args:
        inputs: Channels of the volume.
        width: Hidden channels.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Conv3d(inputs, width, 1)
        self.head = nn.Conv3d(width, 1, 1)
        nn.init.normal_(self.head.weight, std=0.1)
        nn.init.constant_(self.head.bias, _NO_LESION_LOGIT)  # type: ignore[arg-type]

    def forward(self, volume: Tensor) -> DenseFeatures:
        """Map ``(B, inputs, D, H, W)`` to its dense map; both features are the hidden layer."""
        hidden = self.hidden(volume).tanh()
        return DenseFeatures(self.head(hidden), hidden, hidden)
