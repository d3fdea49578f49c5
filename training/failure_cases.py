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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from CovidLesionSegLib.engine.masks import bounding_box
from CovidLesionSegLib.engine.models import open_infection_model, open_lung_model
from CovidLesionSegLib.engine.slice_model import InfectionModel, SliceModel
from CovidLesionSegLib.engine.tissue_model import TissueModel
from CovidLesionSegLib.weights.catalogue import CatalogueEntry

from .command_line import command
from .data.volumes import LabelledVolume, load_volume
from .evaluate import select_cases
from .metrics import Mask, overlap_scores
from .model_reports import add_model_option, bundled_infection_models, measure_models
from .predictions import PredictionFolder
from .slice_pictures import PICTURES, Panel, draw_panels

_LOG = logging.getLogger("training")
COMMAND = "python -m training.failure_cases"
_REPORTS = Path(__file__).parent / "reports"
REPORT = _REPORTS / "failure-cases.json"
_SCANS = 2
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
    drawn, spacing = volume.infection == 1, volume.ct.spacing_mm_zyx
    margin = round(_MARGIN_MM / spacing[1])
    box = bounding_box(lungs > 0, (0, margin, margin))[1:]
    panels = [
        Panel(
            volume.ct.hu[failed.index][box],
            drawn[failed.index][box],
            called[failed.index][box],
            f"slice {failed.index + 1} of {volume.ct.shape_zyx[0]}: {failed.kind}",
            spacing[1] / spacing[2],
        )
        for failed in slices
    ]
    draw_panels(panels, title, licence_of(volume.key), path)


def _model_report(
    entry: CatalogueEntry,
    lung_model: SliceModel,
    data_dir: Path,
    predictions: PredictionFolder,
    pictures: Path,
) -> dict[str, Any]:
    report = json.loads((_REPORTS / f"{entry.id}.json").read_text(encoding="utf-8"))
    model: InfectionModel | TissueModel = open_infection_model(entry.id, None, "cpu")
    scans = []
    for key in worst_scans(report):
        volume = load_volume(select_cases(data_dir, "bundled", [key])[0])
        prediction = predictions.predict(volume.ct, model, lung_model)
        called, lungs = prediction.mask(volume.ct), prediction.lungs
        slices = worst_slices(volume, called, lungs)
        path = pictures / f"{entry.id}-{key}.png"
        draw(volume, called, lungs, slices, f"{entry.id}, {key}", path)
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
        _LOG.info("%s, %s: %s", entry.id, key, shown)
    return {"sha256": entry.sha256, "scans": scans}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, find the failures of models, write report and pictures."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the volume sets")
    add_model_option(parser)
    parser.add_argument("--predictions", type=Path, help="keep predictions in this folder")
    parser.add_argument("--json", type=Path, default=REPORT, help="where to write the report")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder of the pictures")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: open")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    lung_model, kept = open_lung_model("cpu"), PredictionFolder(options.predictions)

    def measure(entry: CatalogueEntry) -> dict[str, Any]:
        return _model_report(entry, lung_model, options.data, kept, options.pictures)

    entries = bundled_infection_models()
    measure_models(options.json, {"command": COMMAND}, entries, options.model, measure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
