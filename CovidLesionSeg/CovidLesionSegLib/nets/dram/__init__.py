"""Dense regression activation maps: lesions from severity scores per lobe.

Xie et al., "Dense Regression Activation Maps For Lesion Segmentation in CT scans of
COVID-19 patients", arXiv 2105.11748, 2021.
"""

from __future__ import annotations

from CovidLesionSegLib.nets.family import Family

from .model import DramNet, DramOptions, input_contract, output_names
from .official import OFFICIAL
from .pooling import lobe_mean

FAMILY = Family(
    name="dram",
    title="Dense regression activation map",
    reference="Xie et al., arXiv 2105.11748, 2021",
    presets={
        "paper": DramOptions(),
        "lite": DramOptions(width=8, attention_grid=32),
    },
    encoders={},
    build=DramNet,
    input_contract=input_contract,
    output_names=output_names,
    official=OFFICIAL,
)

__all__ = ["FAMILY", "DramNet", "lobe_mean"]
