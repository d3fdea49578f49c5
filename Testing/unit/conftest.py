"""The phantom patients that several files look at, made once per process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from CovidLesionSegLib.engine.phantom import Phantom, Truth, make_phantom, measure_truth
from Testing.support.phantoms import COARSE, SMALL


@pytest.fixture(scope="session")
def small() -> Phantom:
    return make_phantom(SMALL)


@pytest.fixture(scope="session")
def adult_truth() -> Truth:
    """Of a healthy adult."""
    return measure_truth(replace(COARSE, lesions=None))


@pytest.fixture(scope="session")
def child_truth() -> Truth:
    """Of a healthy child."""
    return measure_truth(replace(SMALL, lesions=None))
