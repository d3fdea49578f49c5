"""Tissue channels: vessels fade, ground glass stays, and expiration changes densities only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.masks import Box
from CovidLesionSegLib.engine.tissue import (
    CHANNELS,
    DENSITY_CHANNELS,
    TissueMap,
    lung_tissue,
    scaled_density,
    tissue_map,
)

_SPACING = (5.0, 1.0, 1.0)


def _scan() -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """A lung of -850 HU with thin vessels in one half, and of ground glass in the other."""
    hu = np.full((8, 40, 40), -850, dtype=np.int16)
    hu[:, :, 2:20:5] = 0
    hu[:, :, 20:] = -650
    lungs = np.zeros(hu.shape, dtype=bool)
    lungs[:, 5:35] = True
    hu[~lungs] = 40
    return hu, lungs


def _channel(values: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    channel: NDArray[np.float32] = values[CHANNELS.index(name)]
    return channel


def test_a_low_quantile_sees_ground_glass_where_the_mean_sees_vessels() -> None:
    tissue = tissue_map(*_scan(), _SPACING)
    low, mean = (_channel(tissue.values, name)[3, 4] for name in ("quantile 0.25", "mean"))
    assert low[:4].max() < low[4:].min() - 1.0
    assert mean[:4].min() > -0.9
    assert abs(mean[1] - mean[6]) < abs(low[1] - low[6])


def test_what_lies_beyond_the_lungs_is_continued_from_them() -> None:
    tissue = tissue_map(*_scan(), _SPACING)
    low = _channel(tissue.values, "quantile 0.1")
    assert (low[:, 0] == low[:, 1]).all()
    assert np.isfinite(tissue.values).all()


def test_relative_channels_do_not_know_how_deep_the_patient_breathed() -> None:
    hu, lungs = _scan()
    squeezed = np.where(lungs, (hu + 1000) * 1.2 - 1000, hu).round().astype(np.int16)
    first, second = (tissue_map(image, lungs, _SPACING).values for image in (hu, squeezed))
    assert np.abs(first[DENSITY_CHANNELS:] - second[DENSITY_CHANNELS:]).max() < 0.05
    assert np.abs(scaled_density(first, 1.2) - second).max() < 0.05
    assert np.abs(first - second)[0].min() > 0.1


def test_a_scan_without_lungs_has_no_tissue() -> None:
    hu, lungs = _scan()
    assert lung_tissue(hu, np.zeros(hu.shape, dtype=np.uint8), _SPACING) is None
    box, tissue = found(lung_tissue(hu, lungs.astype(np.uint8), _SPACING))
    assert box == (slice(0, 8), slice(5, 35), slice(0, 40))
    assert tissue.inside.shape == tissue.values.shape[1:] == (8, 6, 8)


def found(value: tuple[Box, TissueMap] | None) -> tuple[Box, TissueMap]:
    assert value is not None
    return value
