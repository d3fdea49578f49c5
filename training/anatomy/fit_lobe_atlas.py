"""Fit the bundled lobe atlas: ``python -m training.anatomy.fit_lobe_atlas --data DIR``.

Every person's fissure is a polynomial height over the mean plane, whose coefficients are
drawn from one normal distribution; expectation-maximisation finds it although many people
have only a few points (a linear mixed model, Laird and Ware, Biometrics 38, 1982). The mean
then depends linearly on the size of the lungs.

Leaves one person out at a time and writes the distribution of the distances beside the
script, in ``results/lobe_atlas.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from CovidLesionSegLib.engine.lobe_atlas import (
    FILE_NAME,
    FISSURES,
    Array,
    FissureModel,
    LobeAtlas,
    save_atlas,
)

from .atlas_points import Subject, read_reference, read_subjects

_LOG = logging.getLogger("training.anatomy")
_ROOT = Path(__file__).resolve().parents[2]
_DEGREE = 3
_SCALE_MM = (90.0, 70.0)
_ITERATIONS = 60
_RIDGE = 0.3
_FEATURES = 3


def fit_fissure(
    points: Sequence[Array], features: Array, start: FissureModel | None = None
) -> FissureModel:
    """Fit one fissure to the points of several persons.

    Args:
        points: ``(n_s, 3)`` per person, reference LPS in mm; may be empty.
        features: ``(S, F)`` shape features, their mean subtracted.
        start: A model to start from; its plane is kept.
    """
    model, expected = fit_people(points, start)
    return replace(model, weights=_regress(expected, features))


def fit_people(
    points: Sequence[Array], start: FissureModel | None = None
) -> tuple[FissureModel, Array]:
    """Return how one fissure varies over people, and what is expected of each of them.

    Args:
        points: ``(n_s, 3)`` per person, reference LPS in mm; may be empty.
        start: A model to start from; its plane is kept.

    Returns:
        The model, its weights still those it started from, and the coefficients ``(S, K)``
        expected of each person given the own points.
    """
    model = start or _plane(np.concatenate(points))
    basis, heights = zip(*(model.basis(own) for own in points), strict=True)
    squares = [b.T @ b for b in basis]
    products = [b.T @ h for b, h in zip(basis, heights, strict=True)]
    total = sum(len(h) for h in heights)
    mean, covariance, variance = model.weights[0], model.covariance, model.noise_mm**2
    expected = np.zeros((len(points), mean.size))
    for _ in range(_ITERATIONS if start is None else 3):
        precision = np.linalg.inv(covariance)
        spread, rest = np.zeros_like(covariance), 0.0
        for s, (b, h) in enumerate(zip(basis, heights, strict=True)):
            posterior = np.linalg.inv(precision + squares[s] / variance)
            expected[s] = posterior @ (precision @ mean + products[s] / variance)
            residual = h - b @ expected[s]
            rest += float(residual @ residual + np.sum(squares[s] * posterior))
            spread += posterior
        mean = expected.mean(axis=0)
        deviation = expected - mean
        covariance = (deviation.T @ deviation + spread) / len(points) + 1e-3 * np.eye(mean.size)
        variance = rest / total
    fitted = replace(model, covariance=covariance, noise_mm=float(np.sqrt(variance)))
    return fitted, expected


def _plane(points: Array) -> FissureModel:
    """Return a model that knows only the mean plane."""
    centre = points.mean(axis=0)
    axes = np.linalg.svd(points - centre, full_matrices=False)[2]
    if axes[2, 2] < 0:
        axes[2] = -axes[2]
    count = (_DEGREE + 1) * (_DEGREE + 2) // 2
    return FissureModel(
        centre_mm=centre,
        axes=axes,
        scale_mm=np.array(_SCALE_MM),
        degree=_DEGREE,
        weights=np.zeros((1 + _FEATURES, count)),
        covariance=25.0 * np.eye(count),
        noise_mm=3.0,
        error_mm=0.0,
    )


def _regress(coefficients: Array, features: Array) -> Array:
    """Regress the coefficients on the shape features (ridge, intercept free)."""
    design = np.column_stack([np.ones(len(features)), features])
    penalty = _RIDGE * np.eye(design.shape[1])
    penalty[0, 0] = 0.0
    solution = np.linalg.solve(design.T @ design + penalty, design.T @ coefficients)
    return np.asarray(solution, dtype=np.float64)


def surface_offset_mm(
    model: FissureModel, subject: Subject, own: Array, coefficients: Array
) -> Array:
    """Return how far above a surface a person's points lie, in the person's mm.

    The height above the surface is divided by the slope of the height field, measured in
    the person's own space, which is the distance to first order.

    Args:
        model: The fissure.
        subject: The person.
        own: ``(n, 3)`` points of the person, reference LPS in mm.
        coefficients: ``(K,)`` of the surface.
    """
    step = 0.5

    def height(points: Array) -> Array:
        basis, above = model.basis(points)
        return np.asarray(above - basis @ coefficients)

    value = height(own)
    to_reference = np.linalg.inv(subject.from_reference[:, :3])
    gradient = np.stack(
        [(height(own + step * to_reference[:, a]) - value) / step for a in range(3)], axis=1
    )
    return np.asarray(value / np.linalg.norm(gradient, axis=1))


def leave_one_out(
    name: str, subjects: Sequence[Subject], full: FissureModel, mean: Array
) -> list[float]:
    """Return each person's mean distance to the model fitted to everybody else."""
    with_points = [s for s in subjects if name in s.points_mm]
    result = []
    for left_out in with_points:
        others = [s for s in with_points if s is not left_out]
        features = np.array([s.features - mean for s in others])
        model = fit_fissure([s.points_mm[name] for s in others], features, full)
        surface = model.mean(left_out.features - mean)
        offsets = surface_offset_mm(model, left_out, left_out.points_mm[name], surface)
        result.append(float(np.abs(offsets).mean()))
    return result


def fit(folder: Path) -> tuple[LobeAtlas, dict[str, object]]:
    """Fit the atlas and report the distances of left-out persons."""
    subjects = read_subjects(folder)
    mean = np.mean([s.features for s in subjects], axis=0)
    fissures: dict[str, FissureModel] = {}
    report: dict[str, object] = {}
    for name in FISSURES:
        own = [s for s in subjects if name in s.points_mm]
        features = np.array([s.features - mean for s in own])
        model = fit_fissure([s.points_mm[name] for s in own], features)
        distances = leave_one_out(name, subjects, model, mean)
        fissures[name] = replace(model, error_mm=float(np.mean(distances)))
        report[name] = {
            "persons": len(own),
            "points": int(sum(len(s.points_mm[name]) for s in own)),
            "mean_mm": round(float(np.mean(distances)), 2),
            "percentiles_mm": {
                str(p): round(float(np.percentile(distances, p)), 2) for p in (5, 25, 50, 75, 95)
            },
            "noise_mm": round(model.noise_mm, 2),
        }
        _LOG.info("%s: %s", name, report[name])
    distance, origin, spacing = read_reference(folder)
    maps = {lung: field.astype(np.float32) for lung, field in distance.items()}
    return LobeAtlas(fissures, mean, maps, origin, spacing), report


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, write the model and the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=_ROOT / "CovidLesionSeg" / "Resources")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = options.data / "lobes" / "cip_atlas" / "LungLobeAtlasData"
    atlas, report = fit(folder)
    save_atlas(atlas, options.out / FILE_NAME)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "lobe_atlas.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
