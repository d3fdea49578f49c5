"""Write the maps of a run: ``python -m training.semiseg.predict RUN --data DIR --out MAPS``.

The maps are what ``python -m training.evaluate semiseg`` scores. The 48 test slices are for the
final table; choose by the folds instead (``--set labelled``).
"""

from __future__ import annotations

import argparse
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

from .batches import options_of, scaled_size
from .maps import own_size, to_size, write_map, write_note
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
    scales: Sequence[float] = (1.0,),
) -> None:
    """Predict slices with the averaged weights of a run.

    Infection networks write one soft map per slice. The class stage writes one folder per
    class with maps of 0 and 255, as its published results are; flips and scales are averaged
    before the classes are told apart.

    Args:
        run: The run folder.
        folders: Folder of the slices, as ``images``.
        out: Where the maps go.
        cache_dir: Folder of the prepared slices.
        device: Torch device, or ``"auto"``.
        priors: Folder of infection maps, for the class stage.
        flips: Whether to average over the four flips of every slice.
        scales: Sizes to average over, relative to the run's, rounded to multiples of 32 pixels.

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
    sizes = sorted({scaled_size(options_of(config).size, scale) for scale in scales})
    for entry, *found in zip(
        files, *(_levels(predictor, roles, size, cache_dir) for size in sizes), strict=True
    ):
        maps = _mean_at(own_size(entry), found)
        for folder, picture in _pictures(config, maps).items():
            write_map(picture, out / folder, entry.key)
    about = {
        "run": run.path.name,
        "steps": step,
        "fold": options_of(config).fold,
        "flips": flips,
        "sizes": sizes,
        "slices": len(files),
    }
    write_note(out, about)


def _levels(
    predictor: SlicePredictor, roles: dict[str, Path], size: int, cache_dir: Path
) -> NDArray[np.uint8]:
    """Return the maps of all slices at one size, ``[slice, channel, size, size]``."""
    slices = open_slices("predicted", roles, size, cache_dir)
    return predictor.levels(slices.images, slices.masks if "masks" in roles else None)


def _mean_at(
    width_height: tuple[int, int], found: Sequence[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return the mean of maps of several sizes at the slice's own, ``[channel, y, x]``."""
    resized = [[to_size(channel, width_height) for channel in maps] for maps in found]
    mean: NDArray[np.uint8] = np.mean(resized, axis=0).round().astype(np.uint8)
    return mean


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
    parser.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[1.0],
        help="average over these sizes, relative to the run's",
    )
    add_common(parser)
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    folders = layout_folders(options.set, options.data)
    places = (options.out, options.cache, options.devices)
    choices = (options.priors, options.flips, options.scales)
    predict(RunFolder.existing(options.run), folders, *places, *choices)
    return 0


if __name__ == "__main__":
    sys.exit(main())
