"""Maps of the bundled models: ``python -m training.semiseg.bundled --data DIR --runs RUNS``.

The bundled models are for clinical CT and have never seen these slices. They get them as what
`training.lesion_classes` makes of them, slices in HU and in clinical orientation, so that every
family has its row beside the published ones, also those that no single slice can teach.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from CovidLesionSegLib.engine.inference import predict_infection, predict_lungs
from CovidLesionSegLib.engine.models import open_infection_model, open_lung_model
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.slice_model import InfectionModel, SliceModel
from CovidLesionSegLib.engine.tissue_model import TissueModel, predict_tissue
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from training.command_line import command
from training.lesion_classes.scale import GreyScale, estimate_scale, usual_scale
from training.lesion_classes.slices import LUNGS_WIDTH_MM, read_class_slices

from .maps import write_map
from .slices import LAYOUTS, SliceFiles, find_slices, layout_folders, read_slice

_LOG = logging.getLogger("training")
MODELS = ("inf-net-lite", "bsnet-lite", "co-supervision-lite", "relation-lite", "dram-lite")
_SLICE_MM = 5.0
_COPIES = 2
"""A picture has no neighbours; beside itself a network sees itself."""


def as_ct(grey: NDArray[np.uint8], scale: GreyScale) -> CtVolume:
    """Return a packaged slice as a CT: transposed, in HU, with pixels of the usual size.

    Args:
        grey: uint8 ``[x, y]`` as packaged.
        scale: How its grey values become HU.
    """
    hu = np.clip(scale.hu(grey.T), -1024.0, 3071.0).round().astype(np.int16)
    pixel_mm = LUNGS_WIDTH_MM / hu.shape[1]
    affine = np.diag([pixel_mm, pixel_mm, _SLICE_MM, 1.0])
    return CtVolume.from_array(np.stack([hu] * _COPIES), affine, Provenance("array", "slice"))


def level_map(
    ct: CtVolume, model: InfectionModel | TissueModel, lungs: SliceModel
) -> NDArray[np.uint8]:
    """Return a model's map as levels ``[x, y]``, as slices are packaged.

    Odds are divided by those of the model's threshold, so that what it calls is above a half.
    Networks over slices search the whole picture, which is cropped to the lungs; dRAM, which
    judges tissue as lung tissue, the lungs that the lung network finds.
    """
    if isinstance(model, TissueModel):
        found = predict_tissue(ct, predict_lungs(ct, lungs, Reporter()), None, model, Reporter())
    else:
        found = predict_infection(ct, np.ones(ct.shape_zyx, dtype=np.uint8), model, Reporter())
    probability = found.infection[0].astype(np.float32)
    against = (1.0 - probability) * np.float32(model.threshold / (1.0 - model.threshold))
    levels: NDArray[np.uint8] = np.rint(255.0 * probability / (probability + against)).astype(
        np.uint8
    )
    return levels.T


def predict_bundled(files: Sequence[SliceFiles], usual: GreyScale, runs: Path) -> None:
    """Write the maps of every bundled model to ``RUNS/bundled-ID/test``.

    Args:
        files: The slices.
        usual: Scale of slices that none can be found for.
        runs: Folder of the run folders.
    """
    greys = {entry.key: read_slice(entry)["images"] for entry in files}
    scales = {key: estimate_scale(grey.T) for key, grey in greys.items()}
    cts = {key: as_ct(grey, scales[key] or usual) for key, grey in greys.items()}
    unknown = sorted(key for key, scale in scales.items() if scale is None)
    lungs = open_lung_model("cpu")
    for model_id in MODELS:
        model = open_infection_model(model_id, None, "cpu")
        out = runs / f"bundled-{model_id}" / "test"
        for key, ct in cts.items():
            write_map(level_map(ct, model, lungs), out, key)
        about = {
            "run": f"bundled {model_id}",
            "weights_sha256": dict(model.weights_sha256),
            "slices": len(files),
            "slices_on_the_usual_scale": unknown,
        }
        (out / "maps.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        _LOG.info("%s: %d slices", model_id, len(files))


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and predict the test slices."""
    parser = argparse.ArgumentParser(prog="python -m training.semiseg.bundled", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with covid_semiseg")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--set", choices=sorted(LAYOUTS), default="test")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it open")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    images = {"images": layout_folders(options.set, options.data)["images"]}
    usual = usual_scale([item.scale for item in read_class_slices(options.data)])
    predict_bundled(find_slices(images), usual, options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
