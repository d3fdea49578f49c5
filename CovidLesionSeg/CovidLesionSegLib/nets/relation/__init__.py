"""Relation-driven collaborative learning from lesions that are not COVID-19.

Zhang et al., "Exploiting Shared Knowledge from Non-COVID Lesions for Annotation-Efficient
COVID-19 CT Lung Infection Segmentation", IEEE Journal of Biomedical and Health Informatics
25(11), 2021, arXiv 2012.15564. No code was published and the abstract leaves widths and
losses open; what fills the gaps here is a 3D U-Net in the style of nnU-Net at paper scale.
"""

from __future__ import annotations

from CovidLesionSegLib.nets.family import Family

from .model import (
    RelationNet,
    RelationOptions,
    StreamFeatures,
    input_contract,
    output_names,
    without_general_decoder,
)

FAMILY = Family(
    name="relation",
    title="Relation-driven collaborative network",
    reference="Zhang et al., IEEE JBHI 25(11):4152-4162, 2021, arXiv 2012.15564",
    presets={
        "paper": RelationOptions(),
        "lite": RelationOptions(widths=(16, 24, 40, 64)),
    },
    encoders={"lite": ("efficientnet-lite0",)},
    build=RelationNet,
    input_contract=input_contract,
    output_names=output_names,
)

__all__ = ["FAMILY", "RelationNet", "StreamFeatures", "without_general_decoder"]
