"""Parameter names of the published Inf-Net and BSNet checkpoints."""

from __future__ import annotations

from .config import ModelConfig
from .official import OfficialFormat

Renames = tuple[tuple[str, str], ...]

# The receptive-field blocks and the edge branch have the same names in both networks.
SHARED_RENAMES: Renames = (
    (r"^resnet\.", "encoder."),
    (r"^rfb2_1\.", "receptive.0."),
    (r"^rfb3_1\.", "receptive.1."),
    (r"^rfb4_1\.", "receptive.2."),
    (r"^(receptive\.\d)\.conv_cat\.", r"\1.merge."),
    (r"^(receptive\.\d)\.conv_res\.", r"\1.shortcut."),
    (r"^edge_conv1\.", "edge.layers.0."),
    (r"^edge_conv2\.", "edge.layers.1."),
    (r"^edge_conv3\.", "edge.layers.2."),
    (r"^edge_conv4\.", "edge.head."),
)
# The 1000-class layer of Res2Net-50, which neither network uses.
CLASSIFIER = (r"resnet\.fc\.",)
CLASSIFIER_PARAMETERS = 2_049_000

_DECODER: Renames = (
    (r"^ParDec\.conv_upsample1\.", "decoder.up_middle."),
    (r"^ParDec\.conv_upsample2\.", "decoder.up_fine_coarse."),
    (r"^ParDec\.conv_upsample3\.", "decoder.up_fine_middle."),
    (r"^ParDec\.conv_upsample4\.", "decoder.join_coarse."),
    (r"^ParDec\.conv_upsample5\.", "decoder.join_middle."),
    (r"^ParDec\.conv_concat2\.", "decoder.merge_middle."),
    (r"^ParDec\.conv_concat3\.", "decoder.merge_fine."),
    (r"^ParDec\.conv4\.", "decoder.last."),
    (r"^ParDec\.conv5\.", "decoder.head."),
)
# In a refinement stack every second layer is the activation, hence 0, 2, 4.
_REFINE: Renames = (
    (r"^ra4_conv1\.", "refine.0.reduce."),
    (r"^ra4_conv2\.", "refine.0.stack.0."),
    (r"^ra4_conv3\.", "refine.0.stack.2."),
    (r"^ra4_conv4\.", "refine.0.stack.4."),
    (r"^ra4_conv5\.", "refine.0.head."),
    (r"^ra3_conv1\.", "refine.1.reduce."),
    (r"^ra3_conv2\.", "refine.1.stack.0."),
    (r"^ra3_conv3\.", "refine.1.stack.2."),
    (r"^ra3_conv4\.", "refine.1.head."),
    (r"^ra2_conv1\.", "refine.2.reduce."),
    (r"^ra2_conv2\.", "refine.2.stack.0."),
    (r"^ra2_conv3\.", "refine.2.stack.2."),
    (r"^ra2_conv4\.", "refine.2.head."),
)
# Stage and layer of a published VGG-16 convolution -> its position in the encoder.
_VGG_POSITIONS = {
    "conv1.conv1_1": 0,
    "conv1.conv1_2": 2,
    "conv2.conv2_1": 5,
    "conv2.conv2_2": 7,
    "conv3.conv3_1": 10,
    "conv3.conv3_2": 12,
    "conv3.conv3_3": 14,
    "conv4_1.conv4_1_1": 17,
    "conv4_1.conv4_2_1": 19,
    "conv4_1.conv4_3_1": 21,
    "conv5_1.conv5_1_1": 24,
    "conv5_1.conv5_2_1": 26,
    "conv5_1.conv5_3_1": 28,
}
_VGG: Renames = tuple(
    (rf"^vgg\.{name}\.", f"encoder.features.{position}.")
    for name, position in _VGG_POSITIONS.items()
)
_PARTS = ("ParDec.conv5.weight", "ra4_conv5.conv.weight", "ra2_conv4.conv.weight")


def inf_net_formats() -> tuple[OfficialFormat, ...]:
    """Return the layouts of the three published Inf-Net variants."""
    renames = SHARED_RENAMES + _DECODER + _REFINE
    return (
        OfficialFormat(
            name="Inf-Net with Res2Net-50",
            config=ModelConfig("inf-net", "paper", "res2net50-v1b"),
            signature=(*_PARTS, "resnet.layer1.0.convs.0.weight"),
            renames=renames,
            unused=CLASSIFIER,
            unused_parameters=CLASSIFIER_PARAMETERS,
        ),
        OfficialFormat(
            name="Inf-Net with ResNet-50",
            config=ModelConfig("inf-net", "paper", "resnet50"),
            signature=(*_PARTS, "resnet.layer1.0.conv2.weight"),
            renames=renames,
        ),
        OfficialFormat(
            name="Inf-Net with VGG-16",
            config=ModelConfig("inf-net", "paper", "vgg16"),
            signature=(*_PARTS, "vgg.conv1.conv1_1.weight"),
            renames=renames + _VGG,
            # Second copies of stages 4 and 5 that the forward pass never calls.
            unused=(r"vgg\.conv4_2\.", r"vgg\.conv5_2\."),
            unused_parameters=12_979_200,
        ),
    )


def _guidance(theirs: str, ours: str) -> Renames:
    """Return the renames of one mirror-symmetric guidance unit."""
    layers = {
        "conv0": "edge_in.0",
        "bn0": "edge_in.1",
        "conv1": "semantic_in.0",
        "bn1": "semantic_in.1",
        "conv2": "map_in.0",
        "bn2": "map_in.1",
        "conv_l": "edge_gate",
        "conv_d1": "semantic_gate",
        "conv_d2": "map_gate",
        "conv3": "merge.0",
        "bn3": "merge.1",
    }
    return tuple(
        (rf"^{theirs}\.{layer}\.", f"{ours}.{target}.") for layer, target in layers.items()
    )


_BSNET: Renames = (
    *_guidance("fam45", "guide.0"),
    *_guidance("fam34", "guide.1"),
    *_guidance("fam23", "guide.2"),
    (r"^fam_conv\.", "head."),
    (r"^dsel\.sa\.fuse\.conv\.", "top_level.attention."),
    (r"^dsel\.conv5\.", "top_level.head."),
    (r"^dser\.conv2\.", "progressive.fine."),
    (r"^dser\.conv3\.", "progressive.middle."),
    (r"^dser\.conv4\.", "progressive.coarse."),
    (r"^dser\.conv5\.", "progressive.head."),
)


def bsnet_formats() -> tuple[OfficialFormat, ...]:
    """Return the layout of the published BSNet."""
    return (
        OfficialFormat(
            name="BSNet with Res2Net-50",
            config=ModelConfig("bsnet", "paper", "res2net50-v1b"),
            signature=("fam_conv.weight", "dser.conv5.weight", "resnet.layer1.0.convs.0.weight"),
            renames=SHARED_RENAMES + _BSNET,
            unused=CLASSIFIER,
            unused_parameters=CLASSIFIER_PARAMETERS,
        ),
    )
