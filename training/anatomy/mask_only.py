"""What a lung mask can tell about the fissures: ``python -m training.anatomy.mask_only``.

Every person of the atlas is left out in turn and predicted by ridge regression from what is
known of the own lungs: nothing, the three sizes (which the bundled atlas uses), their squares
and products, the whole matrix of the registration. The ridge is the one that suits the left-out
persons best, so these figures flatter rather than blame such predictors. Drawing three persons
again and again tells which mean distance three persons may show, beside the one that the three
of ``lidc_fissures`` do show. Writes ``results/mask_only.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CovidLesionSegLib.engine.lobe_atlas import FISSURES, Array

from .atlas_points import Subject, read_subjects
from .fit_lobe_atlas import fit_people, surface_offset_mm

_LOG = logging.getLogger("training.anatomy")
_ROOT = Path(__file__).resolve().parents[2]
_RESULTS = Path(__file__).parent / "results"
_RIDGES = (0.3, 3.0, 10.0, 30.0, 100.0, 300.0)
_PERSONS_DRAWN = 3
_DRAWS = 20000
_TARGET_MM = 5.0

Offsets = dict[str, dict[str, Array]]
"""By person and fissure, offsets of the own points from the predicted surface, ``(n,)`` in mm."""


def covariates(subject: Subject) -> dict[str, Array]:
    """Return what the lungs' registration tells about a person, by name of the set."""
    matrix = subject.from_reference[:, :3]
    sizes = subject.features
    products = np.outer(sizes, sizes)[np.triu_indices(3)]
    sheared = (matrix / np.abs(np.diag(matrix)))[~np.eye(3, dtype=bool)]
    return {
        "nothing": np.zeros(0),
        "sizes": sizes,
        "sizes-and-products": np.concatenate([sizes, products]),
        "matrix": np.concatenate([sizes, sheared]),
    }


def predict(known: Array, coefficients: Array, own: Array, ridge: float) -> Array:
    """Predict a person's coefficients by ridge regression on standardised covariates.

    Args:
        known: ``(S, F)`` covariates of the others; F may be 0.
        coefficients: ``(S, K)`` of the others.
        own: ``(F,)`` covariates of the person.
        ridge: Penalty on every slope; the mean goes free.
    """
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    deviation = np.where(deviation > 0.0, deviation, 1.0)
    scaled = (known - mean) / deviation
    middle = coefficients.mean(axis=0)
    square = scaled.T @ scaled + ridge * np.eye(known.shape[1])
    slopes = np.linalg.solve(square, scaled.T @ (coefficients - middle))
    return np.asarray(middle + (own - mean) / deviation @ slopes)


def left_out_offsets(subjects: Sequence[Subject]) -> dict[tuple[str, float], Offsets]:
    """Return every person's offsets when left out, by set of covariates and ridge."""
    known = {subject.name: covariates(subject) for subject in subjects}
    result: dict[tuple[str, float], Offsets] = {}
    for fissure in FISSURES:
        people = [subject for subject in subjects if fissure in subject.points_mm]
        full, _ = fit_people([subject.points_mm[fissure] for subject in people])
        for person in people:
            others = [subject for subject in people if subject is not person]
            _, expected = fit_people([subject.points_mm[fissure] for subject in others], full)
            for name, own in known[person.name].items():
                table = np.array([known[subject.name][name] for subject in others])
                for ridge in _RIDGES if own.size else (0.0,):
                    surface = predict(table, expected, own, ridge)
                    points = person.points_mm[fissure]
                    offsets = surface_offset_mm(full, person, points, surface)
                    rows = result.setdefault((name, ridge), {})
                    rows.setdefault(person.name, {})[fissure] = offsets
    return result


def summary(offsets: Offsets, measured_mm: float) -> dict[str, Any]:
    """Return the mean distances of one predictor, over persons and over draws of three.

    Args:
        offsets: Of every left-out person.
        measured_mm: Mean distance of other three persons, to be put beside.
    """
    persons = np.array([np.abs(_joined(own)).mean() for own in offsets.values()])
    level = [
        np.abs(np.concatenate([rest - rest.mean() for rest in own.values()])).mean()
        for own in offsets.values()
    ]
    rng = np.random.default_rng(0)
    order = rng.random((_DRAWS, persons.size)).argpartition(_PERSONS_DRAWN, axis=1)
    drawn = persons[order[:, :_PERSONS_DRAWN]].mean(axis=1)
    low, middle, high = (round(float(np.percentile(drawn, p)), 2) for p in (2.5, 50.0, 97.5))
    return {
        "mean_mm": round(float(persons.mean()), 2),
        "by_fissure_mm": {
            name: round(float(np.mean([_mean_mm(own, name) for own in _with(offsets, name)])), 2)
            for name in FISSURES
        },
        "height_of_each_fissure_known_mm": round(float(np.mean(level)), 2),
        "share_of_persons_within_target": round(float(np.mean(persons <= _TARGET_MM)), 3),
        "three_persons": {
            "median_mm": middle,
            "interval_95_mm": [low, high],
            "share_within_target": round(float(np.mean(drawn <= _TARGET_MM)), 4),
            "share_above_measured": round(float(np.mean(drawn > measured_mm)), 3),
        },
    }


def _joined(own: Mapping[str, Array]) -> Array:
    return np.concatenate(list(own.values()))


def _with(offsets: Offsets, name: str) -> list[dict[str, Array]]:
    return [own for own in offsets.values() if name in own]


def _mean_mm(own: Mapping[str, Array], name: str) -> float:
    return float(np.abs(own[name]).mean())


def report(subjects: Sequence[Subject], measured_mm: float) -> dict[str, Any]:
    """Return the table: the best ridge of every set of covariates."""
    best: dict[str, dict[str, Any]] = {}
    for (name, ridge), offsets in left_out_offsets(subjects).items():
        row = {"ridge": ridge, **summary(offsets, measured_mm)}
        if name not in best or row["mean_mm"] < best[name]["mean_mm"]:
            best[name] = row
    return {
        "persons": len(subjects),
        "target_mm": _TARGET_MM,
        "measured_on_lidc_mm": measured_mm,
        "predicted_from": best,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    measured = json.loads((_RESULTS / "lobes_lidc.json").read_text(encoding="utf-8"))["mean_mm"]
    folder = options.data / "lobes" / "cip_atlas" / "LungLobeAtlasData"
    table = report(read_subjects(folder), measured)
    text = json.dumps(table, indent=2) + "\n"
    (_RESULTS / "mask_only.json").write_text(text, encoding="utf-8")
    _LOG.info("%s", text)


if __name__ == "__main__":
    main()
