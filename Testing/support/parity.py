"""Parity checks beyond what one published state dict holds."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from Testing.support.golden import GoldenModel

Arrays = dict[str, NDArray[Any]]
Shapes = dict[str, tuple[int, ...]]


def golden_shapes(folder: Path, name: str, registered_only: bool = False) -> Shapes:
    """Names and shapes of a published network, with its unregistered entries if any."""
    shapes = GoldenModel(folder, name).shapes()
    unregistered = folder / f"{name}.unregistered.json"
    if unregistered.is_file() and not registered_only:
        shapes |= {key: tuple(shape) for key, shape in json.loads(unregistered.read_text())}
    return shapes


def golden_state(folder: Path, name: str, registered_only: bool = False) -> dict[str, Tensor]:
    """The published state, filled by the rule of the golden data."""
    filled = _fill(folder)["fill_state_dict"](golden_shapes(folder, name, registered_only))
    return {key: torch.from_numpy(values) for key, values in filled.items()}


def golden_array(folder: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    """The input of that name and shape."""
    return torch.from_numpy(_fill(folder)["golden_input"](name, shape))


def golden_case(folder: Path, name: str) -> tuple[Tensor, Arrays]:
    """Input and expected outputs of the only case of a network."""
    (case,) = GoldenModel(folder, name).cases()
    return case


def golden_arrays(folder: Path, name: str) -> Arrays:
    """All arrays of one golden file."""
    with np.load(folder / f"{name}.npz") as file:
        return dict(file)


def _fill(folder: Path) -> dict[str, Callable[..., Any]]:
    return runpy.run_path(str(folder / "fill.py"))


def largest_difference(actual: Tensor, expected: NDArray[Any]) -> float:
    """The largest absolute difference, in float64."""
    return float(np.abs(actual.detach().double().numpy() - expected).max())


def settle_normalisation(model: nn.Module, images: Tensor) -> None:
    """Set batch statistics from ``images``, so that random weights keep the signal alive."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            layer.momentum = None
            layer.reset_running_stats()
    model.train()
    with torch.no_grad():
        model(images)
    model.eval()
