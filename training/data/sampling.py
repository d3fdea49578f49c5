"""Which slices a training step sees, as a pure function of seed, step and process.

No sampler state exists, so resuming at a step draws exactly what an uninterrupted run
would have drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError
from training.config import AugmentationConfig, DataConfig

from .lung_labels import BACKGROUND, LEFT, RIGHT
from .store import StoredCase
from .volumes import NOT_LABELLED

_NEAR_SHARE = 0.8
_NEAR_AREA = 0.01
_HALF_COVERED = 128
_AUGMENTATION = 1
"""Tells the stream of random numbers for augmentation from the one that chooses slices."""


class Role(IntEnum):
    """Why a slice is drawn: it shows the target, it may look like it, or it does not."""

    TARGET = 0
    NEAR = 1
    FAR = 2


@dataclass(frozen=True, eq=False)
class SliceBatch:
    """Raw slices of one step, on one canvas (smaller slices are centred in air).

    Attributes:
        images: float32 ``[batch, 3, height, width]``, windowed values 0..255.
        labels: float32 ``[batch, classes, height, width]``. Infection: one channel, covered
            share 0..1. Lungs: right, left and ignore, 0 or 1.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.float32]


class SliceSampler:
    """Draws batches of 2.5D slices with labels.

    Every case is drawn equally often, whatever its number of slices: thin slices of one
    patient are nearly copies of each other.

    Args:
        cases: Training cases.
        task: ``"infection"`` or ``"lungs"``.
        data: Batch size and share of foreground.
        augmentation: Context and slab.
        seed: Seed of the run.
        rank: Process number in distributed training.

    Raises:
        InputError: ``training-nothing-to-draw``.
    """

    def __init__(
        self,
        cases: Sequence[StoredCase],
        task: str,
        data: DataConfig,
        augmentation: AugmentationConfig,
        seed: int,
        rank: int = 0,
    ) -> None:
        self._task = task
        self._data = data
        self._augmentation = augmentation
        self._key = (seed, rank)
        self._cases = cases
        self._pools = [_slice_pools(case, task) for case in cases]
        self._cases_by_role = [
            [index for index, pools in enumerate(self._pools) if pools[role].size]
            for role in range(len(Role))
        ]
        rest = 1.0 - data.foreground_share
        shares = np.array([data.foreground_share, rest * _NEAR_SHARE, rest * (1.0 - _NEAR_SHARE)])
        shares *= [bool(indices) for indices in self._cases_by_role]
        if not shares.sum():
            raise InputError(
                "training-nothing-to-draw",
                f"None of the training cases has a slice to learn {task} from.",
                "Check the masks of the training cases, and foreground_share.",
            )
        self._shares = shares / shares.sum()

    def generator(self, step: int) -> np.random.Generator:
        """Return the random generator that chooses the slices of one step."""
        seed, rank = self._key
        return np.random.default_rng([seed, rank, step])

    def augmentation_generator(self, step: int) -> np.random.Generator:
        """Return the random generator for what becomes of the slices of one step.

        It begins with the numbers that chose them, unless the config gives it its own.
        """
        if not self._augmentation.own_stream:
            return self.generator(step)
        seed, rank = self._key
        return np.random.default_rng([seed, rank, step, _AUGMENTATION])

    def draw(self, step: int) -> SliceBatch:
        """Return the batch of one step."""
        rng = self.generator(step)
        samples = [self._draw_slice(rng) for _ in range(self._data.batch_size)]
        height = max(image.shape[1] for image, _ in samples)
        width = max(image.shape[2] for image, _ in samples)
        return SliceBatch(
            np.stack([_centred(image, height, width) for image, _ in samples]),
            np.stack([_centred(label, height, width) for _, label in samples]),
        )

    def _draw_slice(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        role = int(rng.choice(len(Role), p=self._shares))
        index = int(rng.choice(self._cases_by_role[role]))
        case, pool = self._cases[index], self._pools[index][role]
        centre = int(rng.choice(pool))
        half_slab = _slab_half_width(case, self._augmentation, rng)
        context = _context_slices(case, half_slab, self._augmentation, rng)
        offsets = np.array([-context, 0, context])
        image = np.stack([_slab(case.image, centre + o, half_slab) for o in offsets])
        return image, self._labels(case, centre, half_slab)

    def _labels(self, case: StoredCase, centre: int, half_slab: int) -> NDArray[np.float32]:
        if self._task == "infection":
            return _slab(case.infection, centre, half_slab)[None] / np.float32(255.0)
        classes = case.lungs[centre]
        if self._data.ignore_infection_beyond_lungs:
            beyond = (classes == BACKGROUND) & (case.infection[centre] >= _HALF_COVERED)
            classes = np.where(beyond, NOT_LABELLED, classes)
        return np.stack([classes == c for c in (RIGHT, LEFT, NOT_LABELLED)]).astype(np.float32)


def _slice_pools(case: StoredCase, task: str) -> list[NDArray[np.intp]]:
    """Return the slices of each role; slices without any label are left out."""
    gas = (case.lungs != BACKGROUND).mean(axis=(1, 2)) > _NEAR_AREA
    if task == "infection":
        target = (case.infection >= _HALF_COVERED).any(axis=(1, 2))
        usable = np.ones_like(target)
    else:
        target = ((case.lungs == RIGHT) | (case.lungs == LEFT)).any(axis=(1, 2))
        usable = (case.lungs != NOT_LABELLED).any(axis=(1, 2))
    members = {
        Role.TARGET: target,
        Role.NEAR: usable & ~target & gas,
        Role.FAR: usable & ~target & ~gas,
    }
    return [np.flatnonzero(members[role]) for role in Role]


def _slab_half_width(
    case: StoredCase, augmentation: AugmentationConfig, rng: np.random.Generator
) -> int:
    largest = int((augmentation.slab_max_mm / case.spacing_mm_zyx[0] - 1) // 2)
    if largest < 1 or rng.random() >= augmentation.slab:
        return 0
    return int(rng.integers(1, largest + 1))


def _context_slices(
    case: StoredCase, half_slab: int, augmentation: AugmentationConfig, rng: np.random.Generator
) -> int:
    if rng.random() < augmentation.context_none:
        return 0
    largest = max(1, int(augmentation.context_max_mm // case.spacing_mm_zyx[0]))
    # Neighbouring thick slices do not overlap in a real scan.
    return max(int(rng.integers(1, largest + 1)), 2 * half_slab + 1 if half_slab else 1)


def _slab(stack: NDArray[np.uint8], centre: int, half_width: int) -> NDArray[np.float32]:
    indices = np.arange(centre - half_width, centre + half_width + 1)
    chosen = stack[np.clip(indices, 0, len(stack) - 1)]
    mean: NDArray[np.float32] = chosen.mean(axis=0, dtype=np.float32)
    return mean


def _centred(channels: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    count, rows, columns = channels.shape
    if (rows, columns) == (height, width):
        return channels
    canvas = np.zeros((count, height, width), dtype=np.float32)
    top, left = (height - rows) // 2, (width - columns) // 2
    canvas[:, top : top + rows, left : left + columns] = channels
    return canvas
