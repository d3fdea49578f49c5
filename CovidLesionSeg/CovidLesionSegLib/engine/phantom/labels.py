"""Ground truth by point: which lobe and which lesion, block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .grid import Block, Grid
from .layers import STEEPEST
from .lesions import Lesion
from .patient import Patient
from .shapes import Array, Samples

Points: TypeAlias = tuple[Array, Array, Array]
Labels: TypeAlias = npt.NDArray[np.uint8]

_OUTSIDE, _SURFACE, _INSIDE, _ONE_LOBE = 0, 1, 2, 3


def label(
    patient: Patient,
    lesions: list[Lesion],
    grid: Grid,
    blocks: list[Block],
    points_of: Callable[[Block], Points],
    lobes: Labels,
    infection: Labels | None,
) -> None:
    """Fill lobe and infection labels of some blocks of a grid.

    Blocks far from every surface get their label without looking at each point.

    Args:
        patient: Anatomy.
        lesions: In order of precedence, the winner of an overlap last.
        grid: The grid that the blocks belong to.
        blocks: What to fill.
        points_of: LPS mm of one point per voxel of a block.
        lobes: uint8 [z, y, x], written: 1..5 by the side on which the tissue lies.
        infection: uint8 [z, y, x], written: 0, 1 ground glass, 2 consolidation.
    """
    probes = patient.samples(*grid.probes(blocks))
    reach_mm = STEEPEST * grid.probe_radius_mm / patient.spec.scale
    status = _survey(patient, probes, reach_mm, len(blocks))
    lobe_there = patient.lungs.lobe_of(probes).reshape(len(blocks), -1)[:, 0]
    near: list[npt.NDArray[np.bool_]] = [
        lesion.reaches(probes, reach_mm).reshape(len(blocks), -1).max(axis=1) for lesion in lesions
    ]
    for number in np.flatnonzero(status != _OUTSIDE):
        block = blocks[number]
        local = [lesion for lesion, close in zip(lesions, near, strict=True) if close[number]]
        here = None
        if status[number] != _ONE_LOBE or local:
            here = patient.samples(*points_of(block))
        if status[number] == _ONE_LOBE or here is None:
            lobes[block.index] = patient.named(lobe_there[number : number + 1])[0]
        else:
            inside = status[number] == _INSIDE
            found = patient.lungs.lobe_of(here) if inside else patient.lobe_labels(here)
            lobes[block.index] = patient.named(found).reshape(block.shape)
        if infection is not None and here is not None:
            infection[block.index] = _infection(local, here).reshape(block.shape)


def _survey(patient: Patient, probes: Samples, reach_mm: float, blocks: int) -> Labels:
    """How much the points of each block can differ: see the constants above."""
    lung = patient.lung_field(probes).reshape(blocks, -1)
    fissure = patient.lungs.fissures(probes).reshape(blocks, -1)
    status = np.full(blocks, _SURFACE, np.uint8)
    status[(lung > reach_mm).all(axis=1)] = _OUTSIDE
    inside = (lung < -reach_mm).all(axis=1)
    status[inside] = _INSIDE
    status[inside & (fissure > reach_mm).all(axis=1)] = _ONE_LOBE
    return status


def _infection(lesions: list[Lesion], s: Samples) -> Labels:
    labels = np.zeros(s.x.shape, np.uint8)
    for lesion in lesions:
        labels[lesion.contains(s)] = lesion.code
    return labels
