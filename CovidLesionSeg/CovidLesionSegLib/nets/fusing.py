"""Convolutions that apply their activation themselves, for inference on a CPU."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from .encoders.efficientnet_lite import SamePadConv

Model = TypeVar("Model", bound=nn.Module)

_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
_NONE: tuple[str, list[float]] = ("none", [])


class FusedConv(nn.Module):
    """A convolution by oneDNN with bias and activation in one pass over memory.

    torch itself runs 1x1 convolutions on a single thread without oneDNN, copying the
    feature on the way, and activations in a pass of their own.

    Args:
        conv: A convolution whose batch normalisation is folded into it.
        activation: What follows it: `nn.ReLU`, `nn.ReLU6` or None.
    """

    def __init__(self, conv: nn.Conv2d, activation: type[nn.Module] | None = None) -> None:
        super().__init__()
        kernel = conv.kernel() if isinstance(conv, SamePadConv) else conv.weight
        kernel = kernel.detach().contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", kernel)
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach())
        padding = [int(size) for size in conv.padding]
        self._geometry = (padding, list(conv.stride), list(conv.dilation), conv.groups)
        self._activation = _NONE if activation is None else _ACTIVATIONS[activation]

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` float32 to ``(B, outputs, H', W')``."""
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            features, self.weight, self.bias, *self._geometry, *self._activation, ""
        )
        return result


@lru_cache(maxsize=1)
def fusing_works() -> bool:
    """Return whether this build of torch has the fused convolution, and it computes right."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    conv = nn.Conv2d(3, 4, 3, padding=1)
    features = torch.linspace(-9.0, 9.0, 3 * 8 * 8).reshape(1, 3, 8, 8)
    try:
        with torch.no_grad():
            fused = FusedConv(conv, nn.ReLU6)(features)
            return torch.allclose(fused, conv(features).clamp(0.0, 6.0), atol=1e-4)
    except (AttributeError, RuntimeError):  # not an interface that torch promises to keep
        return False


def fuse_convolutions(model: Model, *, inplace: bool = False) -> Model:
    """Return a copy that computes the same with `FusedConv`, or the model where it can't be.

    An activation goes into the convolution before it where children are known to be applied
    in the order of registration: in `nn.Sequential` and in modules that say so by
    ``applied_in_order``.

    Args:
        model: A network on the CPU in evaluation mode, its batch normalisation folded.
        inplace: Change ``model`` itself and return it, instead of a copy.
    """
    if not fusing_works():
        return model
    fused = model if inplace else copy.deepcopy(model)
    for parent in list(fused.modules()):
        in_order = isinstance(parent, nn.Sequential) or hasattr(parent, "applied_in_order")
        children = list(parent.named_children())
        for index, (name, child) in enumerate(children):
            if not (isinstance(child, nn.Conv2d) and _is_plain(child)):
                continue
            follower = _follower(children[index + 1 :]) if in_order else None
            activation = None if follower is None else type(follower[1])
            setattr(parent, name, FusedConv(child, activation))
            if follower is not None:
                setattr(parent, follower[0], nn.Identity())
    return fused


def _is_plain(conv: nn.Conv2d) -> bool:
    return (
        type(conv) in (nn.Conv2d, SamePadConv)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.weight.dtype == torch.float32
    )


def _follower(rest: list[tuple[str, nn.Module]]) -> tuple[str, nn.Module] | None:
    """Return the activation that comes next, folded normalisations aside."""
    for name, module in rest:
        if type(module) in _ACTIVATIONS:
            return name, module
        if not isinstance(module, nn.Identity):
            return None
    return None
