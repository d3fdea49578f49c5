"""What a mask can tell about the fissures: prediction and summary."""

from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.lobe_atlas import FISSURES
from training.anatomy.atlas_points import Subject
from training.anatomy.mask_only import covariates, predict, report, summary


def _subject(name: str, rng: np.random.Generator) -> Subject:
    size = np.exp(rng.normal(0.0, 0.1, 3))
    affine = np.column_stack([np.diag(size), rng.normal(0.0, 5.0, 3)])
    points = {}
    for fissure in FISSURES:
        plane = rng.uniform(-60.0, 60.0, (40, 2))
        # The fissure's height depends on the height of the lungs alone.
        height = 200.0 * np.log(size[2]) + rng.normal(0.0, 0.5, 40)
        points[fissure] = np.column_stack([plane, height])
    return Subject(name, affine, points)


def test_ridge_regression_finds_a_linear_rule_and_shrinks_to_the_mean() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(50, 2))
    coefficients = known @ np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]]) + 5.0
    own = np.array([0.5, -0.25])
    exact = predict(known, coefficients, own, 1e-9)
    assert exact == pytest.approx([5.5, 6.25, 4.25])
    assert predict(known, coefficients, own, 1e12) == pytest.approx(coefficients.mean(axis=0))
    nothing = predict(np.zeros((50, 0)), coefficients, np.zeros(0), 0.0)
    assert nothing == pytest.approx(coefficients.mean(axis=0))


def test_summary_counts_persons_and_draws_of_three() -> None:
    offsets = {
        str(person): {name: np.array([distance, distance]) for name in FISSURES}
        for person, distance in enumerate([4.0] * 50 + [-12.0] * 50)
    }
    row = summary(offsets, measured_mm=9.75)
    assert row["mean_mm"] == 8.0
    assert row["height_of_each_fissure_known_mm"] == 0.0
    assert row["share_of_persons_within_target"] == 0.5
    # All three of the nearer half: 50 * 49 * 48 / (100 * 99 * 98).
    assert row["three_persons"]["share_within_target"] == pytest.approx(0.121, abs=0.01)
    assert row["three_persons"]["interval_95_mm"] == [4.0, 12.0]


def test_covariates_that_matter_predict_better_than_nothing() -> None:
    rng = np.random.default_rng(1)
    subjects = [_subject(str(number), rng) for number in range(8)]
    assert set(covariates(subjects[0])) == {"nothing", "sizes", "sizes-and-products", "matrix"}
    table = report(subjects, measured_mm=9.75)
    rows = table["predicted_from"]
    assert rows["sizes"]["mean_mm"] < 0.5 * rows["nothing"]["mean_mm"]
    assert rows["nothing"]["height_of_each_fissure_known_mm"] < rows["nothing"]["mean_mm"]
