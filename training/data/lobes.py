"""Lobes as small volumes, each with a severity score: what dRAM learns from.

Lungs and lobes come from the engine, so that training sees the lobes that inference will. The
scores are derived from the expert's masks, which nothing else of the training may see.
"""

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
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from CovidLesionSegLib.engine.dense_tissue import dense_level_hu
from CovidLesionSegLib.engine.lobes import find_lobes
from CovidLesionSegLib.engine.lungs import segment_lungs
from CovidLesionSegLib.engine.result import Lobe
from CovidLesionSegLib.engine.severity import lobe_involvement_score
from CovidLesionSegLib.engine.volume import CtVolume
from training.config import SeverityConfig

from .lobe_version import lobes_digest
from .volumes import LabelledVolume, VolumeFiles, load_volume

_LOG = logging.getLogger(__name__)
_VERSION = 1
_ARRAYS = ("image", "inside", "candidates", "truth")

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class LobeCase:
    """The lobes of one case; arrays are read-only memory maps with one entry per lobe.

    Attributes:
        key: Name of the case.
        lobes: Which lobes; those that the scan does not show are absent.
        scores: Severity 0..5 of each, from the expert's mask.
        boxes: Where each was cut out of the CT, in voxels.
        image: uint8 ``[lobe, z, y, x]``, windowed CT, 0 outside the lobe.
        inside: bool of the same shape, the lobe.
        candidates: bool of the same shape, tissue dense enough for a lesion.
        truth: bool of the same shape, the expert's mask; for validation only.
        digest: SHA-256 of the files the case was made from.
    """

    key: str
    lobes: tuple[Lobe, ...]
    scores: tuple[int, ...]
    boxes: tuple[Box, ...]
    image: NDArray[np.uint8]
    inside: NDArray[np.bool_]
    candidates: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    digest: str


def open_lobes(
    files: Sequence[VolumeFiles],
    config: SeverityConfig,
    cache_dir: Path,
) -> list[LobeCase]:
    """Open the lobes of some cases, making what is missing.

    Args:
        files: The cases.
        config: Grid, window and margin.
        cache_dir: Where the arrays lie; may be deleted at any time.
    """
    return [_open_case(entry, config, cache_dir) for entry in files]


def _open_case(files: VolumeFiles, config: SeverityConfig, cache_dir: Path) -> LobeCase:
    digest = files.digest()
    folder = cache_dir / f"{files.key}-lobes-{_grid_digest(config, lobes_digest(digest))}"
    if not (folder / "case.json").is_file():
        _LOG.info("Preparing the lobes of %s", files.key)
        volume = load_volume(files)
        _write_case(volume, lobe_labels(volume, digest, cache_dir), config, folder)
    meta: dict[str, Any] = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    boxes = tuple((slice(*z), slice(*y), slice(*x)) for z, y, x in meta["boxes"])
    lobes = tuple(Lobe(value) for value in meta["lobes"])
    scores = tuple(lobe_involvement_score(100.0 * share) for share in meta["shares"])
    return LobeCase(files.key, lobes, scores, boxes, **arrays, digest=digest)


def lobe_labels(volume: LabelledVolume, digest: str, cache_dir: Path) -> NDArray[np.uint8]:
    """Return the engine's lobes of a case, found once and then read.

    Once for the same CT, lung network and engine, see `lobes_digest`.

    Args:
        volume: The case.
        digest: SHA-256 of its files.
        cache_dir: Where the lobes lie; may be deleted at any time.

    Returns:
        uint8 ``[z, y, x]`` on the CT's grid with the labels of `Lobe`.
    """
    path = cache_dir / f"{volume.key}-lobes-{lobes_digest(digest)[:16]}.npy"
    if not path.is_file():
        partial = path.with_suffix(".partial.npy")
        cache_dir.mkdir(parents=True, exist_ok=True)
        np.save(partial, _engine_lobes(volume.ct))
        partial.replace(path)
    labels: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return labels


def _grid_digest(config: SeverityConfig, labels_digest: str) -> str:
    relevant = [config.size_zyx, config.window_hu, config.margin_mm]
    text = json.dumps([_VERSION, labels_digest, relevant])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_case(
    volume: LabelledVolume, labels: NDArray[np.uint8], config: SeverityConfig, folder: Path
) -> None:
    present = [lobe for lobe in Lobe if (labels == lobe).any()]
    boxes = [_box(labels == lobe, volume.ct.spacing_mm_zyx, config.margin_mm) for lobe in present]
    parts = [
        _lobe_arrays(volume, labels == lobe, box, config)
        for lobe, box in zip(present, boxes, strict=True)
    ]
    infected = volume.infection == 1
    meta = {
        "lobes": [int(lobe) for lobe in present],
        "boxes": [[[part.start, part.stop] for part in box] for box in boxes],
        "shares": [float(infected[labels == lobe].mean()) for lobe in present],
    }
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, arrays in zip(_ARRAYS, zip(*parts, strict=True), strict=True):
        np.save(partial / f"{name}.npy", np.stack(arrays))
    (partial / "case.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    # Renaming makes a case appear only when complete, also after a kill.
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _engine_lobes(ct: CtVolume) -> NDArray[np.uint8]:
    from CovidLesionSegLib.engine.inference import predict_lungs
    from CovidLesionSegLib.engine.models import open_lung_model
    from CovidLesionSegLib.engine.progress import Reporter

    lungs = predict_lungs(ct, open_lung_model("cpu"), Reporter())
    labels = find_lobes(ct, segment_lungs(ct, lungs)).lobes
    return np.zeros(ct.shape_zyx, dtype=np.uint8) if labels is None else labels


def _box(
    mask: NDArray[np.bool_], spacing_mm_zyx: tuple[float, float, float], margin_mm: float
) -> Box:
    bounds = []
    for axis, spacing in enumerate(spacing_mm_zyx):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        margin = round(margin_mm / spacing)
        last = min(mask.shape[axis], int(occupied[-1]) + 1 + margin)
        bounds.append(slice(max(0, int(occupied[0]) - margin), last))
    return bounds[0], bounds[1], bounds[2]


def _lobe_arrays(
    volume: LabelledVolume, lobe: NDArray[np.bool_], box: Box, config: SeverityConfig
) -> tuple[NDArray[Any], ...]:
    """Return image, lobe, candidates and truth of one lobe on the config's grid.

    Everything is averaged over the new voxel. The image is averaged over the lobe's part of
    it, else the lobe's border would look like air.
    """
    inside, hu = lobe[box], volume.ct.hu[box]
    candidates = candidate_voxels(hu, inside)
    low, high = config.window_hu
    level = np.clip((hu.astype(np.float32) - low) / (high - low), 0.0, 1.0)
    covered = _averaged(inside, config)
    image = _averaged(level * inside, config) / np.maximum(covered, 1e-6)
    image[covered < 0.5] = 0.0
    coarse = covered >= 0.5
    shares = (_averaged(mask & inside, config) for mask in (candidates, volume.infection[box] == 1))
    dense, truth = (coarse & (share >= 0.5 * covered) for share in shares)
    return np.round(255.0 * image).astype(np.uint8), coarse, dense, truth


def candidate_voxels(hu: NDArray[np.int16], lobe: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of a lobe that are dense enough for a lesion, see `dense_level_hu`.

    Args:
        hu: int16 HU of any shape.
        lobe: Mask of the same shape.
    """
    found: NDArray[np.bool_] = lobe & (hu > dense_level_hu(hu[lobe]))
    return found


def _averaged(values: NDArray[Any], config: SeverityConfig) -> NDArray[np.float32]:
    tensor = torch.from_numpy(values.astype(np.float32))[None, None]
    averaged: NDArray[np.float32] = F.adaptive_avg_pool3d(tensor, config.size_zyx)[0, 0].numpy()
    return averaged
