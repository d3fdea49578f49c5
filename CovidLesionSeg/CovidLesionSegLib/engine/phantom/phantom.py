"""From order to scan."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .lesions import lesions_of, place
from .patient import Patient
from .render import Scanner
from .spec import LesionSpec, PhantomSpec
from .truth import Truth, measure


@dataclass(frozen=True, eq=False)
class Phantom:
    """A digital chest CT with its ground truth.

    Attributes:
        hu: int16 ``[z, y, x]``, -1024..3071.
        affine: 4x4, index (x, y, z) to LPS mm.
        infection: uint8 like ``hu``: 0 none, 1 ground glass, 2 consolidation.
        lungs: uint8: 1 right, 2 left.
        lobes: uint8: 1 RUL, 2 RML, 3 RLL, 4 LUL, 5 LLL.
        spec: The order.
    """

    hu: npt.NDArray[np.int16]
    affine: npt.NDArray[np.float64]
    infection: npt.NDArray[np.uint8]
    lungs: npt.NDArray[np.uint8]
    lobes: npt.NDArray[np.uint8]
    spec: PhantomSpec

    @cached_property
    def truth(self) -> Truth:
        """Volumes of the analytic patient, independent of the grid; measured on first use."""
        return measure_truth(self.spec)

    def describe(self) -> dict[str, Any]:
        """Truth, order and geometry in plain types, for JSON."""
        return {
            "truth": self.truth.to_dict(),
            "spec": asdict(self.spec),
            "affine_lps": self.affine.tolist(),
            "shape_zyx": list(self.hu.shape),
        }


def make_phantom(spec: PhantomSpec) -> Phantom:
    """Build the patient of ``spec`` and scan it.

    Args:
        spec: Patient and grid.

    Returns:
        The scan with labels by voxel centre; the analytic table follows on demand.
    """
    patient = Patient(spec)
    lesions = lesions_of(patient)
    shape, affine = spec.grid()
    sampled = Scanner(patient, lesions, shape, affine).scan()
    lungs = np.array([0, 1, 1, 1, 2, 2], np.uint8)[sampled.lobes]
    return Phantom(sampled.hu, affine, sampled.infection, lungs, sampled.lobes, spec)


def measure_truth(spec: PhantomSpec) -> Truth:
    """The analytic table of an order's patient, without scanning it.

    Args:
        spec: Patient; of the grid only ``crop_z_mm`` matters.

    Returns:
        Volumes by dense sampling of the model, each with its standard error.
    """
    patient = Patient(spec)
    return measure(patient, lesions_of(patient))


def place_lesions(spec: PhantomSpec, count: int) -> tuple[LesionSpec, ...]:
    """The lesions that ``spec``'s patient would get, to change or to add to.

    Args:
        spec: Patient; its own ``lesions`` are ignored.
        count: How many; fewer come first in more.
    """
    return place(Patient(spec), count)
