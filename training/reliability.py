"""How far probabilities can be believed: ``python -m training.reliability --data DIR``.

For every bundled infection model: of the pixels that it gives a probability, how many are
infection? Counted inside the lungs of held-out patients, before and after the temperature,
every case with the same weight. Temperature was chosen on these patients, so the figures after
it are flattered; `training.k_fold` states those of patients that decided nothing. A model that
no temperature was fitted for has one curve, as it is given.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit

from CovidLesionSegLib.engine.models import open_infection_model, open_lung_model
from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.catalogue import CatalogueEntry
from CovidLesionSegLib.weights.loading import load_model
from CovidLesionSegLib.weights.store import default_store

from .calibration import LOGIT_CENTRES, LogitHistogram, collect, count_logits
from .command_line import command
from .config import DataConfig, load_config
from .data.lung_labels import BACKGROUND, three_class_lungs
from .data.store import wanted_volumes
from .data.volumes import LabelledVolume, load_volume
from .export_weights import validation_cases
from .model_reports import add_model_option, bundled_infection_models, measure_models
from .predictions import PredictionFolder
from .splits import split_of

_LOG = logging.getLogger("training")
COMMAND = "python -m training.reliability"
_HERE = Path(__file__).parent
REPORT = _HERE / "reports" / "reliability.json"
CARDS = _HERE / "cards"
_CONFIGS = _HERE / "configs"
_BINS = 10
_PERCENT_TICKS = (0.1, 1.0, 10.0, 100.0)
_LEAST_PERCENT = 0.05
_DIGEST_KEY = "Report-SHA256"
"""Text chunk of a diagram's PNG."""

AS_GIVEN = "as given"
SIDES = {
    "before": ("before temperature", "tab:orange", -0.018),
    "after": ("after temperature", "tab:blue", 0.018),
    AS_GIVEN: ("as the model gives it", "tab:blue", 0.0),
}
"""Label, colour and offset of the bars of what is drawn."""

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


def measured_sides(
    histograms: Sequence[LogitHistogram], temperature: float | None
) -> dict[str, Any]:
    """Measure what a temperature makes of some cases.

    Args:
        histograms: Their logits.
        temperature: The model's; None for one that none was fitted for.

    Returns:
        ``before`` and ``after`` the temperature, or `AS_GIVEN` alone where there is none: each
        with its error, that of every case, and the bins of `reliability`.
    """
    sides = {AS_GIVEN: 1.0} if temperature is None else {"before": 1.0, "after": temperature}
    return {
        name: {
            "calibration_error": expected_calibration_error(histograms, divisor),
            "cases": {h.key: expected_calibration_error([h], divisor) for h in histograms},
            "bins": reliability(histograms, divisor),
        }
        for name, divisor in sides.items()
    }


def measure(
    entry: CatalogueEntry, data_dir: Path, cache_dir: Path, predictions: PredictionFolder
) -> dict[str, Any]:
    """Measure one bundled model on the patients its config holds out.

    Args:
        entry: The model: a network over slices by its bare logits, one over tissue by the map
            that the engine makes of it.
        data_dir: Folder of the volume sets.
        cache_dir: Folder of the prepared slices.
        predictions: Where maps are kept.
    """
    config = load_config(_CONFIGS / f"{entry.id}.json")
    fitted: float | None = None
    if entry.task == "severity":
        histograms = _of_maps(entry, config.data, data_dir, predictions)
    else:
        fitted = entry.temperature
        model, _ = load_model(entry, default_store())
        cases = validation_cases(config, data_dir, cache_dir)
        recipe = SliceRecipe.from_dict(dict(entry.recipe))
        histograms = collect(model, cases, recipe, torch.device("cpu"))
    head = {"sha256": entry.sha256, "temperature": entry.temperature}
    return {**head, **measured_sides(histograms, fitted)}


def _of_maps(
    entry: CatalogueEntry, data: DataConfig, data_dir: Path, predictions: PredictionFolder
) -> list[LogitHistogram]:
    model, lung_model = open_infection_model(entry.id, None, "cpu"), open_lung_model("cpu")
    histograms = []
    for files in wanted_volumes(data_dir, data.sources, split_of(data).validation):
        volume = load_volume(files)
        prediction = predictions.predict(volume.ct, model, lung_model)
        histograms.append(map_histogram(volume, prediction.probability))
    return histograms


def map_histogram(volume: LabelledVolume, probability: NDArray[np.float16]) -> LogitHistogram:
    """Count a map inside the same lungs as `collect`, but on the CT's own grid.

    Args:
        volume: The case.
        probability: ``[z, y, x]``, 0 outside the lungs that the engine found.

    Raises:
        InputError: ``no-lung-mask``. The whole volume would be mostly air and body, where a map
            is 0 and right.
    """
    if volume.lung is None:
        raise InputError(
            "no-lung-mask",
            f"Case {volume.key!r} comes without a mask of the lungs.",
            "Measure calibration on cases whose lungs are drawn.",
        )
    ct = volume.ct
    inside = three_class_lungs(volume.lung, ct.hu, ct.spacing_mm_zyx) != BACKGROUND
    logits = logit(probability[inside].astype(np.float32))
    return count_logits(volume.key, logits, volume.infection[inside] == 1)


def draw(measured: Mapping[str, Any], path: Path, what: str = "infection") -> None:
    """Draw the reliability diagram of a model as a small PNG that names what it was drawn from.

    Args:
        measured: A report's part that holds `measured_sides`.
        path: The PNG.
        what: What the probability is of.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(4.2, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    curve, pixels = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    curve.plot((0, 1), (0, 1), color="0.6", linewidth=1, label="perfect")
    centres = (np.arange(_BINS) + 0.5) / _BINS
    for name, (label, colour, offset) in SIDES.items():
        if name not in measured:
            continue
        bins, error = measured[name]["bins"], measured[name]["calibration_error"]
        points = [
            (p, o)
            for p, o in zip(bins["probability"], bins["observed"], strict=True)
            if p is not None
        ]
        text = f"{label}, ECE {error:.4f}"
        curve.plot(*zip(*points, strict=True), marker="o", markersize=4, label=text, color=colour)
        percent = 100.0 * np.asarray(bins["share"])
        pixels.bar(centres + offset, percent, width=0.034, color=colour)
    curve.set(ylabel=f"observed share of {what}", xlim=(0, 1), ylim=(0, 1))
    curve.legend(fontsize="small", loc="upper left")
    pixels.set(xlabel="probability", ylabel="share of\npixels, %", yscale="log")
    pixels.set(ylim=(_LEAST_PERCENT, 100.0), yticks=_PERCENT_TICKS)
    pixels.set_yticklabels([f"{tick:g}" for tick in _PERCENT_TICKS])
    pixels.yaxis.set_minor_locator(NullLocator())
    figure.savefig(path, dpi=90, metadata={_DIGEST_KEY: digest_of(measured)})


def digest_of(measured: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a report's part, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()


def drawn_from(path: Path) -> str | None:
    """Return the digest of what a diagram was drawn from, None if it names none."""
    from PIL import Image

    with Image.open(path) as picture:
        found = picture.info.get(_DIGEST_KEY)
    return found if isinstance(found, str) else None


def picture_name(model_id: str) -> str:
    """Return the file name of a model's reliability diagram."""
    return f"{model_id}-reliability.png"


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure models, write report and pictures."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the volume sets")
    add_model_option(parser)
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="prepared slices")
    parser.add_argument("--predictions", type=Path, help="keep maps in this folder")
    parser.add_argument("--json", type=Path, default=REPORT, help="where to write the report")
    parser.add_argument("--pictures", type=Path, default=CARDS, help="folder of the diagrams")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: open")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    kept = PredictionFolder(options.predictions)

    def measured(entry: CatalogueEntry) -> dict[str, Any]:
        found = measure(entry, options.data, options.cache, kept)
        draw(found, options.pictures / picture_name(entry.id))
        errors = {name: found[name]["calibration_error"] for name in SIDES if name in found}
        _LOG.info("%s: ECE %s", entry.id, errors)
        return found

    entries = bundled_infection_models()
    measure_models(options.json, {"command": COMMAND}, entries, options.model, measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
