"""What a trained class network says about slices that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from CovidLesionSegLib.engine.windowing import SliceRecipe, normalise
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.outputs import ModelOutput
from training.config import load_config
from training.export_weights import load_average
from training.run_folder import RunFolder
from training.semiseg.batches import options_of
from training.semiseg.curriculum import split_of_fold

from .rules import Calls, calls_of
from .slices import ClassSlice, grid_of, on_canvas


def network_calls(slices: Sequence[ClassSlice], runs: Sequence[Path]) -> dict[str, Calls]:
    """Return the calls of the networks of some runs, each on the slices of its fold.

    Raises:
        InputError: ``training-folds-incomplete`` unless every slice is held out exactly once.
    """
    calls: list[tuple[str, Calls]] = []
    for path in runs:
        run = RunFolder.existing(path)
        config = load_config(run.config)
        model, _ = load_average(run, config)
        options = options_of(config)
        held_out = split_of_fold(options.fold, tuple(s.key for s in slices)).validation
        for item in slices:
            if item.key in held_out:
                mask = consolidation_of(model, item, config.recipe)
                calls.append((item.key, calls_of(mask, item.classes)))
    keys = sorted(key for key, _ in calls)
    if keys != sorted(item.key for item in slices):
        raise InputError(
            "training-folds-incomplete",
            f"The runs hold out {len(set(keys))} of {len(slices)} slices, {len(keys)} in all.",
            "Give one run for every fold of training/splits/semiseg.json.",
        )
    return dict(calls)


@torch.inference_mode()
def consolidation_of(model: nn.Module, item: ClassSlice, recipe: SliceRecipe) -> NDArray[np.bool_]:
    """Return where a network calls consolidation more likely than ground glass.

    Args:
        model: A class network.
        item: The slice; its infection is the prior.
        recipe: Preprocessing.

    Returns:
        Boolean ``[y, x]`` on the slice's grid.
    """
    grid = grid_of(item, recipe)
    size = max(recipe.padded_size(grid))
    levels, classes = on_canvas(item, recipe, size)
    planes = np.stack([levels, np.where(classes > 0, 255, 0).astype(np.uint8)])
    image, prior = normalise(torch.from_numpy(planes)[:, None].expand(-1, 3, -1, -1), recipe)
    output: ModelOutput = model(torch.cat([image, prior])[None])
    ground_glass, consolidation = output.infection[0, :2].float()
    (y, x), (height, width) = ((size - n) // 2 for n in grid), grid
    margin = (consolidation - ground_glass)[y : y + height, x : x + width]
    resized = F.interpolate(margin[None, None], size=item.classes.shape, mode="bilinear")
    return np.asarray((resized[0, 0] > 0).numpy())
