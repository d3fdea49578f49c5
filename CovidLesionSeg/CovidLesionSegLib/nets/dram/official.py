"""Names of the published dRAM checkpoints."""

from __future__ import annotations

from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.official import OfficialFormat

# Conv, normalisation and ReLU are one list in ours: convolution 0 and 3, normalisation 1 and 4.
_CONV_PAIR = tuple(
    (rf"conv_blocks\.{block}\.{layer}\.", f"{3 * block + layer}.")
    for block in (0, 1)
    for layer in (0, 1)
)
_UNET = (
    (r"^ds_modules\.", "unet.down."),
    (r"^bg\.", "unet.bottom."),
    (r"^us_modules\.", "unet.up."),
    (r"^top_layer\.", "unet.head."),
    *_CONV_PAIR,
)
_ATTENTION = (
    (r"^reshape\.", "refinement.reduce."),
    (r"^attention_module\.G\.", "refinement.attention.value."),
    (r"^attention_module\.r\.", "refinement.attention.output."),
    (r"^attention_module\.theta\.", "refinement.attention.query."),
    (r"^attention_module\.phi\.", "refinement.attention.key."),
)
_SIGNATURE = ("ds_modules.0.conv_blocks.0.0.weight", "bg.conv_blocks.0.0.weight")

# The keys of the plain network are a subset of the attention network's, which comes first.
# The attention grid is not in the file; it is the paper's.
OFFICIAL = (
    OfficialFormat(
        name="dRAM with attention",
        config=ModelConfig("dram", "paper", None, {"attention": True}),
        signature=(*_SIGNATURE, "attention_module.theta.weight"),
        renames=_UNET + _ATTENTION,
    ),
    OfficialFormat(
        name="dRAM without attention",
        config=ModelConfig("dram", "paper", None, {"attention": False}),
        signature=_SIGNATURE,
        renames=_UNET,
    ),
)
