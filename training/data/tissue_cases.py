"""Lobes as samples of their tissue, each with a severity score: what a voxelwise dRAM learns from.

A network without context needs no grid, so a lobe is a list of blocks. They are those of
`CovidLesionSegLib.engine.tissue`, as inference sees them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import Lobe
from CovidLesionSegLib.engine.severity import lobe_involvement_score
from CovidLesionSegLib.engine.tissue import BLOCK_MM, CHANNELS, lung_tissue
from CovidLesionSegLib.errors import InputError

from .lobe_version import lobes_digest
from .lobes import lobe_labels
from .volumes import LabelledVolume, VolumeFiles, load_volume

_LOG = logging.getLogger(__name__)
_VERSION = 1


@dataclass(frozen=True, eq=False)
class TissueCase:
    """The lobes of one case as lists of blocks.

    Attributes:
        key: Name of the case.
        scores: Severity 0..5 of each lobe, from the expert's mask.
        lobes: Of every block, its lobe as its place in ``scores``, ``[block]``.
        tissue: float32 ``[channel, block]``.
        truth: bool ``[block]``, mostly in the expert's mask; for validation only.
        digest: SHA-256 of the files the case was made from.
    """

    key: str
    scores: tuple[int, ...]
    lobes: NDArray[np.uint8]
    tissue: NDArray[np.float32]
    truth: NDArray[np.bool_]
    digest: str


def open_tissue(files: Sequence[VolumeFiles], cache_dir: Path) -> list[TissueCase]:
    """Open the blocks of some cases, making what is missing.

    Args:
        files: The cases.
        cache_dir: Where the arrays lie; may be deleted at any time.

    Raises:
        InputError: ``training-case-without-lobes``.
    """
    return [_open_case(entry, cache_dir) for entry in files]


def _open_case(files: VolumeFiles, cache_dir: Path) -> TissueCase:
    digest = files.digest()
    text = json.dumps([_VERSION, lobes_digest(digest), BLOCK_MM, CHANNELS])
    name = f"{files.key}-tissue-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    path = cache_dir / name
    if not path.is_file():
        _LOG.info("Preparing the tissue of %s", files.key)
        volume = load_volume(files)
        arrays = _arrays(volume, np.asarray(lobe_labels(volume, digest, cache_dir)))
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **arrays)
        partial.replace(path)  # appears only when complete, also after a kill
    with np.load(path) as found:
        scores = tuple(lobe_involvement_score(100.0 * float(share)) for share in found["shares"])
        return TissueCase(
            files.key, scores, found["lobes"], found["tissue"], found["truth"], digest
        )


def _arrays(volume: LabelledVolume, labels: NDArray[np.uint8]) -> dict[str, Any]:
    found = lung_tissue(volume.ct.hu, labels, volume.ct.spacing_mm_zyx)
    if found is None:
        raise InputError(
            "training-case-without-lobes",
            f"The engine finds no lobes in {volume.key!r}.",
            "Leave the case out of the split.",
        )
    box, tissue = found
    infected = volume.infection == 1
    present = [lobe for lobe in Lobe if (labels == lobe).any()]
    blocks = tissue.grid.centres(labels[box])
    # A block on a border may have its centre beyond the lungs; it is nobody's.
    taken = tissue.inside & (blocks > 0)
    return {
        "lobes": np.searchsorted(np.array(present), blocks[taken]).astype(np.uint8),
        "tissue": tissue.values[:, taken],
        "truth": tissue.grid.restrict(infected[box])[taken],
        "shares": np.array([infected[labels == lobe].mean() for lobe in present]),
    }
