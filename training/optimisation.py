"""Optimiser, parameter groups and learning rate of a run."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from CovidLesionSegLib.nets.encoders.base import Encoder

from .config import OptimisationConfig

_DECAY_EPOCH = 50


def learning_rate_factor(step: int, config: OptimisationConfig) -> float:
    """Return the share of the peak rate at a step, see `OptimisationConfig.schedule`."""
    if config.schedule != "cosine":
        # Epochs count from 1; the published trainer multiplies the *current* rate each time.
        late = max(0, step // config.epoch_steps + 1 - (_DECAY_EPOCH - 1))
        return float(0.1 ** (late if config.schedule == "released" else min(late, 1)))
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    decay_start = max(config.warmup_steps, round(config.hold_share * config.steps))
    if step < decay_start:
        return 1.0
    progress = (step - decay_start) / max(1, config.steps - decay_start)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def image_encoders(model: nn.Module) -> list[Encoder]:
    """Return the pretrainable encoders of a network: one, or one per stream."""
    return [module for module in model.modules() if isinstance(module, Encoder)]


def parameter_groups(model: nn.Module, config: OptimisationConfig) -> list[dict[str, Any]]:
    """Group parameters: a lower rate for the encoder, weight decay on kernels only."""
    pretrained = {id(p) for encoder in image_encoders(model) for p in encoder.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        key = (id(parameter) in pretrained, parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    result = []
    for (encoder, kernel), parameters in sorted(groups.items(), key=lambda item: item[0]):
        peak = config.learning_rate * (config.encoder_rate_factor if encoder else 1.0)
        decay = config.weight_decay if kernel else 0.0
        result.append({"params": parameters, "lr": peak, "peak_rate": peak, "weight_decay": decay})
    return result


def create_optimiser(model: nn.Module, config: OptimisationConfig) -> torch.optim.Optimizer:
    """Return the optimiser over the parameter groups of a network."""
    groups = parameter_groups(model, config)
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.learning_rate)
