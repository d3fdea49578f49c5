"""Attention fusion (AFM) and supervision heads (ESM, ASSM) of the co-supervision network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from CovidLesionSegLib.nets.blocks import resize
from CovidLesionSegLib.nets.decoder_blocks import ConvNormRelu


class SupervisionHead(nn.Module):
    """One ESM or ASSM head: a feature to one map of logits (paper, figure 3).

    Edge and semantic supervision share this form and differ in their target only. The 1x1
    convolution runs before the resize: bilinear weights sum to one, so both orders give the
    same map, and this one needs a fraction of the memory.

    Args:
        inputs: Channels of the feature.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 1, 1)

    def forward(self, feature: Tensor, like: Tensor) -> Tensor:
        """Map ``(B, inputs, h, w)`` to logits ``(B, 1, H, W)`` at the size of ``like``."""
        return resize(self.conv(feature), like)


class FusedEdgeHead(nn.Module):
    """Edge head on the fused feature, with one hidden layer (ours, lite scale).

    The paper tries edge heads on decoder features (ESM* in figure 2). The fused feature is
    what the infection map is read from, and a 3x3 layer turns the one into the contour of
    the other, so that both agree.

    Args:
        inputs: Channels of the fused feature.
        width: Channels of the hidden layer.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.hidden = ConvNormRelu(inputs, width)
        self.head = SupervisionHead(width)

    def forward(self, fused: Tensor, like: Tensor) -> Tensor:
        """Map ``(B, inputs, h, w)`` to logits ``(B, 1, H, W)`` at the size of ``like``."""
        logits: Tensor = self.head(self.hidden(fused), like)
        return logits


class AttentionBlock(nn.Module):
    """Attention block of the fusion module (paper, figure 4).

    Both 1x1 convolutions run at the feature's own size; see ``SupervisionHead``.

    Args:
        inputs: Channels of the decoder feature.
        width: Channels of the projection and of the gate.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, width, 1)
        self.gate = nn.Conv2d(width, width, 1)

    def forward(self, feature: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projection and the logits of the gate, ``(B, width, H, W)`` each."""
        projected = self.project(feature)
        return resize(projected, like), resize(self.gate(projected), like)


class AttentionFusion(nn.Module):
    """Attention fusion: the finest level decides how much coarser context enters.

    ``Z = (Y_2 + ... + Y_n) (1 - P_1) + Y_1 + X_1`` with ``P = sigmoid(gate)`` and
    ``Y = X P`` (paper, figures 2 and 4); the last term is the projected finest feature.

    Args:
        finest: Channels of the finest feature.
        coarser: Channels of every coarser feature.
        width: Channels of the fused feature.
        gate_as_value: Whether the logits of the gate take the place of the projection,
            as in the authors' older code.
    """

    def __init__(
        self, finest: int, coarser: Sequence[int], width: int, gate_as_value: bool = False
    ) -> None:
        super().__init__()
        self.finest = AttentionBlock(finest, width)
        self.coarser = nn.ModuleList(AttentionBlock(inputs, width) for inputs in coarser)
        self._gate_as_value = gate_as_value

    def forward(
        self, finest: Tensor, coarser: Sequence[Tensor], like: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Fuse the features at the size of ``like``.

        Returns:
            The fused feature ``(B, width, H, W)``, and the value (projection, or gate
            logits if ``gate_as_value``) of every coarser feature in the order given.
        """
        finest_value, finest_gate = self._attend(self.finest, finest, like)
        values: list[Tensor] = []
        context = torch.zeros_like(finest_value)
        for block, feature in zip(self.coarser, coarser, strict=True):
            value, gate = self._attend(block, feature, like)
            context = context + value * gate
            values.append(value)
        fused = context * (1 - finest_gate) + finest_value * finest_gate + finest_value
        return fused, values

    def _attend(self, block: nn.Module, feature: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        projected, gate_logits = block(feature, like)
        value = gate_logits if self._gate_as_value else projected
        return value, torch.sigmoid(gate_logits)
