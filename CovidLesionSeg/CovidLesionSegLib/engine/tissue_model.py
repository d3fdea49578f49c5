"""Running a network that looks at tissue block by block (dRAM) over the lungs of a CT."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .dense_tissue import dense_blocks
from .progress import Reporter
from .result import Prediction
from .slice_batches import run_batches
from .tissue import BLOCK_MM, lung_tissue
from .volume import CtVolume

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TissueRecipe:
    """What a network over tissue was made for, as its catalogue entry says it.

    Attributes:
        block_mm: Edge length of its blocks.
        candidate_odds: See `TissueModel`.
    """

    block_mm: float = BLOCK_MM
    candidate_odds: float = 9.0

    def to_dict(self) -> dict[str, float]:
        """Return JSON-ready values; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TissueRecipe:
        """Read the recipe of a catalogue entry.

        Raises:
            InputError: ``tissue-recipe-invalid`` for one that this version can't follow.
        """
        odds = values.get("candidate_odds")
        known = set(values) == {"block_mm", "candidate_odds"} and values["block_mm"] == BLOCK_MM
        if not known or not isinstance(odds, int | float) or not 0 < odds < math.inf:
            raise InputError(
                "tissue-recipe-invalid",
                f"The model looks at tissue in another way than this version: {dict(values)}.",
                "It may have been made by another version of CovidLesionSeg.",
            )
        return cls(BLOCK_MM, float(odds))


@dataclass(frozen=True, eq=False)
class TissueModel:
    """A voxelwise network over the channels of `tissue`, ready to run.

    It was taught by severity scores alone. That tissue is dense for its lobe, see `dense_tissue`,
    is taken as evidence beside it.

    Attributes:
        id: Catalogue id.
        module: Network in evaluation mode, returning a `ModelOutput` of logits.
        device: Where it runs.
        candidate_odds: How many times more likely than the network says a lesion is where
            tissue is dense, and how many times less likely where it is not.
        threshold: Probability threshold.
        sha256: Digest of the weight file.
        flags: What a reader of its results must know, see `flags`.
    """

    id: str
    module: torch.nn.Module
    device: str
    candidate_odds: float
    threshold: float
    sha256: str
    flags: tuple[str, ...] = ()

    @property
    def weights_sha256(self) -> Mapping[str, str]:
        """Digest of the weight file by model id."""
        return {self.id: self.sha256}


def predict_tissue(
    ct: CtVolume,
    lungs: NDArray[np.uint8],
    lobes: NDArray[np.uint8] | None,
    model: TissueModel,
    reporter: Reporter,
) -> Prediction:
    """Predict the infection of a CT block by block, and interpolate between the blocks.

    Args:
        ct: The CT.
        lungs: uint8 ``[z, y, x]``, non-zero in the lungs; the search is limited to them.
        lobes: uint8 of the same shape, whose densities are judged apart; None takes the lungs.
        model: The network.
        reporter: Progress and cancel.

    Returns:
        Probability on the CT's grid, 0 outside the lungs.
    """
    import torch
    from torch.nn import functional as F

    infection = np.zeros(ct.shape_zyx, dtype=np.float16)
    found = lung_tissue(ct.hu, lungs, ct.spacing_mm_zyx)
    if found is None:
        return Prediction(infection)
    box, tissue = found
    with torch.inference_mode():
        blocks = torch.from_numpy(tissue.values)[None].to(model.device)
        bare = model.module(blocks).infection[0, 0].float().cpu()
    dense = dense_blocks(tissue, ct.hu[box], (lungs if lobes is None else lobes)[box])
    logits = bare + math.log(model.candidate_odds) * (2.0 * torch.from_numpy(dense) - 1.0)
    target, inside = infection[box], lungs[box] > 0
    factor_z, factor_y, factor_x = tissue.grid.factor
    size_yx = (logits.shape[1] * factor_y, logits.shape[2] * factor_x)
    last = logits.shape[0] - 1

    def compute(part: slice) -> None:
        # Linear along z by hand, so that never more than some slices exist at full size.
        place = ((torch.arange(part.start, part.stop) + 0.5) / factor_z - 0.5).clamp(0, last)
        below = place.long().clamp(max=max(last - 1, 0))
        weight = (place - below)[:, None, None]
        planes = torch.lerp(logits[below], logits[(below + 1).clamp(max=last)], weight)
        resized = F.interpolate(planes[:, None], size=size_yx, mode="bilinear")[:, 0]
        probability = resized[:, : target.shape[1], : target.shape[2]].sigmoid()
        np.copyto(target[part], probability.half().numpy(), where=inside[part])

    run_batches(target.shape[0], "cpu", compute, reporter)
    return Prediction(infection)
