"""Memory-mapped slices: each CT decoded, windowed and resampled once, by the engine itself."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.windowing import SliceRecipe, resample_in_plane, slice_stack
from CovidLesionSegLib.errors import InputError

from .lung_labels import LEFT, RIGHT, three_class_lungs
from .volumes import NOT_LABELLED, LabelledVolume, VolumeFiles, find_volumes, load_volume

_LOG = logging.getLogger(__name__)
_VERSION = 2
_ARRAYS = ("image", "infection", "lungs")


@dataclass(frozen=True, eq=False)
class StoredCase:
    """One case on the grid of a recipe; arrays are read-only memory maps.

    Attributes:
        key: Name of the case.
        spacing_mm_zyx: Voxel edge lengths on the recipe's grid.
        image: uint8 ``[z, height, width]``, windowed CT.
        infection: uint8 ``[z, height, width]``, covered share of each pixel times 255.
        lungs: uint8 ``[z, height, width]``: 0 background, 1 right, 2 left, 255 ignore.
        digest: SHA-256 of the files the case was made from.
    """

    key: str
    spacing_mm_zyx: tuple[float, float, float]
    image: NDArray[np.uint8]
    infection: NDArray[np.uint8]
    lungs: NDArray[np.uint8]
    digest: str


def open_store(
    data_dir: Path,
    sources: Sequence[str],
    recipe: SliceRecipe,
    cache_dir: Path,
    keys: Sequence[str] | None = None,
) -> list[StoredCase]:
    """Open the cases of some sources on the recipe's grid, making what is missing.

    Args:
        data_dir: Folder with one folder per source.
        sources: Names of volume sets, for example ``("coronacases", "medseg_p9")``.
        recipe: Window and pixel size.
        cache_dir: Where the arrays lie; may be deleted at any time.
        keys: Cases to open; None opens all.

    Raises:
        InputError: What `wanted_volumes` and `load_volume` refuse.
    """
    wanted = wanted_volumes(data_dir, sources, keys)
    return [_open_case(files, recipe, cache_dir) for files in wanted]


def wanted_volumes(
    data_dir: Path, sources: Sequence[str], keys: Sequence[str] | None = None
) -> list[VolumeFiles]:
    """Return the files of some cases, all by default.

    Raises:
        InputError: Inconsistent data, ``training-case-unknown``, or ``training-case-twice`` for
            a key in more than one source: which of the two was meant, only a person knows.
    """
    found: dict[str, VolumeFiles] = {}
    for source in dict.fromkeys(sources):
        for files in find_volumes(data_dir / source):
            if files.key in found:
                raise InputError(
                    "training-case-twice",
                    f"Both {found[files.key].ct.parent.name} and {source} hold a case named "
                    f"{files.key}.",
                    "Rename one of them, or leave one of the sources out.",
                )
            found[files.key] = files
    wanted = sorted(found) if keys is None else list(keys)
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise InputError(
            "training-case-unknown",
            f"The data holds no case named {', '.join(missing)}.",
            "Check the split file and the list of sources.",
        )
    return [found[key] for key in wanted]


def _grid_digest(recipe: SliceRecipe, source_digest: str) -> str:
    relevant = {"window_hu": list(recipe.window_hu), "pixel_mm": recipe.pixel_mm}
    text = json.dumps({"version": _VERSION, "source": source_digest, **relevant}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _open_case(files: VolumeFiles, recipe: SliceRecipe, cache_dir: Path) -> StoredCase:
    digest = files.digest()
    folder = cache_dir / f"{files.key}-{_grid_digest(recipe, digest)}"
    if not (folder / "case.json").is_file():
        _LOG.info("Preparing %s", files.key)
        _write_case(load_volume(files), recipe, digest, folder)
    meta: dict[str, Any] = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    z, y, x = meta["spacing_mm_zyx"]
    image, infection, lungs = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS)
    return StoredCase(files.key, (z, y, x), image, infection, lungs, digest)


def _write_case(volume: LabelledVolume, recipe: SliceRecipe, digest: str, folder: Path) -> None:
    arrays = dict(zip(_ARRAYS, case_arrays(volume, recipe), strict=True))
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(partial / f"{name}.npy", array)
    spacing_z, spacing_y, spacing_x = volume.ct.spacing_mm_zyx
    _, height, width = arrays["image"].shape
    _, rows, columns = volume.ct.shape_zyx
    spacing = [spacing_z, spacing_y * rows / height, spacing_x * columns / width]
    meta = {"key": volume.key, "spacing_mm_zyx": spacing, "source_sha256": digest}
    (partial / "case.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    # Renaming makes a case appear only when complete, also after a kill.
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def case_arrays(
    volume: LabelledVolume, recipe: SliceRecipe
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return image, soft infection and lung classes of a case on the recipe's grid.

    Without a lung mask all lung labels are 255.
    """
    spacing = volume.ct.spacing_mm_zyx
    image = slice_stack(volume.ct.hu, spacing, recipe)
    size_yx = (image.shape[1], image.shape[2])
    infection = _soft(volume.infection == 1, size_yx)
    lungs = np.full(image.shape, NOT_LABELLED, dtype=np.uint8)
    if volume.lung is not None:
        labels = three_class_lungs(volume.lung, volume.ct.hu, spacing)
        soft_right, soft_left = (_soft(labels == side, size_yx) for side in (RIGHT, LEFT))
        ignored = _soft(labels == NOT_LABELLED, size_yx) >= 128
        lungs = np.zeros(image.shape, dtype=np.uint8)
        inside = soft_right.astype(np.uint16) + soft_left >= 128
        lungs[inside] = np.where(soft_right > soft_left, RIGHT, LEFT)[inside]
        lungs[ignored] = NOT_LABELLED
    return image, infection, lungs


def _soft(mask: NDArray[np.bool_], size_yx: tuple[int, int]) -> NDArray[np.uint8]:
    return resample_in_plane(mask.astype(np.uint8) * np.uint8(255), size_yx)
