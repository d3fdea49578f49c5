"""Looking at phantoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from CovidLesionSegLib.engine.phantom import Phantom, PhantomSpec, make_phantom

COARSE = PhantomSpec(seed=7, spacing_mm_zyx=(6.0, 4.0, 4.0), noise_hu=0)
SMALL = replace(COARSE, scale=0.5, spacing_mm_zyx=(4.0, 2.5, 2.5), lesions=5)


def scan_round(spec: PhantomSpec, centre_mm: tuple[float, float, float], size: int) -> Phantom:
    """A cube of ``size`` voxels of the spec's spacing round a position."""
    step = np.array(spec.direction) * np.array(spec.spacing_mm_zyx[::-1])
    origin = np.array(centre_mm) - step @ np.full(3, (size - 1) / 2)
    x, y, z = (float(v) for v in origin)
    return make_phantom(replace(spec, shape_zyx=(size, size, size), origin_mm=(x, y, z)))


def voxel_ml(phantom: Phantom) -> float:
    return abs(float(np.linalg.det(phantom.affine[:3, :3]))) / 1000
