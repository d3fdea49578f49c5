"""Options and output names of the co-supervision family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.family import FamilyOptions, require, require_choice, require_widths

VARIANTS = ("paper", "released", "old")


@dataclass(frozen=True)
class CoSupervisionOptions(FamilyOptions):
    """Variant and widths.

    Attributes:
        variant: ``"paper"`` is the network of the article. ``"released"`` and ``"old"`` are
            the two states of the authors' code, which differ from the article and from each
            other; they exist to compare and to import, and at paper scale only.
        fusion_width: Channels of the attention fusion.
        decoder_widths: Channels of the decoder features from fine to coarse, the last being
            the bridge. Lite scale only; the paper's are fixed.
        fused_edge_width: Hidden channels of a further edge head, on the fused feature, that
            makes the boundary output; 0 for none, as in the paper.
    """

    variant: str = "paper"
    fusion_width: int = 64
    decoder_widths: tuple[int, ...] = (64, 64, 128, 256, 512)
    fused_edge_width: int = 0

    def __post_init__(self) -> None:
        require_choice("variant", self.variant, VARIANTS)
        require(self.fusion_width > 0, "fusion_width", "must be positive")
        require_widths("decoder_widths", self.decoder_widths, 5, 5)
        require(self.fused_edge_width >= 0, "fused_edge_width", "must not be negative")
        require(
            self.variant == "paper" or self.fused_edge_width == 0,
            "fused_edge_width",
            "belongs to the variant 'paper'",
        )


def options_of(config: ModelConfig) -> CoSupervisionOptions:
    """Return the typed options of a resolved config."""
    values: dict[str, Any] = dict(config.options)
    return CoSupervisionOptions(**values)


def side_names(options: CoSupervisionOptions) -> tuple[str, ...]:
    """Return the names of the side outputs from coarse to fine.

    ``mask_*`` are supervised with the lesion mask, ``edge_*`` with its edge; ``s`` counts
    encoder and ``x`` decoder levels from fine to coarse, as in the paper.
    """
    if options.variant == "released":
        return ("edge_x5", "edge_x4", "edge_x3", "edge_x2")
    semantic = ("mask_s5", "mask_s4", "mask_s3")
    return (*semantic, "edge_s2", "edge_s1") if options.fused_edge_width else (*semantic, "edge_s1")


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the outputs of a resolved config by name."""
    return ("infection", "boundary", *side_names(options_of(config)))
