"""The table measured on a phantom against its analytic volumes."""

from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.phantom import Phantom, PhantomSpec, make_phantom
from CovidLesionSegLib.engine.quantify import quantify
from CovidLesionSegLib.engine.result import Anatomy, LobeSource, Prediction, Quantification
from CovidLesionSegLib.engine.volume import CtVolume

REGION = {"right": "right-lung", "left": "left-lung"}
OBLIQUE = ((0.9553, 0.0, -0.2955), (0.0873, 0.9553, 0.2823), (0.2823, -0.2955, 0.9127))


def _oblique() -> tuple[tuple[float, float, float], ...]:
    """The nearest orthonormal matrix: a grid turned about two axes."""
    u, _, v = np.linalg.svd(np.array(OBLIQUE))
    x, y, z = (tuple(float(value) for value in row) for row in u @ v)
    return x, y, z


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


def _check(phantom: Phantom, tolerance: float, small_ml: float) -> None:
    """Compare every row; volumes of a few voxels only have an absolute tolerance."""
    table = _table(phantom)
    for truth in phantom.truth.rows:
        measures = table.row(REGION.get(truth.name, truth.name)).measures
        assert measures["volume_ml"].value == pytest.approx(truth.volume_ml, rel=tolerance)
        assert measures["infected_ml"].value == pytest.approx(
            truth.infected_ml, rel=tolerance, abs=small_ml
        )
        assert measures["infected_percent"].value == pytest.approx(
            truth.infected_percent, rel=2 * tolerance, abs=100 * small_ml / truth.volume_ml
        )


@pytest.mark.parametrize(
    ("spacing_mm_zyx", "turned"),
    [((5.0, 5.0, 5.0), False), ((5.0, 2.0, 3.0), False), ((4.0, 3.0, 3.0), True)],
    ids=["5 mm", "anisotropic", "oblique"],
)
def test_thick_slices(spacing_mm_zyx: tuple[float, float, float], turned: bool) -> None:
    direction = _oblique() if turned else PhantomSpec().direction
    spec = PhantomSpec(seed=2, spacing_mm_zyx=spacing_mm_zyx, direction=direction, lesions=8)  # type: ignore[arg-type]
    _check(make_phantom(spec), tolerance=0.05, small_ml=0.5)


@pytest.mark.slow
def test_one_millimetre() -> None:
    spec = PhantomSpec(seed=2, spacing_mm_zyx=(1.0, 1.0, 1.0), scale=0.55, lesions=8)
    _check(make_phantom(spec), tolerance=0.01, small_ml=0.02)
