"""One training loop for every model, on Lightning Fabric."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from CovidLesionSegLib.nets.encoders import lite0_weights_path, load_imagenet_weights
from CovidLesionSegLib.nets.registry import create_from_config
from CovidLesionSegLib.nets.state import load_exactly
from CovidLesionSegLib.weights.loading import load_weights_file

from .config import TrainingConfig
from .ema import WeightAverage
from .optimisation import create_optimiser, image_encoders, learning_rate_factor
from .processes import decided_by_first
from .run_folder import CHECKPOINT_SUFFIX, RunFolder

_LOG = logging.getLogger(__name__)
_LOG_EVERY = 20


class Lesson(Protocol):
    """What a network learns from, and what it is watched by."""

    def loss(self, model: nn.Module, step: int, device: torch.device) -> Tensor:
        """Return the loss of one step, a function of weights, seed, process and step alone."""

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return one score per validation case, higher is better; empty without any."""


@dataclass
class TrainingState:
    """Everything that changes during a run; what a checkpoint holds.

    Attributes:
        model: The network, as set up by Fabric.
        optimiser: As the config names it.
        average: Moving average of the weights.
        step: Steps done.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: WeightAverage
    step: int = 0

    def to_checkpoint(self) -> dict[str, Any]:
        """Return the mapping that Fabric saves and loads in place."""
        return {
            "model": self.model,
            "optimiser": self.optimiser,
            "average": self.average.module,
            "step": self.step,
        }


def initial_network(
    config: TrainingConfig, pretrained: bool | Path, weights: Path | None
) -> nn.Module:
    """Build the network that a run starts from.

    Args:
        config: The run.
        pretrained: Whether encoders start from their public ImageNet weights; a file of them
            for an encoder whose weights no Python package brings.
        weights: A model to continue from; takes the place of the former. A weights file, or
            the checkpoint of another run of the same network, whose average is taken. Of a
            weights file of another family only the encoder is taken, for every encoder here.

    Raises:
        CovidLesionSegError: The file can't be read or does not fit.
    """
    model = create_from_config(config.model)
    if weights is not None and weights.suffix == CHECKPOINT_SUFFIX:
        content = torch.load(weights, map_location="cpu", weights_only=True)
        load_exactly(model, content["average"], config.model.family)
    elif weights is not None:
        found, entry = load_weights_file(weights)
        if entry.family == config.model.family:
            load_exactly(model, found.state_dict(), entry.id)
        else:
            _take_encoder(model, found, entry.id)
    elif pretrained:
        source = pretrained if isinstance(pretrained, Path) else lite0_weights_path()
        for encoder in image_encoders(model):
            load_imagenet_weights(encoder, source)
    return model


def _take_encoder(model: nn.Module, other: nn.Module, name: str) -> None:
    """Start every encoder of a network from the one of another family's network."""
    found = image_encoders(other)
    trained = found[0].state_dict() if found else {}
    for encoder in image_encoders(model):
        wanted = encoder.state_dict()
        # A shallower encoder has no use for the deeper blocks.
        state = {key: value for key, value in trained.items() if key in wanted}
        load_exactly(encoder, state, f"the encoder of {name}")
    _LOG.info("Encoders start from that of %s, all else from random weights", name)


def initial_state(
    config: TrainingConfig,
    fabric: Fabric,
    pretrained: bool | Path = True,
    weights: Path | None = None,
) -> TrainingState:
    """Build network and optimiser on Fabric's device; see `initial_network`."""
    fabric.seed_everything(config.optimisation.seed, verbose=False)
    model = initial_network(config, pretrained, weights)
    model.to(memory_format=channels_last_of(model))  # type: ignore[call-overload]
    average = WeightAverage(model, config.optimisation.ema_decay)
    average.module.to(fabric.device)
    prepared, optimiser = fabric.setup(model, create_optimiser(model, config.optimisation))
    return TrainingState(prepared, optimiser, average)


def channels_last_of(model: nn.Module) -> torch.memory_format:
    """Return the memory layout that suits the convolutions of a network, 2D or 3D."""
    volumes = any(parameter.ndim == 5 for parameter in model.parameters())
    return torch.channels_last_3d if volumes else torch.channels_last


class Trainer:
    """Runs a config to its last step; a killed run goes on at its last checkpoint.

    Args:
        config: The run.
        lesson: Loss and validation.
        run: Where results go.
        fabric: Device, precision and processes.
        pretrained: See `initial_network`.
        weights: A model to continue from instead.
    """

    def __init__(
        self,
        config: TrainingConfig,
        lesson: Lesson,
        run: RunFolder,
        fabric: Fabric,
        pretrained: bool | Path = True,
        weights: Path | None = None,
    ) -> None:
        self._config = config
        self._lesson = lesson
        self._run = run
        self._fabric = fabric
        self.state = initial_state(config, fabric, pretrained, weights)
        if run.checkpoint.exists():
            self._resume()

    def _resume(self) -> None:
        content = self.state.to_checkpoint()
        self._fabric.load(self._run.checkpoint, content)
        self.state.step = int(content["step"])
        if self._fabric.is_global_zero:
            self._run.truncate(self.state.step)
        _LOG.info("Resumed at step %d", self.state.step)

    def run(self, should_stop: Callable[[int], bool] | None = None) -> bool:
        """Train up to the last step, or until told to stop; a checkpoint is left either way.

        Args:
            should_stop: Called after every step with the number of steps done; of several
                processes the first one's answer counts.

        Returns:
            Whether the last step was reached.
        """
        optimisation = self._config.optimisation
        saved = started = time.monotonic()
        losses: list[float] = []
        while self.state.step < optimisation.steps:
            losses.append(self._step())
            step = self.state.step
            last = step == optimisation.steps
            if step % _LOG_EVERY == 0 or last:
                seconds = (time.monotonic() - started) / len(losses)
                self._log_step(float(np.mean(losses)), seconds)
            if step % optimisation.validate_every == 0 or last:
                self._validate()
            if step % _LOG_EVERY == 0:
                losses, started = [], time.monotonic()
            due = time.monotonic() - saved > optimisation.checkpoint_seconds
            told = should_stop is not None and should_stop(step)
            due, told = decided_by_first(self._fabric, due, told)
            if due:
                self.save()
                saved = time.monotonic()
            if told and not last:
                break
        self.save()
        return self.state.step >= optimisation.steps

    def save(self) -> None:
        """Write the checkpoint; a kill during writing leaves the old one."""
        partial = self._run.checkpoint.with_suffix(".partial")
        self._fabric.save(partial, self.state.to_checkpoint())
        if self._fabric.is_global_zero:
            partial.replace(self._run.checkpoint)
        self._fabric.barrier()

    def _step(self) -> float:
        state, optimisation = self.state, self._config.optimisation
        factor = learning_rate_factor(state.step, optimisation)
        for group in state.optimiser.param_groups:
            group["lr"] = group["peak_rate"] * factor
        # Seeding per step makes dropout, too, a function of the step alone.
        torch.manual_seed(optimisation.seed * 1_000_003 + state.step)
        state.model.train()
        loss = self._lesson.loss(state.model, state.step, self._fabric.device)
        self._fabric.backward(loss)
        self._clip_gradients()
        state.optimiser.step()
        state.optimiser.zero_grad(set_to_none=True)
        state.step += 1
        state.average.update(_unwrapped(state.model), state.step)
        return float(loss.detach())

    def _clip_gradients(self) -> None:
        model, optimiser = self.state.model, self.state.optimiser
        limits = self._config.optimisation
        if limits.max_gradient_value:
            self._fabric.clip_gradients(model, optimiser, clip_val=limits.max_gradient_value)
        else:
            self._fabric.clip_gradients(model, optimiser, max_norm=limits.max_gradient_norm)

    def _log_step(self, loss: float, seconds: float) -> None:
        if self._fabric.is_global_zero:
            rate = self.state.optimiser.param_groups[-1]["lr"]
            row = {"step": self.state.step, "loss": loss, "rate": rate, "seconds": seconds}
            self._run.append("training", row)
            self._fabric.log_dict(row, step=self.state.step)

    def _validate(self) -> None:
        scores: dict[str, float] = {}
        if self._fabric.is_global_zero:
            scores = self._lesson.validate(self.state.average.module, self._fabric.device)
        if scores:
            row = {"mean": float(np.mean(list(scores.values()))), **scores}
            self._run.append("validation", {"step": self.state.step, **row})
            self._fabric.log_dict(
                {f"validation/{k}": v for k, v in row.items()}, step=self.state.step
            )
            _LOG.info("Step %d: %s", self.state.step, {k: round(v, 3) for k, v in row.items()})
        if self._fabric.is_global_zero:
            self._run.draw_curves()
        self._fabric.barrier()


def _unwrapped(model: nn.Module) -> nn.Module:
    inner = getattr(model, "module", model)
    return inner if isinstance(inner, nn.Module) else model
