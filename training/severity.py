"""What dRAM learns from: lobes, each with nothing but a severity score.

Xie et al., arXiv 2105.11748: the mean of the dense map over a lobe is regressed on the interval
of its score; the refined map is fitted to pseudo labels made of the dense map and of the
tissue that is dense enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from CovidLesionSegLib.nets.losses.dense_crf import dense_crf_loss
from CovidLesionSegLib.nets.losses.dram import (
    COVID_INTERVALS,
    candidate_logits,
    dram_loss,
    interval_regression_loss,
    known_negative_loss,
    pseudo_label_loss,
    pseudo_labels,
    ranked_pseudo_labels,
)
from CovidLesionSegLib.nets.outputs import ModelOutput

from .config import SeverityConfig, TrainingConfig
from .data.lobes import LobeCase
from .tasks import dice


@dataclass(frozen=True, eq=False)
class LobeBatch:
    """Lobes of one step.

    Attributes:
        images: float32 ``(B, 1, D, H, W)`` in 0..1, 0 outside the lobe.
        inside: float32 of the same shape, 1 in the lobe.
        candidates: float32 of the same shape, 1 where tissue is dense enough.
        scores: int64 ``(B,)``, 0 to 5.
    """

    images: Tensor
    inside: Tensor
    candidates: Tensor
    scores: Tensor


class LobeSampler:
    """Draws lobes: a score first, then a lobe that has it, so that rare scores are seen.

    Args:
        cases: Training cases; their expert masks are never looked at.
        config: Intensity changes.
        batch_size: Lobes per step and process.
        seed: Seed of the run.
        rank: Process number in distributed training.
    """

    def __init__(
        self,
        cases: Sequence[LobeCase],
        config: SeverityConfig,
        batch_size: int,
        seed: int,
        rank: int = 0,
    ) -> None:
        self._cases = cases
        self._config = config
        self._batch_size = batch_size
        self._key = (seed, rank)
        lobes = [
            (c, i, score) for c, case in enumerate(cases) for i, score in enumerate(case.scores)
        ]
        present = sorted({score for *_, score in lobes})
        self._by_score = [[(c, i) for c, i, score in lobes if score == value] for value in present]
        counts = np.bincount([score for *_, score in lobes], minlength=len(COVID_INTERVALS))
        self.score_frequency = torch.from_numpy(counts / len(lobes)).float()

    def draw(self, step: int) -> LobeBatch:
        """Return the lobes of a step, flipped and with other intensities, on the CPU."""
        rng = np.random.default_rng([*self._key, step])
        parts = [self._draw_lobe(rng) for _ in range(self._batch_size)]
        images, inside, candidates = (
            torch.from_numpy(np.stack(arrays)[:, None])
            for arrays in zip(*(arrays for arrays, _ in parts), strict=True)
        )
        return LobeBatch(images, inside, candidates, torch.tensor([score for _, score in parts]))

    def _draw_lobe(self, rng: np.random.Generator) -> tuple[list[NDArray[np.float32]], int]:
        pool = self._by_score[int(rng.integers(len(self._by_score)))]
        number, index = pool[int(rng.integers(len(pool)))]
        case = self._cases[number]
        inside = case.inside[index].astype(np.float32)
        image = self._varied(case.image[index].astype(np.float32) / 255.0, rng) * inside
        arrays = [image, inside, case.candidates[index].astype(np.float32)]
        # Vessels branch in every direction: a mirrored lobe is as good as another patient's.
        axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
        return [np.ascontiguousarray(np.flip(array, axes)) for array in arrays], case.scores[index]

    def _varied(self, image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        low, high = self._config.window_hu
        offset = rng.normal(0.0, self._config.offset_hu)
        sigma = self._config.noise_hu * rng.random() ** 2
        noise = rng.normal(offset, sigma, image.shape) / (high - low)
        varied: NDArray[np.float32] = np.clip(image + noise, 0.0, 1.0).astype(np.float32)
        return varied


class SeverityLesson:
    """Training of dRAM from severity scores.

    Args:
        config: A run of the task ``"severity"``.
        training: Training cases; only images, lobes, candidates and scores are used.
        validation: Cases whose expert masks watch the run; nothing is chosen by them.
        rank: Process number in distributed training.
    """

    def __init__(
        self,
        config: TrainingConfig,
        training: Sequence[LobeCase],
        validation: Sequence[LobeCase],
        rank: int = 0,
    ) -> None:
        self._weak = config.severity or SeverityConfig()
        self._validation = validation
        self._sampler = LobeSampler(
            training, self._weak, config.data.batch_size, config.optimisation.seed, rank
        )

    def loss(self, model: nn.Module, step: int, device: torch.device) -> Tensor:
        """Return the loss of version 2, with the dense CRF of version 1 if the config has it."""
        batch = self._sampler.draw(step)
        inside, candidates, scores = (
            values.to(device) for values in (batch.inside, batch.candidates, batch.scores)
        )
        images = batch.images.to(device)
        output: ModelOutput = model(images)
        dense = output.sides.get("dense", output.infection)
        negatives = torch.zeros((), device=device)
        if self._weak.candidates_only:
            negatives = known_negative_loss(dense, candidates)
            dense = candidate_logits(dense, candidates)
        frequency = self._sampler.score_frequency
        regression = interval_regression_loss(dense, inside, candidates, scores, frequency)
        pseudo = torch.zeros_like(regression)
        if "dense" in output.sides:
            rule = ranked_pseudo_labels if self._weak.pseudo_rule == "ranked" else pseudo_labels
            labels = rule(dense, inside, candidates, scores)
            pseudo = pseudo_label_loss(output.infection, labels, inside)
        ramp = min(1.0, step / max(1, self._weak.pseudo_ramp_steps))
        weights = (self._weak.regression_weight, ramp * self._weak.pseudo_weight)
        total = dram_loss(regression, pseudo, *weights) + negatives
        if self._weak.crf_weight > 0.0:
            total = total + self._weak.crf_weight * dense_crf_loss(dense, images, inside)
        return total

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the Dice of each validation case on the grid of the lobes."""
        return {
            case.key: dice(case_probability(model, case, device) >= 0.5, np.asarray(case.truth))
            for case in self._validation
        }


def case_probability(model: nn.Module, case: LobeCase, device: torch.device) -> NDArray[np.float32]:
    """Return the lesion probability of the lobes of a case, 0 outside them.

    Args:
        model: A network of the family dRAM, in evaluation mode on ``device``.
        case: The lobes.
        device: Where to compute.

    Returns:
        float32 ``[lobe, z, y, x]`` on the grid of the lobes.
    """
    maps = []
    with torch.inference_mode():
        for image, inside in zip(case.image, case.inside, strict=True):
            volume = torch.from_numpy(image.astype(np.float32) / 255.0).to(device)
            logits = model(volume[None, None]).infection[0, 0]
            maps.append(torch.sigmoid(logits.float()).cpu().numpy() * inside)
    return np.stack(maps)
