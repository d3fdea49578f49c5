"""Measure what half precision does to the models: ``python -m training.half_precision --data DIR``.

Every model of the catalogue is run on real slices in float32 and, by autocast, in bfloat16 and
float16. The report states a tolerance; the model cards repeat it, and a test holds the shipped
weights to it.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from CovidLesionSegLib.engine.windowing import SliceRecipe, slice_stack
from CovidLesionSegLib.weights.catalogue import CatalogueEntry
from CovidLesionSegLib.weights.loading import load_model
from CovidLesionSegLib.weights.store import default_store

from .command_line import command
from .data.store import wanted_volumes
from .data.volumes import LabelledVolume, load_volume
from .model_reports import bundled_models, still_valid, write_report
from .prediction import predict_stack

_LOG = logging.getLogger("training")
COMMAND = "python -m training.half_precision"
REPORT = Path(__file__).parent / "reports" / "half-precision.json"
SOURCES = ("coronacases", "medseg_p9")
CASES = ("coronacases_003", "p9_6", "p9_9")
"""Much disease in thin slices, next to none, and much in thick slices."""
SLICES_PER_CASE = 2
_PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_HEADROOM = 1.5
"""Other processors sum in another order."""

Measured = dict[str, dict[str, float]]


def measure_case(model: nn.Module, entry: CatalogueEntry, volume: LabelledVolume) -> Measured:
    """Compare half precision with float32 on some slices of a CT.

    Args:
        model: The network of ``entry``, in evaluation mode on the CPU.
        entry: Says how its input and output are to be treated.
        volume: The CT.

    Returns:
        By precision: ``mean_difference`` and ``largest_difference`` of the probabilities, and
        ``changed_percent``, the share of pixels that are decided otherwise.
    """
    recipe = SliceRecipe.from_dict(dict(entry.recipe))
    stack = slice_stack(volume.ct.hu, volume.ct.spacing_mm_zyx, recipe)
    indices = np.linspace(0, len(stack) - 1, SLICES_PER_CASE + 2).astype(np.intp)[1:-1]
    spacing_z_mm, device = volume.ct.spacing_mm_zyx[0], torch.device("cpu")

    def predict() -> tuple[NDArray[np.float32], NDArray[Any]]:
        logits = predict_stack(model, stack, spacing_z_mm, recipe, device, indices)
        return _answer(logits, entry)

    expected, decided = predict()
    result: Measured = {}
    for name, dtype in _PRECISIONS.items():
        with torch.autocast("cpu", dtype):
            found, redecided = predict()
        difference = np.abs(found - expected)
        result[name] = {
            "mean_difference": float(difference.mean()),
            "largest_difference": float(difference.max()),
            "changed_percent": 100.0 * float((redecided != decided).mean()),
        }
    return result


def _answer(
    logits: NDArray[np.float32], entry: CatalogueEntry
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return probabilities and decisions."""
    tensor = torch.from_numpy(logits) / entry.temperature
    if tensor.shape[1] > 1:
        return tensor.softmax(dim=1).numpy(), logits.argmax(axis=1)
    probability: NDArray[np.float32] = tensor.sigmoid().numpy()
    return probability, probability >= entry.threshold


def worst(cases: Sequence[Measured]) -> Measured:
    """Return the largest value of every figure over some cases."""
    return {
        name: {figure: max(case[name][figure] for case in cases) for figure in figures}
        for name, figures in cases[0].items()
    }


def tolerance(measured: Measured) -> Measured:
    """Return what a card promises: the measured figures, half as much again, rounded up."""
    return {
        name: {figure: _rounded_up(_HEADROOM * value) for figure, value in figures.items()}
        for name, figures in measured.items()
    }


def _rounded_up(value: float) -> float:
    """Round up to two significant digits."""
    if value <= 0.0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step) * step:.6g}")


def broken(measured: Measured, promised: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Name the figures that exceed what a card promises."""
    return [
        f"{name} {figure} {value:.4g} > {promised[name][figure]:.4g}"
        for name, figures in measured.items()
        for figure, value in figures.items()
        if value > promised[name][figure]
    ]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure every model for slices of volumes, write the report."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the volume sets")
    parser.add_argument("--json", type=Path, default=REPORT, help="where to write the report")
    parser.add_argument("--again", action="store_true", help="also what the report holds already")
    options = parser.parse_args(arguments)
    entries = bundled_slice_models()
    known = {} if options.again else still_valid(options.json, entries)
    volumes = [load_volume(files) for files in wanted_volumes(options.data, SOURCES, CASES)]
    models = {entry.id: known.get(entry.id) or _report(entry, volumes) for entry in entries}
    write_report(options.json, {"command": COMMAND, "cases": list(CASES)}, models, entries)
    return 0


def bundled_slice_models() -> list[CatalogueEntry]:
    """Return the bundled models that take slices of a volume."""
    return bundled_models("infection", "lungs")


def _report(entry: CatalogueEntry, volumes: Sequence[LabelledVolume]) -> dict[str, Any]:
    model, _ = load_model(entry, default_store())
    measured = worst([measure_case(model, entry, volume) for volume in volumes])
    _LOG.info("%s: %s", entry.id, measured)
    return {"sha256": entry.sha256, "measured": measured, "tolerance": tolerance(measured)}


if __name__ == "__main__":
    sys.exit(main())
