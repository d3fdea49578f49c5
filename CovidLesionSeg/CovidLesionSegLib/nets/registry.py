"""The registry of network families: one name, one config, one way to build each.

Adding a family takes a module in this package that defines ``FAMILY`` and one line here.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from CovidLesionSegLib.errors import InputError

from .config import InputContract, ModelConfig, OptionValue
from .family import Family, SegmentationModel
from .official import OfficialFormat

# Family name -> module of this package; imported on first use.
_MODULES = {
    "inf-net": "inf_net",
    "inf-net-multi-class": "multi_class",
    "bsnet": "bsnet",
    "lung-unet": "lung_unet",
    "co-supervision": "co_supervision",
    "dram": "dram",
    "relation": "relation",
    "density-classes": "density_classes",
}


def list_families() -> tuple[str, ...]:
    """Return the names of all families."""
    return tuple(_MODULES)


def get_family(name: str) -> Family:
    """Return what is registered under ``name``.

    Raises:
        InputError: ``model-family-unknown``.
    """
    if name not in _MODULES:
        raise InputError(
            "model-family-unknown",
            f"There is no network family {name!r}.",
            f"Known families: {', '.join(_MODULES)}.",
        )
    family = import_module(f".{_MODULES[name]}", __package__).FAMILY
    if not isinstance(family, Family):
        raise TypeError(f"FAMILY of {_MODULES[name]} is not a Family")
    return family


def resolve_config(config: ModelConfig) -> ModelConfig:
    """Return ``config`` with the default encoder and every option of its family filled in.

    Raises:
        InputError: A family, scale, encoder or option that does not exist or is not valid.
    """
    return get_family(config.family).resolve(config)


def create_model(
    family: str, scale: str = "lite", encoder: str | None = None, **options: OptionValue
) -> SegmentationModel:
    """Build a network with random weights, in training mode.

    Args:
        family: Name out of ``list_families()``.
        scale: ``"paper"`` or ``"lite"``.
        encoder: Encoder name, or None for the default of family and scale.
        **options: Options of the family; unnamed ones take the preset of the scale.

    Returns:
        A module that maps images ``(B, C, *spatial)``, normalised as ``input_contract``
        says, to a ``ModelOutput`` of logits at input size. Its resolved recipe is
        ``model.config``.

    Raises:
        InputError: A family, scale, encoder or option that does not exist or is not valid.
    """
    return create_from_config(ModelConfig(family, scale, encoder, options))


def create_from_config(config: ModelConfig) -> SegmentationModel:
    """Build the network that ``config`` describes; see ``create_model``."""
    family = get_family(config.family)
    return family.build(family.resolve(config))


def input_contract(config: ModelConfig) -> InputContract:
    """Return what the network of ``config`` expects as input."""
    family = get_family(config.family)
    return family.input_contract(family.resolve(config))


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the output names: ``infection``, ``boundary`` if present, side outputs."""
    family = get_family(config.family)
    return family.output_names(family.resolve(config))


def recognise_checkpoint(keys: Iterable[str]) -> OfficialFormat | None:
    """Return the published format that a state dict with these keys has, or None."""
    present = tuple(keys)
    for name in _MODULES:
        for layout in get_family(name).official:
            if layout.matches(present):
                return layout
    return None
