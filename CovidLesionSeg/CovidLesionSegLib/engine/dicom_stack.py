"""Order DICOM slices in space: which form one stack, and is that stack a regular grid?

Files come in any order and instance numbers prove nothing, so slices are sorted by their
position along the slice normal. Positions are DICOM patient coordinates, which are LPS mm.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .geometry import Affine
from .guards import MAX_SHEAR_DEG, MIN_SLICES

_SAME_POSITION_MM = 0.01
_SAME_DIRECTION = 2e-3
_GAP_STEPS = 1.5
_EVEN, _UNEVEN = 0.05, 0.2
_ROUNDED_POSITION_MM = 0.11
"""Positions written with one decimal are off by up to 0.05 mm, and so is the even grid
between the first and the last of them; that is not uneven."""
_CONTIGUOUS_STEPS = 1.5
_AXIAL_COSINE = 0.7
_MAIN_EXTENT = 0.8

SameVoxels = Callable[["SliceHeader", "SliceHeader"], bool]


@dataclass(frozen=True)
class SliceHeader:
    """One CT slice: a DICOM file, or a frame of an enhanced CT.

    Attributes:
        path: The file.
        frame: Index of the frame; None for a file with a single one.
        instance_uid, series_uid: Unique identifiers.
        series_number: For a stable choice between equally large series.
        position_mm: Centre of the first voxel, LPS.
        orientation: Direction cosines of the rows' and then the columns' course, LPS.
        shape: Rows and columns.
        pixel_spacing_mm: Distance between rows and between columns.
        thickness_mm: Slice thickness; 0 when not stated.
        derived: Reformatted or processed instead of reconstructed from the scan.
        acquisition: What can tell apart two stacks of one series, in order of preference.
        rescale: Slope and intercept; None when not stated.
        padding: First and last stored value that mean "outside the scanned circle".
        transfer_syntax: How the voxels are encoded.
    """

    path: Path
    frame: int | None
    instance_uid: str
    series_uid: str
    series_number: int
    position_mm: tuple[float, float, float]
    orientation: tuple[float, ...]
    shape: tuple[int, int]
    pixel_spacing_mm: tuple[float, float]
    thickness_mm: float
    derived: bool
    acquisition: tuple[str, ...]
    rescale: tuple[float, float] | None
    padding: tuple[int, int] | None
    transfer_syntax: str

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector along which the slices are stacked."""
        cross = np.cross(self.orientation[:3], self.orientation[3:])
        return np.asarray(cross / np.linalg.norm(cross), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order along their normal, on a regular grid.

    Attributes:
        slices: In the order of ``k``.
        affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm.
        flags: Findings that let the run continue.
    """

    slices: tuple[SliceHeader, ...]
    affine_lps: Affine
    flags: tuple[str, ...]


def choose_stack(slices: Sequence[SliceHeader], same_voxels: SameVoxels) -> Stack:
    """Return the largest regular stack among the CT slices of a folder.

    A stack that was reconstructed from the scan goes before a derived one if it has enough
    slices; the lowest series number settles a draw.

    Args:
        slices: CT slices of any number of series, in any order; at least one.
        same_voxels: Compares the voxels of two slices; asked only about slices at one
            position.

    Raises:
        InputError: ``input-duplicate-slices``, ``input-slice-gap`` or
            ``input-slice-spacing``.
    """
    by_series = defaultdict(list)
    for header in slices:
        by_series[header.series_uid].append(header)
    groups = [group for series in by_series.values() for group in _same_grid(series)]

    def rank(group: Sequence[SliceHeader]) -> tuple[Hashable, ...]:
        first = group[0]
        scanned = not first.derived and len(group) >= MIN_SLICES
        return (not scanned, -len(group), first.derived, first.series_number, first.series_uid)

    chosen = min(groups, key=rank)
    flags = []
    if chosen[0].derived:
        flags.append("derived-series")
    if sum(len(series) >= MIN_SLICES for series in by_series.values()) > 1:
        flags.append("several-series")
    if len(by_series[chosen[0].series_uid]) - len(chosen) >= MIN_SLICES:
        flags.append("several-acquisitions")
    unique = _sorted({(header.instance_uid, header.frame): header for header in chosen}.values())
    if len(unique) < len(chosen):
        flags.append("duplicates-dropped")
    return _one_stack(unique, flags, same_voxels)


def _one_stack(slices: Sequence[SliceHeader], flags: list[str], same_voxels: SameVoxels) -> Stack:
    """Return the stack of sorted slices; of several interleaved ones, the largest."""
    refusal: InputError | None = None
    if not _at_one_position(slices):
        try:
            return _regular_stack(slices, flags)
        except InputError as error:
            refusal = error
    for part in _acquisitions(slices):
        if not _at_one_position(part):
            return _regular_stack(part, [*flags, "several-acquisitions"])
    if refusal is not None:
        raise refusal
    copies = set()
    for one, other in _at_one_position(slices):
        if not same_voxels(one, other):
            raise InputError(
                "input-duplicate-slices",
                "The series holds different slices at the same position, and nothing in the "
                "headers tells which belong together.",
                "Export each phase or reconstruction as a series of its own.",
            )
        copies.add(other)
    unique = [header for header in slices if header not in copies]
    return _regular_stack(unique, [*flags, "duplicates-dropped"])


def _acquisitions(slices: Sequence[SliceHeader]) -> Iterator[list[SliceHeader]]:
    """Yield the largest part of a series by each attribute that may tell acquisitions apart.

    A part must run through most of the series: one slab of a scan made in several slabs is
    not an acquisition of its own.
    """
    normal = slices[0].normal
    extent = float(np.dot(np.subtract(slices[-1].position_mm, slices[0].position_mm), normal))
    for level in range(len(slices[0].acquisition)):
        parts: dict[str, list[SliceHeader]] = defaultdict(list)
        for header in slices:
            parts[header.acquisition[level]].append(header)
        largest = parts[min(parts, key=lambda value: (-len(parts[value]), value))]
        own = float(np.dot(np.subtract(largest[-1].position_mm, largest[0].position_mm), normal))
        if len(parts) > 1 and len(largest) >= MIN_SLICES and own > _MAIN_EXTENT * extent:
            yield largest


def _same_grid(series: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Split a series by orientation, size, pixel spacing and derivation."""
    groups: list[list[SliceHeader]] = []
    for header in series:
        for group in groups:
            first = group[0]
            if (
                header.shape == first.shape
                and header.derived == first.derived
                and np.allclose(header.orientation, first.orientation, atol=_SAME_DIRECTION)
                and np.allclose(header.pixel_spacing_mm, first.pixel_spacing_mm, rtol=1e-3)
            ):
                group.append(header)
                break
        else:
            groups.append([header])
    return groups


def _sorted(slices: Iterable[SliceHeader]) -> list[SliceHeader]:
    unsorted = list(slices)
    normal = unsorted[0].normal
    return sorted(
        unsorted,
        key=lambda header: (
            round(float(np.dot(header.position_mm, normal)), 3),
            str(header.path),
            header.frame or 0,
        ),
    )


def _at_one_position(slices: Sequence[SliceHeader]) -> list[tuple[SliceHeader, SliceHeader]]:
    """Return neighbouring pairs of sorted slices that share a position."""
    normal = slices[0].normal
    return [
        (one, other)
        for one, other in itertools.pairwise(slices)
        if abs(np.dot(np.subtract(other.position_mm, one.position_mm), normal)) < _SAME_POSITION_MM
    ]


def _regular_stack(slices: Sequence[SliceHeader], flags: list[str]) -> Stack:
    """Build the grid of sorted slices without duplicates."""
    first = slices[0]
    positions = np.array([header.position_mm for header in slices], dtype=np.float64)
    step = first.normal * (first.thickness_mm or 1.0)
    if len(slices) > 1:
        heights = positions @ first.normal
        _check_gaps(heights)
        step = (positions[-1] - positions[0]) / (len(slices) - 1)
        flags = [*flags, *_check_evenness(positions, step)]
        along = float(np.dot(step, first.normal))
        # A shear below the tolerance is rounding of the positions: keep the grid orthogonal.
        if np.linalg.norm(step - along * first.normal) < along * np.sin(np.radians(MAX_SHEAR_DEG)):
            step = along * first.normal
        if 0 < first.thickness_mm * _CONTIGUOUS_STEPS < along:
            flags = [*flags, "slices-not-contiguous"]
    if abs(first.normal[2]) < _AXIAL_COSINE:
        flags = [*flags, "non-axial"]
    affine = np.eye(4)
    rows, columns = first.pixel_spacing_mm
    for axis, (cosines, spacing) in enumerate(
        ((first.orientation[:3], columns), (first.orientation[3:], rows))
    ):
        affine[:3, axis] = np.asarray(cosines) / np.linalg.norm(cosines) * spacing
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    return Stack(tuple(slices), affine, tuple(flags))


def _check_gaps(heights_mm: NDArray[np.float64]) -> None:
    steps = np.diff(heights_mm)
    usual = float(np.median(steps))
    wide = np.flatnonzero(steps > _GAP_STEPS * usual)
    missing = np.round(steps[wide] / usual) - 1
    if len(wide) == 0 or len(wide) > len(steps) / 5:
        return  # none, or so many that the spacing itself is irregular
    at = ", ".join(f"{heights_mm[i]:.1f} to {heights_mm[i + 1]:.1f} mm" for i in wide[:3])
    raise InputError(
        "input-slice-gap",
        f"About {int(missing.sum())} slices are missing in {len(wide)} place(s): {at}"
        f"{', ...' if len(wide) > 3 else ''}.",
        "Copy or export the series again, completely.",
    )


def _check_evenness(positions_mm: NDArray[np.float64], step_mm: NDArray[np.float64]) -> list[str]:
    """Compare the positions with an even grid of the same ends."""
    even = positions_mm[0] + np.arange(len(positions_mm))[:, None] * step_mm
    deviation = float(np.linalg.norm(positions_mm - even, axis=1).max())
    step = float(np.linalg.norm(step_mm))
    if deviation > max(_UNEVEN * step, _ROUNDED_POSITION_MM):
        raise InputError(
            "input-slice-spacing",
            f"The slices are unevenly spaced: some lie {deviation:.1f} mm away from an even "
            f"distance of {step:.1f} mm.",
            "Use a reconstruction with one slice distance, or resample the scan to one.",
        )
    uneven = deviation > max(_EVEN * step, _ROUNDED_POSITION_MM)
    return ["uneven-slices"] if uneven else []
