"""Names of the published co-supervision checkpoints.

A genuine checkpoint holds the backbone and a few further layers only; see ``published``.
"""

from __future__ import annotations

from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.official import OfficialFormat

_BACKBONE = (
    *(
        (rf"^ResNet\.layer{index + 1}\.(\d+)\.{theirs}", rf"unet.encoder.stages.{index}.\1.{ours}")
        for index in range(4)
        for theirs, ours in (
            (r"downsample\.", "shortcut."),
            (r"conv(\d)\.", r"conv\2."),
            (r"bn(\d)\.", r"norm\2."),
        )
    ),
    (r"^ResNet\.conv1\.", "unet.encoder.conv."),
    (r"^ResNet\.bn1\.", "unet.encoder.norm."),
    (r"^bridge\.bridge\.(\d)\.conv\.", r"unet.bridge.\1.conv."),
    (r"^bridge\.bridge\.(\d)\.bn\.", r"unet.bridge.\1.norm."),
    (r"^up_blocks\.(\d)\.upsample\.", r"unet.up_stages.\1.up."),
    (r"^up_blocks\.(\d)\.conv_block_(\d)\.conv\.", r"unet.up_stages.\1.conv\2.conv."),
    (r"^up_blocks\.(\d)\.conv_block_(\d)\.bn\.", r"unet.up_stages.\1.conv\2.norm."),
)
_FUSION = (
    (r"^fout\.(\d)\.bridge\.", r"fusion.coarser.\1.project."),
    (r"^fout\.(\d)\.conv\.", r"fusion.coarser.\1.gate."),
    (r"^gate\.bridge\.", "fusion.finest.project."),
    (r"^gate\.conv\.", "fusion.finest.gate."),
    (r"^out1\.", "head."),
)
_RELEASED_ONLY = (
    (r"^final_upsample\.", "last_up."),
    (r"^final_conv\.", "last_conv."),
    (r"^up\.bridge\.", "side_head."),
)
_OLD_ONLY = (
    (r"^out_\.bridge\.0\.", "edge_head.conv."),
    *((rf"^out\.{index + 2}\.bridge\.0\.", f"mask_heads.{index}.conv.") for index in range(3)),
)
_SIGNATURE = ("ResNet.conv1.weight", "up_blocks.3.upsample.weight", "gate.conv.weight")


def _config(variant: str) -> ModelConfig:
    return ModelConfig("co-supervision", "paper", None, {"variant": variant})


# The keys of the old state are a subset of the released one's, so the latter is tried first.
OFFICIAL = (
    OfficialFormat(
        name="co-supervision (released code)",
        config=_config("released"),
        signature=(*_SIGNATURE, "up.bridge.weight"),
        renames=_BACKBONE + _FUSION + _RELEASED_ONLY,
        unused=(r"out_\.", r"out\."),
        unused_parameters=1094,
        never_saved=(r"fusion\.coarser\.",),
    ),
    OfficialFormat(
        name="co-supervision (older code)",
        config=_config("old"),
        signature=_SIGNATURE,
        renames=_BACKBONE + _FUSION + _OLD_ONLY,
        unused=(r"final_upsample\.", r"final_conv\.", r"out\.[01]\."),
        unused_parameters=53_506,
        never_saved=(r"fusion\.coarser\.", r"mask_heads\."),
    ),
)
