"""What a network is and what it is fed: plain frozen values that go into JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from CovidLesionSegLib.errors import CovidLesionSegError, InputError

SCALES = ("paper", "lite")

OptionValue = bool | int | float | str | tuple[Any, ...] | None


def _frozen(value: Any) -> Any:
    """JSON knows lists only; options are compared and hashed as tuples."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def _thawed(value: Any) -> Any:
    return [_thawed(item) for item in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class ModelConfig:
    """The complete recipe of one network, without its weights.

    Attributes:
        family: Name of a registered family, for example ``"inf-net"``.
        scale: ``"paper"`` (the published layer table) or ``"lite"`` (bundled scale).
        encoder: Name of the encoder, or None where the family has a fixed one.
        options: Options of the family. ``registry.resolve_config`` completes them, so that
            a stored config does not change its meaning when a default changes.
    """

    family: str
    scale: str = "lite"
    encoder: str | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise InputError(
                "model-scale-unknown",
                f"The model scale {self.scale!r} does not exist.",
                f"Use one of: {', '.join(SCALES)}.",
            )
        options = {str(name): _frozen(value) for name, value in self.options.items()}
        object.__setattr__(self, "options", MappingProxyType(options))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by value, because a read-only view can't be copied."""
        return ModelConfig, (self.family, self.scale, self.encoder, dict(self.options))

    def __hash__(self) -> int:
        return hash((self.family, self.scale, self.encoder, frozenset(self.options.items())))

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON-ready values; ``from_dict`` is the inverse."""
        return {
            "family": self.family,
            "scale": self.scale,
            "encoder": self.encoder,
            "options": {name: _thawed(value) for name, value in self.options.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Read a config written by ``to_dict``.

        Raises:
            CovidLesionSegError: ``model-config-invalid`` for a missing, unknown or
                wrongly typed entry.
        """
        unknown = sorted(set(values) - {"family", "scale", "encoder", "options"})
        if unknown:
            raise _invalid(f"it has unknown entries: {', '.join(map(str, unknown))}")
        options = values.get("options", {})
        if not isinstance(values.get("family"), str):
            raise _invalid("the entry 'family' is missing or not text")
        if not isinstance(options, Mapping):
            raise _invalid("the entry 'options' is not a table of names and values")
        encoder = values.get("encoder")
        if encoder is not None and not isinstance(encoder, str):
            raise _invalid("the entry 'encoder' is neither text nor empty")
        return cls(values["family"], values.get("scale", "lite"), encoder, options)


def _invalid(reason: str) -> CovidLesionSegError:
    return CovidLesionSegError(
        "model-config-invalid",
        f"The model configuration can't be read: {reason}.",
        "It may have been written by a newer version of CovidLesionSeg.",
    )


@dataclass(frozen=True)
class InputContract:
    """What a network expects as input.

    A pixel is first windowed to [0, 1] and then normalised channel by channel:
    ``(x - mean[c]) / std[c]``.

    Attributes:
        dimensions: 2 for slices ``(B, C, H, W)``, 3 for volumes ``(B, C, D, H, W)``.
        channels: Number of input channels C.
        size_multiple: Every spatial size must be a multiple of this.
        mean: Mean to subtract, per channel.
        std: Standard deviation to divide by, per channel.
        minimum_size: Smallest spatial size in pixels along every axis.
        channel_names: What each channel holds, in order.
    """

    dimensions: int
    channels: int
    size_multiple: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    minimum_size: int
    channel_names: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.mean), len(self.std), len(self.channel_names)}
        if self.dimensions not in (2, 3) or lengths != {self.channels}:
            raise ValueError("dimensions must be 2 or 3, and every channel needs mean, std, name")

    def padded_size(self, size: int) -> int:
        """Return the smallest allowed size that is not below ``size`` (pixels)."""
        wanted = max(size, self.minimum_size)
        return -(-wanted // self.size_multiple) * self.size_multiple

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a batch shape ``(B, C, *spatial)`` that the network can't take.

        Raises:
            InputError: ``model-input-shape`` with the expected sizes.
        """
        right_rank = len(shape) == self.dimensions + 2
        if (
            right_rank
            and shape[1] == self.channels
            and all(size == self.padded_size(size) for size in shape[2:])
        ):
            return
        raise InputError(
            "model-input-shape",
            f"The network can't take an input of shape {tuple(shape)}.",
            f"It needs {self.channels} channels and {self.dimensions} spatial sizes that are "
            f"multiples of {self.size_multiple} and at least {self.minimum_size}.",
        )
