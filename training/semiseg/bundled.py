"""Maps of the bundled models: ``python -m training.semiseg.bundled --data DIR --runs RUNS``.

The bundled models are for clinical CT, and those for infection have learned from CTs alone. They
get the slices as `training.lesion_classes` makes them, in HU and in clinical orientation, so that
every family has its row beside the published ones, also those that no single slice can teach. With
``--priors``, infection maps, ground glass and consolidation are told apart inside them instead.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from CovidLesionSegLib.engine.inference import predict_infection, predict_lungs
from CovidLesionSegLib.engine.lesion_classes import open_class_model, split_by_network
from CovidLesionSegLib.engine.models import open_infection_model, open_lung_model
from CovidLesionSegLib.engine.opacity import split_opacity
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.result import Opacity
from CovidLesionSegLib.engine.slice_model import InfectionModel, SliceModel
from CovidLesionSegLib.engine.tissue_model import TissueModel, predict_tissue
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from training.command_line import command
from training.lesion_classes.scale import GreyScale, estimate_scale, usual_scale
from training.lesion_classes.slices import estimated_pixel_mm, read_class_slices
from training.model_reports import bundled_infection_models

from .maps import HALF_LEVEL, read_map, read_note, write_map, write_note
from .predict import CLASS_FOLDERS
from .slices import LAYOUTS, SliceFiles, find_slices, layout_folders, read_slice

_LOG = logging.getLogger("training")
_SLICE_MM = 5.0
_COPIES = 2
"""A picture has no neighbours; beside itself a network sees itself."""

Split: TypeAlias = Callable[[CtVolume, NDArray[np.uint8]], NDArray[np.uint8]]
"""From a CT and its infection to the labels of `Opacity`."""

_CLASSES = (Opacity.GROUND_GLASS, Opacity.CONSOLIDATION)


def as_ct(grey: NDArray[np.uint8], scale: GreyScale) -> CtVolume:
    """Return a packaged slice as a CT: transposed, in HU, with pixels of the usual size.

    Args:
        grey: uint8 ``[x, y]`` as packaged.
        scale: How its grey values become HU.
    """
    hu = np.clip(scale.hu(grey.T), -1024.0, 3071.0).round().astype(np.int16)
    pixel_mm = estimated_pixel_mm(hu.shape)
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


@dataclass(frozen=True, eq=False)
class Pictures:
    """Slices as CTs.

    Attributes:
        cts: CT by name of the slice.
        guessed: Slices without a scale of their own, which got the usual one.
    """

    cts: dict[str, CtVolume]
    guessed: tuple[str, ...]

    @classmethod
    def of(cls, files: Sequence[SliceFiles], usual: GreyScale) -> Pictures:
        """Read slices; those that no HU scale is found for get the usual one."""
        greys = {entry.key: read_slice(entry)["images"] for entry in files}
        scales = {key: estimate_scale(grey.T) for key, grey in greys.items()}
        cts = {key: as_ct(grey, scales[key] or usual) for key, grey in greys.items()}
        return cls(cts, tuple(sorted(key for key, scale in scales.items() if scale is None)))

    def write_note(self, out: Path, run: str, weights_sha256: Mapping[str, str]) -> None:
        """Write beside maps what they are."""
        about = {
            "run": run,
            "weights_sha256": dict(weights_sha256),
            "slices": len(self.cts),
            "slices_on_the_usual_scale": self.guessed,
        }
        write_note(out, about)


def predict_bundled(
    pictures: Pictures, models: Sequence[str], runs: Path, name: str = "test"
) -> None:
    """Write the maps of bundled models to ``RUNS/bundled-ID/NAME``.

    Args:
        pictures: The slices.
        models: Ids of the models.
        runs: Folder of the run folders.
        name: Name of the set.
    """
    lungs = open_lung_model("cpu")
    for model_id in models:
        model = open_infection_model(model_id, None, "cpu")
        out = runs / f"bundled-{model_id}" / name
        for key, ct in pictures.cts.items():
            write_map(level_map(ct, model, lungs), out, key)
        pictures.write_note(out, f"bundled {model_id}", model.weights_sha256)
        _LOG.info("%s: %d slices", model_id, len(pictures.cts))


def classify_bundled(pictures: Pictures, priors: Path, runs: Path, name: str = "test") -> None:
    """Write ground glass and consolidation inside given infection maps.

    By the bundled class network to ``RUNS/bundled-density-classes-lite/NAME``, and by the
    engine's border to ``RUNS/border-in-HU/NAME``.

    Args:
        pictures: The slices.
        priors: Folder of infection maps of the same slices.
        runs: Folder of the run folders.
        name: Name of the set.
    """
    network = open_class_model()
    within = read_note(priors)["run"]
    by_network = {network.id: network.sha256}
    rules: list[tuple[str, Split, dict[str, str]]] = [
        (f"bundled {network.id}", lambda ct, mask: split_by_network(ct, mask, network), by_network),
        ("border in HU", lambda ct, mask: split_opacity(ct.hu, mask), {}),
    ]
    for rule, split, weights in rules:
        out = runs / rule.replace(" ", "-") / name
        for key, ct in pictures.cts.items():
            infection = (read_map(priors, key).T >= HALF_LEVEL).astype(np.uint8)
            opacity = split(ct, np.stack([infection] * _COPIES))[0].T
            for folder, label in zip(CLASS_FOLDERS, _CLASSES, strict=True):
                write_map(np.where(opacity == label, 255, 0).astype(np.uint8), out / folder, key)
        pictures.write_note(out, f"{rule} within {within}", weights)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and predict the slices of a set."""
    parser = argparse.ArgumentParser(prog="python -m training.semiseg.bundled", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with covid_semiseg")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--set", choices=sorted(LAYOUTS), default="test")
    parser.add_argument(
        "--priors", type=Path, help="infection maps: classes inside them, in place of infection"
    )
    parser.add_argument("--model", nargs="+", default=(), help="maps of these alone; else of all")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it open")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    images = {"images": layout_folders(options.set, options.data)["images"]}
    usual = usual_scale([item.scale for item in read_class_slices(options.data)])
    pictures = Pictures.of(find_slices(images), usual)
    if options.priors is None:
        models = options.model or [entry.id for entry in bundled_infection_models()]
        predict_bundled(pictures, models, options.runs, options.set)
    else:
        classify_bundled(pictures, options.priors, options.runs, options.set)
    return 0


if __name__ == "__main__":
    sys.exit(main())
