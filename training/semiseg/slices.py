"""Reader and memory-mapped store of COVID-SemiSeg slices.

Images, masks, edges and class maps are matched by file name. The published loader sorts and
filters the folders one by one, which shifts them against each other when one file is dropped;
here whatever does not belong together is an error.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError
from training.splits import SEMISEG

_LOG = logging.getLogger(__name__)
_VERSION = 1
_SOFT = ("images", "masks", "edges")
_IMAGE_SUFFIXES = (".jpg", ".png")
GROUND_GLASS, CONSOLIDATION = 1, 2

_TRAINING = Path("covid_semiseg/TrainingSet")
_TESTING = Path("covid_semiseg/TestingSet")
LAYOUTS: dict[str, dict[str, Path]] = {
    "labelled": {
        "images": _TRAINING / "LungInfection-Train/Doctor-label/Imgs",
        "masks": _TRAINING / "LungInfection-Train/Doctor-label/GT",
        "edges": _TRAINING / "LungInfection-Train/Doctor-label/Edge",
        "classes": _TRAINING / "MultiClassInfection-Train/GT",
    },
    "unlabelled": {"images": _TRAINING / "LungInfection-Train/Pseudo-label/Imgs"},
    "test": {"images": _TESTING / "LungInfection-Test/Imgs"},
}
"""Folders of each set by role. What lies beside the unlabelled images are the maps of the
published network, which nothing here may learn from; what lies beside the test images is for
`training.evaluate` alone."""


@dataclass(frozen=True)
class SliceFiles:
    """Files of one slice by role; ``images`` is always there."""

    key: str
    paths: dict[str, Path]


@dataclass(frozen=True, eq=False)
class SliceSet:
    """Slices on one square grid; arrays are read-only memory maps.

    Attributes:
        name: Name of the set.
        keys: Name of every slice.
        images: uint8 ``[slice, size, size]``.
        masks: uint8 ``[slice, size, size]``, covered share of each pixel times 255; all zero
            without masks, as are the following.
        edges: Likewise, of the lesion's edge.
        classes: uint8 ``[slice, size, size]``: 0, `GROUND_GLASS`, `CONSOLIDATION`.
        digest: SHA-256 of the files the set was made from.
    """

    name: str
    keys: tuple[str, ...]
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    edges: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    digest: str

    @property
    def key(self) -> str:
        """The name, under which a run records the digest."""
        return self.name

    def rows(self, keys: Sequence[str]) -> NDArray[np.intp]:
        """Return the positions of some slices.

        Raises:
            InputError: ``training-case-unknown``.
        """
        position = {key: index for index, key in enumerate(self.keys)}
        absent = sorted(set(keys) - set(position))
        if absent:
            raise InputError(
                "training-case-unknown",
                f"The set {self.name!r} holds no slice named {', '.join(absent[:10])}.",
                "Check the split file and the data folder.",
            )
        return np.array([position[key] for key in keys], dtype=np.intp)


def find_slices(folders: dict[str, Path], keys: Sequence[str] | None = None) -> list[SliceFiles]:
    """Match the files of some folders by stem.

    Args:
        folders: Folder of every role; ``images`` is needed.
        keys: Slices to take; None takes all.

    Returns:
        One entry per slice, numbers in numerical order.

    Raises:
        InputError: ``training-data-empty`` without images, ``training-data-mismatch`` if a
            slice lacks a file in any folder or a file its slice.
    """
    found = {
        role: {p.stem: p for p in sorted(folder.glob("*")) if p.suffix in _IMAGE_SUFFIXES}
        for role, folder in folders.items()
    }
    if keys is not None:
        found = {role: {k: files[k] for k in keys if k in files} for role, files in found.items()}
    if not found["images"]:
        raise InputError(
            "training-data-empty",
            f"The folder {folders['images'].name!r} holds no images.",
            "Give the folder that contains covid_semiseg.",
        )
    for role, files in found.items():
        alone = sorted(set(files) ^ set(found["images"]))
        if alone:
            raise _mismatch(f"{role} and images differ in {', '.join(alone[:10])}")
    return [
        SliceFiles(key, {role: files[key] for role, files in found.items()})
        for key in sorted(found["images"], key=_numerical)
    ]


def read_slice(files: SliceFiles) -> dict[str, NDArray[np.uint8]]:
    """Read the files of one slice: gray images, masks and edges of 0..255, class numbers.

    Raises:
        InputError: ``training-data-mismatch`` for another size or an unknown class.
    """
    from PIL import Image

    arrays: dict[str, NDArray[np.uint8]] = {}
    for role, path in files.paths.items():
        with Image.open(path) as image:
            # Class maps have a palette; their numbers are the classes.
            arrays[role] = np.asarray(image if role == "classes" else image.convert("L"))
        if arrays[role].shape != arrays["images"].shape:
            raise _mismatch(f"{path.name} in {role} is not as large as its image")
    if "classes" in arrays and arrays["classes"].max() > CONSOLIDATION:
        raise _mismatch(f"{files.key} holds the class {arrays['classes'].max()}")
    return arrays


def open_slices(
    name: str,
    folders: dict[str, Path],
    size: int,
    cache_dir: Path,
    keys: Sequence[str] | None = None,
) -> SliceSet:
    """Open a set of slices on a square grid, making it if it is missing.

    Args:
        name: Name of the set.
        folders: Folder of every role, see `find_slices`.
        size: Height and width of the grid in pixels.
        cache_dir: Where the arrays lie; may be deleted at any time.
        keys: Slices to take; None takes all.
    """
    found = find_slices(folders, keys)
    digest = _digest(found)
    folder = cache_dir / f"semiseg-{name}-{size}-v{_VERSION}-{digest[:16]}"
    if not folder.is_dir():
        _LOG.info("Preparing %d slices of %s", len(found), name)
        _write(found, size, folder)
    keys = tuple(json.loads((folder / "keys.json").read_text(encoding="utf-8")))
    arrays = {role: np.load(folder / f"{role}.npy", mmap_mode="r") for role in (*_SOFT, "classes")}
    return SliceSet(name, keys, digest=digest, **arrays)


def open_layout(name: str, data_dir: Path, size: int, cache_dir: Path) -> SliceSet:
    """Open one of the sets of `LAYOUTS` below the data folder."""
    return open_slices(name, layout_folders(name, data_dir), size, cache_dir)


def layout_folders(name: str, data_dir: Path) -> dict[str, Path]:
    """Return the folders of a set of `LAYOUTS` by role."""
    return {role: data_dir / path for role, path in LAYOUTS[name].items()}


def load_folds() -> list[tuple[str, ...]]:
    """Return the committed folds over the labelled slices."""
    content = json.loads(SEMISEG.read_text(encoding="utf-8"))
    return [tuple(fold) for fold in content["folds"]]


def _write(found: Sequence[SliceFiles], size: int, folder: Path) -> None:
    from PIL import Image

    shape = (len(found), size, size)
    arrays = {role: np.zeros(shape, dtype=np.uint8) for role in (*_SOFT, "classes")}
    for index, files in enumerate(found):
        for role, array in read_slice(files).items():
            way = Image.Resampling.NEAREST if role == "classes" else Image.Resampling.BILINEAR
            resized = Image.fromarray(array, mode="L").resize((size, size), way)
            arrays[role][index] = np.asarray(resized)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for role, array in arrays.items():
        np.save(partial / f"{role}.npy", array)
    (partial / "keys.json").write_text(json.dumps([f.key for f in found]), encoding="utf-8")
    # Renaming makes a set appear only when complete, also after a kill.
    partial.rename(folder)


def _digest(found: Sequence[SliceFiles]) -> str:
    sha = hashlib.sha256()
    for files in found:
        for role, path in files.paths.items():
            sha.update(f"{role}/{files.key}".encode())
            sha.update(path.read_bytes())
    return sha.hexdigest()


def _numerical(key: str) -> tuple[int, str]:
    return (int(key) if key.isdigit() else 0, key)


def _mismatch(reason: str) -> InputError:
    return InputError(
        "training-data-mismatch",
        f"The slices are inconsistent: {reason}.",
        "Every slice needs its files under one name and of one size in every folder.",
    )
