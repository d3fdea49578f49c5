"""Losses and quick validation of the two stages on single slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from CovidLesionSegLib.engine.windowing import normalise
from CovidLesionSegLib.nets.losses.co_supervision import co_supervision_loss
from CovidLesionSegLib.nets.losses.dice import sample_dice_loss
from CovidLesionSegLib.nets.losses.multi_class import class_targets, multi_class_loss
from CovidLesionSegLib.nets.losses.structure import deep_structure_loss
from CovidLesionSegLib.nets.outputs import ModelOutput
from CovidLesionSegLib.nets.registry import input_contract
from training.config import TrainingConfig
from training.objectives import lesion_rim
from training.semiseg_evaluation import score_image
from training.tasks import dice

from .batches import Batch, SliceBatches, options_of, recipe_of
from .maps import HALF_LEVEL
from .prediction import SlicePredictor
from .slices import CONSOLIDATION, GROUND_GLASS, SliceSet

_MISTAKE_GRID = 8
_MISTAKE_SIZE = 0.35
_MISTAKE_STEEPNESS = 12.0
_MAX_BLUR_RADIUS = 8


class SemisegLesson:
    """Supervised training on slices, with expert or pseudo masks.

    Args:
        config: The run.
        parts: Sets, and the rows of each that are trained on.
        validation: Set and rows that are watched; None for none.
        rank: Process number in distributed training.
    """

    def __init__(
        self,
        config: TrainingConfig,
        parts: Sequence[tuple[SliceSet, NDArray[np.intp]]],
        validation: tuple[SliceSet, NDArray[np.intp]] | None = None,
        rank: int = 0,
    ) -> None:
        self._config = config
        self._options = options_of(config)
        self._recipe = recipe_of(config)
        self._channels = input_contract(config.model).channels
        self._validation = validation
        self.batches = SliceBatches(config, parts, rank)

    def loss(self, model: nn.Module, step: int, device: torch.device) -> Tensor:
        """Return the stage's loss on the batch of a step."""
        batch = self.batches.batch(step, device)
        if self._options.stage == "classes":
            rng = np.random.default_rng([self._config.optimisation.seed, 2, step])
            return self._class_loss(model, batch, rng)
        output: ModelOutput = model(batch.images[:, : self._channels])
        released = self._options.loss == "released"
        edge = batch.edge if released else lesion_rim(batch.mask)
        if self._config.model.family == "co-supervision":
            return co_supervision_loss(output, batch.mask, edge, "old" if released else "intended")
        return deep_structure_loss(output, batch.mask, edge, self._options.loss)

    def _class_loss(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> Tensor:
        prior = batch.mask
        if self._options.prior == "degraded":
            mistaken = torch.from_numpy(rng.random(len(prior)) < 0.5).to(prior.device)
            prior = torch.where(mistaken[:, None, None, None], degraded(prior, rng), prior)
        levels = (prior * 255.0).repeat(1, 3, 1, 1)
        images = torch.cat([batch.images, normalise(levels, self._recipe)], dim=1)
        output: ModelOutput = model(images)
        loss = multi_class_loss(output.infection, batch.classes)
        if self._options.loss == "released":
            return loss
        targets = class_targets(batch.classes)[:, :2]
        return loss + sample_dice_loss(torch.sigmoid(output.infection[:, :2].float()), targets)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the mean Dice of the held-out slices, on the network's grid.

        Infection: at 0.5, and the mean over the thresholds of the published protocol. Classes:
        one per class at 0.5, given the expert's mask with mistakes; slices without the class
        count as 0 unless nothing is found, as in the published table.
        """
        if self._validation is None:
            return {}
        slices, rows = self._validation
        predictor = SlicePredictor(model, self._config, device)
        if self._options.stage == "classes":
            return self._validate_classes(predictor, slices, rows)
        levels = predictor.levels(slices.images[rows])[:, 0]
        truths = slices.masks[rows] >= HALF_LEVEL
        pairs = list(zip(levels, truths, strict=True))
        return {
            "half": float(np.mean([dice(level >= HALF_LEVEL, truth) for level, truth in pairs])),
            "thresholds": float(np.mean([score_image(*pair).dice.mean() for pair in pairs])),
        }

    def _validate_classes(
        self, predictor: SlicePredictor, slices: SliceSet, rows: NDArray[np.intp]
    ) -> dict[str, float]:
        masks = torch.from_numpy(slices.masks[rows].astype(np.float32))[:, None] / 255.0
        priors = degraded(masks, np.random.default_rng(0))[:, 0].mul(255.0).round().byte().numpy()
        levels = predictor.levels(slices.images[rows], priors)
        truth = slices.classes[rows]
        return {
            name: float(
                np.mean(
                    [dice(p >= HALF_LEVEL, t == value) for p, t in zip(found, truth, strict=True)]
                )
            )
            for name, value, found in (
                ("ground_glass", GROUND_GLASS, levels[:, 0]),
                ("consolidation", CONSOLIDATION, levels[:, 1]),
            )
        }


def degraded(masks: Tensor, rng: np.random.Generator) -> Tensor:
    """Return infection maps as a network might have drawn them: soft, displaced, with holes.

    The class stage gets a network's map at test time but the expert's mask in training
    (Inf-Net section III-F); this stands between them. A blurred mask is shifted up and down by
    smooth noise before it is cut again.

    Args:
        masks: ``(B, 1, H, W)`` in 0..1.
        rng: Everything random.
    """
    count, _, height, width = masks.shape
    radius = int(rng.integers(2, _MAX_BLUR_RADIUS + 1))
    blurred = F.avg_pool2d(masks, 2 * radius + 1, stride=1, padding=radius)
    noise = rng.normal(0.0, _MISTAKE_SIZE, (count, 1, _MISTAKE_GRID, _MISTAKE_GRID))
    smooth = F.interpolate(
        torch.from_numpy(noise).to(masks), (height, width), mode="bicubic", align_corners=False
    )
    # Mistakes lie where there is some lesion nearby; clean lung stays clean.
    near = F.max_pool2d(blurred, 2 * radius + 1, stride=1, padding=radius)
    return torch.sigmoid(_MISTAKE_STEEPNESS * (blurred + smooth * (near > 0) - 0.5))
