"""The statistical model of the three fissures: what it is, and how it is evaluated.

Each fissure is a height above its mean plane, a polynomial in the plane whose coefficients
are normally distributed over people. The model lives in the space of one reference person
(LPS, mm), whose lungs come along as distance maps so that a patient can be registered.
`training/anatomy/fit_lobe_atlas.py` fits it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.resources import resources_dir

from .result import Lung

Array = NDArray[np.float64]
FloatArray = NDArray[np.floating]

RIGHT_OBLIQUE = "right-oblique"
RIGHT_HORIZONTAL = "right-horizontal"
LEFT_OBLIQUE = "left-oblique"
FISSURES = (RIGHT_OBLIQUE, RIGHT_HORIZONTAL, LEFT_OBLIQUE)

FILE_NAME = "lobe-atlas.npz"
_BEYOND = 1.3
"""Plane coordinates are held within this: a polynomial must not run away outside the points
it was fitted to."""


def legendre(t: FloatArray, degree: int) -> list[FloatArray]:
    """Return the Legendre polynomials 0..degree at ``t``."""
    values = [np.ones_like(t), t]
    for n in range(1, degree):
        values.append(((2 * n + 1) * t * values[n] - n * values[n - 1]) / (n + 1))
    return values[: degree + 1]


def terms(degree: int) -> tuple[tuple[int, int], ...]:
    """Return the powers ``(i, j)`` of the products that make up the basis."""
    return tuple((i, j) for i in range(degree + 1) for j in range(degree + 1 - i))


@dataclass(frozen=True, eq=False)
class FissureModel:
    """One fissure.

    Attributes:
        centre_mm: Origin of the mean plane, reference LPS.
        axes: 3 x 3, rows: two directions in the plane, then its normal (pointing up).
        scale_mm: Length that corresponds to 1 along each direction in the plane.
        degree: Total degree of the polynomial.
        weights: ``(1 + F, K)``; mean coefficients in mm, and their change per unit of each
            shape feature.
        covariance: ``(K, K)`` of the coefficients over people, in mm^2.
        noise_mm: Standard deviation of a fissure point around its person's surface.
        error_mm: Mean distance of left-out people's points to the model's mean surface.
    """

    centre_mm: Array
    axes: Array
    scale_mm: Array
    degree: int
    weights: Array
    covariance: Array
    noise_mm: float
    error_mm: float

    def mean(self, features: Array) -> Array:
        """Return the coefficients expected for lungs of this shape, ``(K,)``."""
        return np.concatenate([[1.0], features]) @ self.weights

    def scaled(
        self, along_u_mm: FloatArray, along_v_mm: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return plane coordinates in units of the scale, held in range."""
        u, v = (
            np.clip(along / np.float32(scale), -_BEYOND, _BEYOND)
            for along, scale in zip((along_u_mm, along_v_mm), self.scale_mm, strict=True)
        )
        return u, v

    def basis(self, points_mm: Array) -> tuple[Array, Array]:
        """Return the basis ``(n, K)`` and the heights ``(n,)`` of reference points ``(n, 3)``."""
        local = (points_mm - self.centre_mm) @ self.axes.T
        u, v = self.scaled(local[:, 0], local[:, 1])
        pu, pv = legendre(u, self.degree), legendre(v, self.degree)
        return np.stack([pu[i] * pv[j] for i, j in terms(self.degree)], axis=1), local[:, 2]

    def height(
        self, along_u_mm: FloatArray, along_v_mm: FloatArray, coefficients: Array
    ) -> FloatArray:
        """Return the surface's height in mm at plane coordinates in mm of any shape."""
        u, v = self.scaled(along_u_mm, along_v_mm)
        pu, pv = legendre(u, self.degree), legendre(v, self.degree)
        value = dict(zip(terms(self.degree), coefficients.astype(u.dtype), strict=True))
        total = np.zeros_like(u)
        for i in range(self.degree + 1):
            inner = value[i, 0] * pv[0]
            for j in range(1, self.degree + 1 - i):
                inner += value[i, j] * pv[j]
            total += pu[i] * inner
        return total


@dataclass(frozen=True, eq=False)
class LobeAtlas:
    """The fissures and the reference person's lungs.

    Attributes:
        fissures: By the names in `FISSURES`.
        feature_mean: ``(F,)``, subtracted from `shape_features`.
        distance_mm: Signed distance to each reference lung's surface, negative inside,
            ``[z, y, x]``.
        origin_mm: LPS of the distance maps' first voxel ``(x, y, z)``.
        spacing_mm: Voxel size of the distance maps ``(x, y, z)``.
    """

    fissures: Mapping[str, FissureModel]
    feature_mean: Array
    distance_mm: Mapping[Lung, NDArray[np.float32]]
    origin_mm: Array
    spacing_mm: Array

    def features(self, to_reference: Array) -> Array:
        """Return the shape features of a patient from the affine to the reference."""
        return shape_features(to_reference) - self.feature_mean


def shape_features(to_reference: Array) -> Array:
    """Return how large the person is along each axis, as log scale against the reference.

    Args:
        to_reference: 3 x 4 or 4 x 4, person's LPS to reference LPS in mm.
    """
    return np.asarray(np.log(np.abs(np.diag(np.linalg.inv(to_reference[:3, :3])))))


def save_atlas(atlas: LobeAtlas, path: Path) -> None:
    """Write the model; distances are rounded to whole mm."""
    arrays: dict[str, NDArray[np.generic]] = {
        "feature_mean": atlas.feature_mean,
        "origin_mm": atlas.origin_mm,
        "spacing_mm": atlas.spacing_mm,
    }
    for lung, distance in atlas.distance_mm.items():
        rounded = np.clip(np.rint(distance), -127, 127).astype(np.int8)
        arrays[f"distance_mm.{lung.name.lower()}"] = rounded
    for name, fissure in atlas.fissures.items():
        for key, value in vars(fissure).items():
            arrays[f"{name}.{key}"] = np.asarray(value)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def read_atlas(path: Path) -> LobeAtlas:
    """Read what `save_atlas` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    fissures = {
        name: FissureModel(
            centre_mm=arrays[f"{name}.centre_mm"],
            axes=arrays[f"{name}.axes"],
            scale_mm=arrays[f"{name}.scale_mm"],
            degree=int(arrays[f"{name}.degree"]),
            weights=arrays[f"{name}.weights"],
            covariance=arrays[f"{name}.covariance"],
            noise_mm=float(arrays[f"{name}.noise_mm"]),
            error_mm=float(arrays[f"{name}.error_mm"]),
        )
        for name in FISSURES
    }
    distance = {
        lung: arrays[f"distance_mm.{lung.name.lower()}"].astype(np.float32) for lung in Lung
    }
    return LobeAtlas(
        fissures, arrays["feature_mean"], distance, arrays["origin_mm"], arrays["spacing_mm"]
    )


@functools.cache
def bundled_atlas() -> LobeAtlas:
    """Return the atlas that is installed with the extension."""
    return read_atlas(resources_dir() / FILE_NAME)
