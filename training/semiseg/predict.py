"""Write the maps of a run: ``python -m training.semiseg.predict RUN --data DIR --out MAPS``.

The maps are what ``python -m training.evaluate semiseg`` scores. The 48 test slices are for the
final table; choose by the folds instead (``--set labelled``).
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

from CovidLesionSegLib.engine.devices import resolve_device
from training.command_line import command
from training.config import TrainingConfig, load_config
from training.export_weights import load_average
from training.run_folder import RunFolder

from .batches import options_of
from .maps import own_size, to_size, write_map
from .prediction import SlicePredictor
from .slices import LAYOUTS, find_slices, layout_folders, open_slices
from .train import add_common

_LOG = logging.getLogger("training")
CLASS_FOLDERS = ("ground_glass", "consolidation")


def predict(
    run: RunFolder,
    folders: dict[str, Path],
    out: Path,
    cache_dir: Path,
    device: str,
    priors: Path | None = None,
    flips: bool = False,
) -> None:
    """Predict slices with the averaged weights of a run.

    Infection networks write one soft map per slice. The class stage writes one folder per
    class with maps of 0 and 255, as its published results are.

    Args:
        run: The run folder.
        folders: Folder of the slices, as ``images``.
        out: Where the maps go.
        cache_dir: Folder of the prepared slices.
        device: Torch device, or ``"auto"``.
        priors: Folder of infection maps, for the class stage.
        flips: Whether to average over the four flips of every slice.

    Raises:
        InputError: ``training-run-empty``, or slices and infection maps do not fit.
    """
    config = load_config(run.config)
    model, step = load_average(run, config)
    place = torch.device(resolve_device(device))
    predictor = SlicePredictor(model.to(place), config, place, flips)
    roles = {"images": folders["images"]}
    if options_of(config).stage == "classes" and priors is not None:
        roles["masks"] = priors
    files = find_slices(roles)
    slices = open_slices("predicted", roles, options_of(config).size, cache_dir)
    given = slices.masks if "masks" in roles else None
    levels = predictor.levels(slices.images, given)
    for entry, maps in zip(files, levels, strict=True):
        for folder, picture in _pictures(config, maps).items():
            write_map(to_size(picture, own_size(entry)), out / folder, entry.key)
    about = {
        "run": run.path.name,
        "steps": step,
        "fold": options_of(config).fold,
        "flips": flips,
        "slices": len(files),
    }
    (out / "maps.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _pictures(config: TrainingConfig, maps: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Return the pictures of a slice by sub-folder."""
    if options_of(config).stage == "infection":
        return {".": maps[0]}
    winner = maps.argmax(axis=0)
    return {
        name: np.where((winner == channel), 255, 0).astype(np.uint8)
        for channel, name in enumerate(CLASS_FOLDERS)
    }


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and predict."""
    parser = argparse.ArgumentParser(prog="python -m training.semiseg.predict", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the maps")
    parser.add_argument("--set", choices=sorted(LAYOUTS), default="labelled")
    parser.add_argument("--priors", type=Path, help="infection maps, for the class stage")
    parser.add_argument("--flips", action="store_true", help="average over four flips")
    add_common(parser)
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    folders = layout_folders(options.set, options.data)
    places = (options.out, options.cache, options.devices)
    predict(RunFolder(options.run), folders, *places, options.priors, options.flips)
    return 0


if __name__ == "__main__":
    sys.exit(main())
