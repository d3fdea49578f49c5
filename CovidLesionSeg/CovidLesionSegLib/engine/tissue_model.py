"""Running a network that looks at tissue block by block (dRAM) over the lungs of a CT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .progress import Reporter
from .result import Prediction
from .slice_batches import run_batches
from .tissue import lung_tissue
from .volume import CtVolume

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class TissueModel:
    """A voxelwise network over the channels of `tissue`, ready to run.

    It was taught by severity scores alone, and knows nothing of lungs beyond their mask.

    Attributes:
        id: Catalogue id.
        module: Network in evaluation mode, returning a `ModelOutput` of logits.
        device: Where it runs.
        temperature: Logits are divided by it.
        threshold: Probability threshold.
        sha256: Digest of the weight file.
        flags: What a reader of its results must know, see `flags`.
    """

    id: str
    module: torch.nn.Module
    device: str
    temperature: float
    threshold: float
    sha256: str
    flags: tuple[str, ...] = ()

    @property
    def weights_sha256(self) -> Mapping[str, str]:
        """Digest of the weight file by model id."""
        return {self.id: self.sha256}


def predict_tissue(
    ct: CtVolume, lungs: NDArray[np.uint8], model: TissueModel, reporter: Reporter
) -> Prediction:
    """Predict the infection of a CT block by block, and interpolate between the blocks.

    Args:
        ct: The CT.
        lungs: uint8 ``[z, y, x]``, non-zero in the lungs; the search is limited to them.
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
        logits = model.module(blocks).infection[0, 0].float().cpu() / model.temperature
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
