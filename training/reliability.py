"""How far probabilities can be believed: ``python -m training.reliability --data DIR``.

For every bundled infection model: of the pixels that it gives a probability, how many are
infection? Counted inside the lungs of held-out patients, before and after the temperature,
every case with the same weight. Temperature was chosen on these patients, so the figures after
it are flattered; `training.k_fold` states those of patients that decided nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.weights.catalogue import CatalogueEntry
from CovidLesionSegLib.weights.loading import load_model
from CovidLesionSegLib.weights.store import default_store

from .calibration import LOGIT_CENTRES, LogitHistogram, collect
from .command_line import command
from .config import load_config
from .export_weights import validation_cases
from .half_precision import bundled_slice_models

_LOG = logging.getLogger("training")
COMMAND = "python -m training.reliability"
_HERE = Path(__file__).parent
REPORT = _HERE / "reports" / "reliability.json"
_CARDS = _HERE / "cards"
_CONFIGS = _HERE / "configs"
_BINS = 10

Bins = dict[str, list[float | None]]


def reliability(histograms: Sequence[LogitHistogram], temperature: float) -> Bins:
    """Compare probabilities with what is observed, in ten bins of equal width.

    Args:
        histograms: Logits of some cases; each case weighs the same.
        temperature: Logits are divided by it.

    Returns:
        Per bin: ``share`` of the pixels, their mean ``probability`` and the ``observed`` share
        of infection among them; the last two are None for a bin without pixels.
    """
    positive, negative = _weights(histograms)
    probability = 1.0 / (1.0 + np.exp(-LOGIT_CENTRES / temperature))
    bins = np.minimum((probability * _BINS).astype(np.intp), _BINS - 1)

    def per_bin(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(bins, weights, minlength=_BINS).astype(np.float64)

    share = per_bin(positive + negative)
    mean = per_bin((positive + negative) * probability)
    return {
        "share": [float(value) for value in share],
        "probability": _ratio(mean, share),
        "observed": _ratio(per_bin(positive), share),
    }


def _weights(
    histograms: Sequence[LogitHistogram],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return shares of positive and negative pixels per bin, averaged over cases."""
    totals = [max(1, int(h.positive.sum() + h.negative.sum())) for h in histograms]
    pairs = list(zip(histograms, totals, strict=True))
    positive = np.mean([h.positive / total for h, total in pairs], axis=0)
    negative = np.mean([h.negative / total for h, total in pairs], axis=0)
    return positive, negative


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> list[float | None]:
    pairs = zip(above, below, strict=True)
    return [float(a / b) if b > 0.0 else None for a, b in pairs]


def expected_calibration_error(histograms: Sequence[LogitHistogram], temperature: float) -> float:
    """Return the mean distance of probability and observation over the pixels (ECE).

    Naeini et al., AAAI 2015, with the bins of `reliability`.
    """
    bins = reliability(histograms, temperature)
    rows = zip(bins["share"], bins["probability"], bins["observed"], strict=True)
    error = sum(s * abs(p - o) for s, p, o in rows if s and p is not None and o is not None)
    return round(float(error), 5)


def measure(entry: CatalogueEntry, data_dir: Path, cache_dir: Path) -> dict[str, Any]:
    """Measure one bundled model on the patients its config holds out."""
    model, _ = load_model(entry, default_store())
    cases = validation_cases(load_config(_CONFIGS / f"{entry.id}.json"), data_dir, cache_dir)
    recipe = SliceRecipe.from_dict(dict(entry.recipe))
    histograms = collect(model, cases, recipe, torch.device("cpu"))
    result: dict[str, Any] = {"sha256": entry.sha256, "temperature": entry.temperature}
    for name, temperature in (("before", 1.0), ("after", entry.temperature)):
        errors = {h.key: expected_calibration_error([h], temperature) for h in histograms}
        result[name] = {
            "calibration_error": expected_calibration_error(histograms, temperature),
            "cases": errors,
            "bins": reliability(histograms, temperature),
        }
    return result


def draw(measured: Mapping[str, Any], path: Path) -> None:
    """Draw the reliability diagram of a model as a small PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    curve, pixels = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    curve.plot((0, 1), (0, 1), color="0.6", linewidth=1, label="perfect")
    centres = (np.arange(_BINS) + 0.5) / _BINS
    for name, style in (("before", {"color": "tab:orange"}), ("after", {"color": "tab:blue"})):
        bins, error = measured[name]["bins"], measured[name]["calibration_error"]
        points = [
            (p, o)
            for p, o in zip(bins["probability"], bins["observed"], strict=True)
            if p is not None
        ]
        label = f"{name} temperature, ECE {error:.4f}"
        curve.plot(*zip(*points, strict=True), marker="o", markersize=4, label=label, **style)
        offset = -0.018 if name == "before" else 0.018
        pixels.bar(centres + offset, bins["share"], width=0.034, **style)
    curve.set(ylabel="observed share of infection", xlim=(0, 1), ylim=(0, 1))
    curve.legend(fontsize="small", loc="upper left")
    pixels.set(xlabel="probability", ylabel="pixels", yscale="log")
    figure.savefig(path, dpi=90)


def picture_name(model_id: str) -> str:
    """Return the file name of a model's reliability diagram."""
    return f"{model_id}-reliability.png"


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure every model, write report and pictures."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the volume sets")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="prepared slices")
    parser.add_argument("--json", type=Path, default=REPORT, help="where to write the report")
    parser.add_argument("--pictures", type=Path, default=_CARDS, help="folder of the diagrams")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: open")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    models = {}
    for entry in bundled_slice_models():
        if entry.task == "infection":
            models[entry.id] = measure(entry, options.data, options.cache)
            draw(models[entry.id], options.pictures / picture_name(entry.id))
            _LOG.info("%s: ECE %s", entry.id, models[entry.id]["after"]["calibration_error"])
    text = json.dumps({"command": COMMAND, "models": models}, indent=1)
    options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
