"""What smoothing within the infection would change in CTs with an expert's infection mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.definitions import CONSOLIDATION_FROM_HU
from CovidLesionSegLib.engine.lesion_classes import smoothed_within
from CovidLesionSegLib.engine.masks import bounding_box
from training.data.store import wanted_volumes
from training.data.volumes import LabelledVolume, load_volume

_SOURCES = ("coronacases", "medseg_p9")
_DIGITS = 3


def usual_choice(chosen: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Return the median smoothing in mm and border in HU of the folds."""
    smoothing, border = (
        float(np.median([choice[name] for choice in chosen]))
        for name in ("smoothing_mm", "border_hu")
    )
    return smoothing, border


def compare_volumes(data_dir: Path, smoothing_mm: float, border_hu: float) -> dict[str, Any]:
    """Split the expert's infection of every volume voxel by voxel and after smoothing.

    Args:
        data_dir: Folder with the volume sets.
        smoothing_mm: Standard deviation of the smoothing within each slice.
        border_hu: Border after smoothing.

    Returns:
        By case, its infection in ml, its consolidation by each rule in percent of it, and the
        percentage of voxels that they call differently.
    """
    cases = {}
    for files in wanted_volumes(data_dir, _SOURCES):
        volume = load_volume(files)
        if volume.infection.any():
            cases[files.key] = compare(volume, smoothing_mm, border_hu)
    return {"smoothing_mm": smoothing_mm, "border_hu": border_hu, "cases": cases}


def compare(volume: LabelledVolume, smoothing_mm: float, border_hu: float) -> dict[str, float]:
    """Return the figures of one volume, see `compare_volumes`."""
    by_voxel, by_area, infected = both_splits(volume, smoothing_mm, border_hu)
    return {
        "infected_ml": round(infected.sum() * volume.ct.voxel_volume_ml, _DIGITS),
        "voxel_percent": _percent(by_voxel[infected]),
        "smoothed_percent": _percent(by_area[infected]),
        "changed_percent": _percent((by_voxel != by_area)[infected]),
    }


def both_splits(
    volume: LabelledVolume, smoothing_mm: float, border_hu: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return consolidation by voxel and after smoothing, and the infection, in its box."""
    box = bounding_box(volume.infection > 0)
    hu, infected = volume.ct.hu[box], volume.infection[box] > 0
    _, dy, dx = volume.ct.spacing_mm_zyx
    smooth = smoothed_within(hu, infected, (0.0, smoothing_mm / dy, smoothing_mm / dx))
    return hu >= CONSOLIDATION_FROM_HU, smooth >= border_hu, infected


def _percent(mask: NDArray[np.bool_]) -> float:
    return round(100.0 * float(mask.mean()), _DIGITS)
