"""What every encoder offers to the decoders."""

from __future__ import annotations

from torch import Tensor, nn


class Encoder(nn.Module):
    """An image encoder that returns its features from fine to coarse.

    Attributes:
        channels: Channels of each feature.
        strides: Pixel stride of each feature relative to the input.
        stem: Name of the parameter that sees the image.
        published_only: Regular expressions of the entries of the public ImageNet weight
            file that this encoder has no use for.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    stem: str
    published_only: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images ``(B, C, H, W)`` to one feature ``(B, channels[i], H/s, W/s)`` each."""
        raise NotImplementedError


def kaiming_init(module: nn.Module) -> None:
    """Initialise convolutions by Kaiming normal (fan-out) and batch norms to identity."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
