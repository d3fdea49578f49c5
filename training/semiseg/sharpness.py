"""Choose how sharp maps are: ``python -m training.semiseg.sharpness MAPS --fold N --data DIR``.

The published protocol averages the Dice over thresholds from 0 to 1. It rewards maps that are
nearly binary, whatever their accuracy: a soft border counts as wrong at most thresholds. Dividing
the logits by a temperature sharpens a map and moves no pixel across 0.5. The temperature is chosen
on slices that a fold holds out, never on those of the test.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError
from training.command_line import command
from training.semiseg_evaluation import score_image
from training.tasks import dice

from .maps import HALF_LEVEL, read_map, read_note
from .slices import find_slices, layout_folders, load_folds, read_slice

TEMPERATURES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
_ENOUGH = 0.005
_FULL = 255.0


def sharpened(levels: NDArray[np.uint8], temperature: float) -> NDArray[np.uint8]:
    """Return a map whose logits are divided by a temperature.

    Args:
        levels: uint8 of any shape, probability times 255.
        temperature: Below 1 sharpens.
    """
    with np.errstate(divide="ignore", over="ignore"):
        odds_against = (_FULL / np.arange(256) - 1.0) ** (1.0 / temperature)
    table: NDArray[np.uint8] = (_FULL / (1.0 + odds_against)).round().astype(np.uint8)
    return table[levels]


def choose_temperature(
    maps: Sequence[NDArray[np.uint8]], truths: Sequence[NDArray[np.bool_]]
) -> tuple[float, dict[float, float]]:
    """Return a temperature, and the mean Dice over thresholds and slices of each.

    The mean grows until maps are binary. The softest temperature that comes within .005 of the
    best is taken, which leaves a map most of its doubt.

    Args:
        maps: Maps as levels.
        truths: Masks of the same shapes.
    """
    scores = {t: _mean_dice(maps, truths, t) for t in TEMPERATURES}
    enough = max(scores.values()) - _ENOUGH
    return max(t for t, score in scores.items() if score >= enough), scores


def _mean_dice(
    maps: Sequence[NDArray[np.uint8]], truths: Sequence[NDArray[np.bool_]], temperature: float
) -> float:
    pairs = zip(maps, truths, strict=True)
    curves = [score_image(sharpened(levels, temperature), truth).dice for levels, truth in pairs]
    return float(np.mean(curves))


def choose(folder: Path, fold: int, data_dir: Path) -> dict[str, Any]:
    """Choose the temperature on the slices that a fold holds out.

    Args:
        folder: Maps of the labelled slices by a run that held this fold out.
        fold: The fold.
        data_dir: Folder that contains ``covid_semiseg``.

    Raises:
        InputError: ``training-data-mismatch`` if the run has seen the slices of the fold.
    """
    about = read_note(folder)
    if about.get("fold") != fold:
        raise InputError(
            "training-data-mismatch",
            f"The maps in {folder.name!r} are of a run that did not hold fold {fold} out.",
            "Train with --fold, and predict the labelled slices with that run.",
        )
    layout = layout_folders("labelled", data_dir)
    masks = {
        f.key: read_slice(f)["masks"] >= HALF_LEVEL for f in find_slices(layout, load_folds()[fold])
    }
    maps = [read_map(folder, key) for key in masks]
    temperature, scores = choose_temperature(maps, list(masks.values()))
    halves = [dice(m >= HALF_LEVEL, truth) for m, truth in zip(maps, masks.values(), strict=True)]
    return {
        "temperature": temperature,
        "mean_dice": scores,
        "dice_at_half": float(np.mean(halves)),
        "maps": about,
    }


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, choose and write."""
    parser = argparse.ArgumentParser(
        prog="python -m training.semiseg.sharpness", description=__doc__
    )
    parser.add_argument("maps", type=Path, help="maps of the labelled slices")
    parser.add_argument("--fold", type=int, required=True, help="what their run held out")
    parser.add_argument("--data", type=Path, required=True, help="folder with covid_semiseg")
    parser.add_argument("--json", type=Path, required=True, help="report")
    options = parser.parse_args(arguments)
    report = {
        "command": f"python -m training.semiseg.sharpness --fold {options.fold}",
        **choose(options.maps, options.fold, options.data),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
