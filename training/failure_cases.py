"""Where a model fails worst: ``python -m training.failure_cases --data DIR``.

For every bundled infection model: the two held-out scans with the lowest Dice (by the reports of
`training.evaluate`), and in each the axial slice where it calls most that experts did not draw,
and the one where it leaves out most that they drew. The report, which the model cards show,
holds numbers only. The pictures show pixels of the data, whose terms are not those of this
project, so they are written to a folder that git ignores, each with source and licence.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from CovidLesionSegLib.engine.masks import bounding_box
from CovidLesionSegLib.engine.models import open_lung_model, open_slice_model
from CovidLesionSegLib.engine.slice_model import SliceModel

from .command_line import command
from .data.volumes import LabelledVolume, load_volume
from .evaluate import select_cases
from .half_precision import bundled_slice_models
from .metrics import Mask, overlap_scores
from .predictions import PredictionFolder

_LOG = logging.getLogger("training")
COMMAND = "python -m training.failure_cases"
_REPORTS = Path(__file__).parent / "reports"
REPORT = _REPORTS / "failure-cases.json"
PICTURES = Path("runs/failure-cases")
_SCANS = 2
_WINDOW_HU = (-1200, 200)
_GREYS = 24
_COLOURS = 64
_KEEPS_OUTLINES = 2
"""Pillow's octree; its median cut spends all colours on greys."""

_MARGIN_MM = 15.0
_LEAST_CM2 = 0.1
"""A slice with less wrong tissue than this is no failure to show."""

SOURCES = {
    "coronacases": "COVID-19-CT-Seg, Coronacases Initiative, Zenodo 3757476, CC BY-NC-SA",
    "p9": "MedSeg COVID-19 CT segmentation dataset nr 2, doi 10.6084/m9.figshare.13521488, "
    "radiopaedia, MedSeg terms",
}


@dataclass(frozen=True)
class FailedSlice:
    """The worst slice of a scan in one respect.

    Attributes:
        kind: ``"called, not drawn"`` or ``"drawn, not called"``.
        index: Slice in LPS order, from the feet, 0-based.
        area_cm2: Wrong area of that kind in the slice.
        mean_hu: Mean density of that area.
        lung_hu: Median density of the remaining lung in the slice.
        dependent_percent: Share of that area in the posterior half of the lungs.
    """

    kind: str
    index: int
    area_cm2: float
    mean_hu: float
    lung_hu: float
    dependent_percent: float


def worst_scans(report: Mapping[str, Any], count: int = _SCANS) -> list[str]:
    """Return the scans with the lowest Dice through the pipeline, the worst first."""
    dice = {key: scores["pipeline"]["dice"] for key, scores in report["cases"].items()}
    return sorted(dice, key=dice.__getitem__)[:count]


def worst_slices(
    volume: LabelledVolume, called: Mask, lungs: NDArray[np.uint8]
) -> list[FailedSlice]:
    """Find the slice with the largest false area of either kind.

    Args:
        volume: CT and expert's mask.
        called: bool ``[z, y, x]``, the model's mask.
        lungs: uint8 ``[z, y, x]``, non-zero in the lungs.
    """
    drawn = volume.infection == 1
    kinds = {"called, not drawn": called & ~drawn, "drawn, not called": drawn & ~called}
    pixel_cm2 = float(np.prod(volume.ct.spacing_mm_zyx[1:])) / 100.0
    result = []
    for kind, wrong in kinds.items():
        areas = wrong.sum(axis=(1, 2)) * pixel_cm2
        index = int(areas.argmax())
        if areas[index] < _LEAST_CM2:
            continue
        hu, lung = volume.ct.hu[index], lungs[index] > 0
        rest = lung & ~called[index] & ~drawn[index]
        rows = np.nonzero((lung | wrong[index]).any(axis=1))[0]
        posterior = np.nonzero(wrong[index])[0] > (rows[0] + rows[-1]) / 2.0
        result.append(
            FailedSlice(
                kind,
                index,
                round(float(areas[index]), 2),
                round(float(hu[wrong[index]].mean()), 0),
                round(float(np.median(hu[rest])), 0) if rest.any() else 0.0,
                round(100.0 * float(posterior.mean()), 0),
            )
        )
    return result


def licence_of(key: str) -> str:
    """Return source and licence of a case, by the beginning of its name."""
    return next((text for start, text in SOURCES.items() if key.startswith(start)), "your data")


def draw(
    volume: LabelledVolume,
    called: Mask,
    lungs: NDArray[np.uint8],
    slices: Sequence[FailedSlice],
    title: str,
    path: Path,
) -> None:
    """Draw slices of a scan with the expert's and the model's outline as a small PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(3.2 * len(slices), 3.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    drawn, spacing = volume.infection == 1, volume.ct.spacing_mm_zyx
    grey_levels = np.linspace(*_WINDOW_HU, _GREYS)
    margin = round(_MARGIN_MM / spacing[1])
    box = bounding_box(lungs > 0, (0, margin, margin))[1:]
    axes = figure.subplots(1, len(slices), squeeze=False)[0]
    for axis, failed in zip(axes, slices, strict=True):
        axis.imshow(
            np.digitize(volume.ct.hu[failed.index][box], grey_levels),
            cmap="gray",
            vmin=0,
            vmax=_GREYS,
            aspect=spacing[1] / spacing[2],
        )
        for mask, colour in ((drawn, "#00d0ff"), (called, "#ff8c00")):
            if mask[failed.index][box].any():
                axis.contour(mask[failed.index][box], (0.5,), colors=colour, linewidths=1.1)
        number, count = failed.index + 1, volume.ct.shape_zyx[0]
        axis.set_title(f"slice {number} of {count}: {failed.kind}", fontsize=8)
        axis.axis("off")
    figure.suptitle(f"{title} (blue: expert, orange: model)", fontsize=9)
    figure.supxlabel(textwrap.fill(licence_of(volume.key), 60 * len(slices)), fontsize=6)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(_COLOURS, _KEEPS_OUTLINES, dither=Image.Dither.NONE).save(path, optimize=True)


def _model_report(
    model: SliceModel,
    lung_model: SliceModel,
    data_dir: Path,
    predictions: PredictionFolder,
    pictures: Path,
) -> dict[str, Any]:
    report = json.loads((_REPORTS / f"{model.id}.json").read_text(encoding="utf-8"))
    scans = []
    for key in worst_scans(report):
        volume = load_volume(select_cases(data_dir, "bundled", [key])[0])
        prediction = predictions.predict(volume.ct, model, lung_model)
        called, lungs = prediction.mask(volume.ct), prediction.lungs
        slices = worst_slices(volume, called, lungs)
        path = pictures / f"{model.id}-{key}.png"
        draw(volume, called, lungs, slices, f"{model.id}, {key}", path)
        dice = overlap_scores(called, volume.infection == 1)["dice"]
        shown = [asdict(failed) for failed in slices]
        scans.append(
            {
                "case": key,
                "slices_in_scan": volume.ct.shape_zyx[0],
                "dice": round(dice, 5),
                "slices": shown,
            }
        )
        _LOG.info("%s, %s: %s", model.id, key, shown)
    return {"sha256": model.sha256, "scans": scans}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, find the failures of every model, write report and pictures."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the volume sets")
    parser.add_argument("--predictions", type=Path, help="keep predictions in this folder")
    parser.add_argument("--json", type=Path, default=REPORT, help="where to write the report")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder of the pictures")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: open")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    lung_model, kept = open_lung_model("cpu"), PredictionFolder(options.predictions)
    models = {}
    for entry in bundled_slice_models():
        if entry.task == "infection":
            model = open_slice_model(entry.id, "cpu")
            models[entry.id] = _model_report(
                model, lung_model, options.data, kept, options.pictures
            )
    text = json.dumps({"command": COMMAND, "models": models}, indent=1)
    options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
