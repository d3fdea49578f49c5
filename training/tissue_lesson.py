"""Training of a voxelwise dRAM: blocks of lobes, and nothing but their severity scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from CovidLesionSegLib.engine.tissue import scaled_density
from CovidLesionSegLib.nets.losses.dram import indecision, share_interval_loss
from CovidLesionSegLib.nets.outputs import ModelOutput

from .config import SeverityConfig, TrainingConfig
from .data.tissue_cases import TissueCase
from .tasks import dice


class TissueLesson:
    """Regression of every lobe's share on the interval of its score, from some of its blocks.

    A few hundred blocks estimate the share of a lobe to about a percentage point, so that every
    step can see all lobes.

    Args:
        config: A run of the task ``"severity"`` with the input ``"tissue"``.
        training: Training cases; their expert masks are never looked at.
        validation: Cases whose expert masks watch the run; nothing is chosen by them.
        rank: Process number in distributed training.
    """

    def __init__(
        self,
        config: TrainingConfig,
        training: Sequence[TissueCase],
        validation: Sequence[TissueCase],
        rank: int = 0,
    ) -> None:
        self._weak = config.severity or SeverityConfig()
        self._key = (config.optimisation.seed, rank)
        self._validation = validation
        places = [
            (case, lobe, score) for case in training for lobe, score in enumerate(case.scores)
        ]
        self._lobes = [case.tissue[:, case.lobes == lobe] for case, lobe, _ in places]
        scores = np.array([score for *_, score in places])
        # Between every lobe counting alike, which the many healthy ones would rule, and every
        # score counting alike, which the one patient with a rare score would.
        weights = 1.0 / np.sqrt(np.bincount(scores)[scores])
        self._scores = torch.from_numpy(scores)
        self._weights = torch.from_numpy(weights / weights.mean()).float()

    def loss(self, model: nn.Module, step: int, device: torch.device) -> Tensor:
        """Return the loss on a sample of every lobe."""
        blocks = self._draw(step).to(device)
        output: ModelOutput = model(blocks)
        everywhere = torch.ones_like(output.infection)
        interval = share_interval_loss(
            output.infection,
            everywhere,
            self._scores.to(device),
            margin=self._weak.share_margin,
            weights=self._weights.to(device),
        )
        ramp = min(1.0, step / max(1, self._weak.pseudo_ramp_steps))
        weight = ramp * self._weak.indecision_weight
        return interval + weight * indecision(output.infection, everywhere)

    def _draw(self, step: int) -> Tensor:
        """Return ``(lobe, channel, block, 1, 1)``, each lobe in another state of breathing."""
        rng = np.random.default_rng([*self._key, step])
        count = self._weak.blocks_per_lobe
        parts = [
            scaled_density(
                lobe[:, rng.integers(lobe.shape[1], size=count)],
                float(np.exp(rng.normal(0.0, self._weak.expiration))),
            )
            for lobe in self._lobes
        ]
        return torch.from_numpy(np.stack(parts))[..., None, None]

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the Dice of each validation case, block by block."""
        scores = {}
        for case in self._validation:
            blocks = torch.from_numpy(case.tissue)[None, :, :, None, None].to(device)
            with torch.inference_mode():
                logits = model(blocks).infection[0, 0, :, 0, 0]
            scores[case.key] = dice((logits > 0).cpu().numpy(), case.truth)
        return scores
