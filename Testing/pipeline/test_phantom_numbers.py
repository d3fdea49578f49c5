"""The table measured on a phantom against its analytic volumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.phantom import (
    Phantom,
    PhantomSpec,
    Truth,
    make_phantom,
    measure_truth,
)
from CovidLesionSegLib.engine.phantom.spec import Matrix
from CovidLesionSegLib.engine.quantify import quantify
from CovidLesionSegLib.engine.result import Anatomy, Lobe, LobeSource, Prediction, Quantification
from CovidLesionSegLib.engine.volume import CtVolume

REGION = {"right": "right-lung", "left": "left-lung"}
OBLIQUE = ((0.9553, 0.0, -0.2955), (0.0873, 0.9553, 0.2823), (0.2823, -0.2955, 0.9127))
SAGITTAL = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0))
ROWS = {*(lobe.name for lobe in Lobe), *REGION.values(), "total"}


def _oblique() -> Matrix:
    """The nearest orthonormal matrix: a grid turned about two axes."""
    u, _, v = np.linalg.svd(np.array(OBLIQUE))
    (a, b, c), (d, e, f), (g, h, i) = (u @ v).tolist()
    return (a, b, c), (d, e, f), (g, h, i)


def _table(phantom: Phantom) -> Quantification:
    ct = CtVolume.from_array(phantom.hu, phantom.affine)
    lungs, lobes, infection = (
        ct.orientation.to_lps(labels)
        for labels in (phantom.lungs, phantom.lobes, phantom.infection)
    )
    anatomy = Anatomy(lungs, lobes, LobeSource.FILE)
    infected = (infection > 0).astype(np.uint8)
    prediction = Prediction(infected.astype(np.float16))
    lesions, _ = find_lesions(infected, prediction, ct, anatomy, 0.05)
    return quantify(ct, infected, anatomy, prediction, lesions)


def _check(phantom: Phantom, truths: Truth, tolerance: float, small_ml: float) -> None:
    """Compare every row; volumes of a few voxels only have an absolute tolerance."""
    table = _table(phantom)
    assert {REGION.get(truth.name, truth.name) for truth in truths.rows} == ROWS
    for truth in truths.rows:
        measures = table.row(REGION.get(truth.name, truth.name)).measures
        assert measures["volume_ml"].value == pytest.approx(truth.volume_ml, rel=tolerance)
        assert measures["infected_ml"].value == pytest.approx(
            truth.infected_ml, rel=tolerance, abs=small_ml
        )
        assert measures["infected_percent"].value == pytest.approx(
            truth.infected_percent, rel=2 * tolerance, abs=100 * small_ml / truth.volume_ml
        )


def _shifted(spec: PhantomSpec, by_mm: tuple[float, float, float]) -> PhantomSpec:
    """The same patient on a grid that starts elsewhere, by less than a voxel."""
    shape, affine = spec.grid()
    x, y, z = (float(start - shift) for start, shift in zip(affine[:3, 3], by_mm, strict=True))
    larger = (shape[0] + 1, shape[1] + 1, shape[2] + 1)
    return replace(spec, origin_mm=(x, y, z), shape_zyx=larger)


THICK = PhantomSpec(seed=2, spacing_mm_zyx=(5.0, 5.0, 5.0), lesions=8)


@pytest.fixture(scope="module")
def truth() -> Truth:
    """What is true of the patient whatever the grid; it takes longer than all the rest."""
    return measure_truth(THICK)


@pytest.mark.parametrize(
    "spec",
    [
        THICK,
        _shifted(THICK, (2.2, 1.3, 3.1)),
        replace(THICK, spacing_mm_zyx=(5.0, 2.0, 3.0)),
        replace(THICK, spacing_mm_zyx=(4.0, 3.0, 3.0), direction=_oblique()),
        replace(THICK, spacing_mm_zyx=(4.0, 5.0, 3.0), direction=SAGITTAL),
    ],
    ids=["5 mm", "shifted", "anisotropic", "oblique", "sagittal"],
)
def test_thick_slices(spec: PhantomSpec, truth: Truth) -> None:
    _check(make_phantom(spec), truth, tolerance=0.05, small_ml=0.5)


@pytest.mark.slow
def test_one_millimetre() -> None:
    spec = PhantomSpec(seed=2, spacing_mm_zyx=(1.0, 1.0, 1.0), scale=0.55, lesions=8)
    _check(make_phantom(spec), measure_truth(spec), tolerance=0.01, small_ml=0.02)
