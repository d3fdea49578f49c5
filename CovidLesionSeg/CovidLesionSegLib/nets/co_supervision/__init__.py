"""Deep co-supervision and attention fusion on a residual U-Net.

Hu et al., "Deep co-supervision and attention fusion strategy for automatic COVID-19 lung
infection segmentation on CT images", Pattern Recognition 124:108452, 2022,
doi 10.1016/j.patcog.2021.108452, arXiv 2112.10368.
"""

from __future__ import annotations

from CovidLesionSegLib.nets.blocks import CT_CHANNELS, CT_MEAN, CT_STD
from CovidLesionSegLib.nets.config import InputContract, ModelConfig
from CovidLesionSegLib.nets.family import Family, SegmentationModel, require

from .model import CoSupervisionNet
from .official import OFFICIAL
from .options import CoSupervisionOptions, options_of, output_names
from .published import OldNet, ReleasedNet


def build(config: ModelConfig) -> SegmentationModel:
    """Build the network of a resolved config, with random weights."""
    variant = options_of(config).variant
    if variant == "paper":
        return CoSupervisionNet(config)
    require(config.scale == "paper", "variant", "must be 'paper' at the lite scale")
    return ReleasedNet(config) if variant == "released" else OldNet(config)


def input_contract(config: ModelConfig) -> InputContract:
    """Return the input contract of a resolved config.

    The paper scale takes one grey channel. Its authors bring every 8-bit slice to zero mean
    and unit deviation; the contract's fixed values do the same on average and keep a slice
    without lung from being stretched.
    """
    if config.scale == "paper":
        return InputContract(2, 1, 16, CT_MEAN[:1], CT_STD[:1], 32, ("slice",))
    return InputContract(2, 3, 32, CT_MEAN, CT_STD, 64, CT_CHANNELS)


FAMILY = Family(
    name="co-supervision",
    title="Deep co-supervision and attention fusion",
    reference="Hu et al., Pattern Recognition 124:108452, 2022, doi 10.1016/j.patcog.2021.108452",
    presets={
        "paper": CoSupervisionOptions(),
        "lite": CoSupervisionOptions(
            fusion_width=32, decoder_widths=(16, 32, 48, 64, 128), fused_edge_width=12
        ),
    },
    encoders={"lite": ("efficientnet-lite0",)},
    build=build,
    input_contract=input_contract,
    output_names=output_names,
    official=OFFICIAL,
    # The edge supervises features of the first stages, which can't know where a lesion ends: on
    # CT the trained head answers with the whole lesion.
    shows_boundary=False,
)

__all__ = ["FAMILY", "build", "input_contract", "output_names"]
