"""What one network family tells the registry about itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

from CovidLesionSegLib.errors import InputError

from .config import InputContract, ModelConfig
from .official import OfficialFormat
from .outputs import ModelOutput


@dataclass(frozen=True)
class FamilyOptions:
    """Base of the options of a family; subclasses validate in ``__post_init__``."""


Options = TypeVar("Options", bound=FamilyOptions)


class SegmentationModel(nn.Module):
    """Base of every network: knows its config, returns a ``ModelOutput`` of logits.

    Args:
        config: The resolved recipe of this network.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, images: Tensor) -> ModelOutput:
        """Map images ``(B, C, *spatial)`` to logits at input size."""
        raise NotImplementedError


@dataclass(frozen=True)
class Family:
    """One network family: its options, encoders and how to build it.

    Attributes:
        name: Identifier, in kebab-case.
        title: Name for people.
        reference: The paper, as a short citation with DOI or arXiv number.
        presets: Options by scale; a scale that is absent does not exist.
        encoders: Encoder names by scale, the default first; empty for a fixed encoder.
        build: Makes the network (random weights) of a resolved config.
        input_contract: Input contract of a resolved config.
        output_names: Names of the outputs of a resolved config: ``"infection"``, then
            ``"boundary"`` if present, then the side outputs in order.
        official: Layouts of published checkpoints of this family.
        classes: What each channel of the ``infection`` output stands for.
        shows_boundary: Whether the ``boundary`` output is a map for people, and not only
            supervision of early features.
    """

    name: str
    title: str
    reference: str
    presets: Mapping[str, FamilyOptions]
    encoders: Mapping[str, tuple[str, ...]]
    build: Callable[[ModelConfig], SegmentationModel]
    input_contract: Callable[[ModelConfig], InputContract]
    output_names: Callable[[ModelConfig], tuple[str, ...]]
    official: tuple[OfficialFormat, ...] = ()
    classes: tuple[str, ...] = ("infection",)
    shows_boundary: bool = True

    def resolve(self, config: ModelConfig) -> ModelConfig:
        """Return ``config`` with encoder and every option filled in and checked.

        Raises:
            InputError: A scale, encoder or option that this family does not have.
        """
        if config.scale not in self.presets:
            raise InputError(
                "model-scale-unknown",
                f"The family {self.name!r} has no {config.scale!r} scale.",
                f"Use one of: {', '.join(self.presets)}.",
            )
        options = merged_options(self.presets[config.scale], config.options)
        values = {item.name: getattr(options, item.name) for item in dataclasses.fields(options)}
        return ModelConfig(self.name, config.scale, self._encoder(config), values)

    def _encoder(self, config: ModelConfig) -> str | None:
        allowed = self.encoders.get(config.scale, ())
        if config.encoder is None:
            return allowed[0] if allowed else None
        if config.encoder not in allowed:
            raise InputError(
                "model-encoder-unknown",
                f"{self.name!r} at {config.scale!r} scale has no encoder {config.encoder!r}.",
                f"Use one of: {', '.join(allowed)}." if allowed else "Leave the encoder out.",
            )
        return config.encoder


def merged_options(preset: Options, changes: Mapping[str, Any]) -> Options:
    """Return ``preset`` with ``changes`` applied, names and types checked.

    Raises:
        InputError: ``model-option-unknown`` or ``model-option-invalid``.
    """
    known = {item.name: getattr(preset, item.name) for item in dataclasses.fields(preset)}
    for name, value in changes.items():
        if name not in known:
            raise InputError(
                "model-option-unknown",
                f"The option {name!r} does not exist.",
                f"Known options: {', '.join(known) or 'none'}.",
            )
        if not _same_kind(value, known[name]):
            require(False, name, f"must be like {known[name]!r}, not {value!r}")
    return dataclasses.replace(preset, **changes)


def _same_kind(value: Any, like: Any) -> bool:
    if isinstance(like, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(like)


def require(condition: bool, option: str, rule: str) -> None:
    """Raise ``InputError("model-option-invalid")`` unless ``condition`` holds."""
    if not condition:
        raise InputError(
            "model-option-invalid", f"The option {option!r} is not valid.", f"It {rule}."
        )


def require_choice(option: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ``InputError("model-option-invalid")`` unless ``value`` is one of ``choices``."""
    require(value in choices, option, f"must be one of: {', '.join(map(str, choices))}")


def require_widths(option: str, widths: tuple[object, ...], least: int, most: int) -> None:
    """Raise ``InputError("model-option-invalid")`` unless ``widths`` are channel counts.

    Args:
        option: Name of the option.
        widths: Its value.
        least: Smallest number of entries.
        most: Largest number of entries.
    """
    positive = all(type(width) is int and width > 0 for width in widths)
    number = str(least) if least == most else f"{least} to {most}"
    require(positive and least <= len(widths) <= most, option, f"needs {number} positive numbers")
