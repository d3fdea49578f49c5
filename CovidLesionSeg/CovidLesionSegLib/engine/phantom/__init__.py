"""A digital chest with known anatomy and COVID-19 lesions, for tests, demo and documentation.

The anatomy is a set of implicit functions in mm (LPS, middle of the chest at
the origin), drawn once per seed; a grid only samples it. Right is x < 0.
"""

from .files import check_phantom_path, phantom_paths, write_phantom
from .phantom import Phantom, make_phantom, measure_truth, place_lesions
from .spec import LOBES, LesionSpec, PhantomSpec
from .truth import LesionTruth, Truth, TruthRow

__all__ = [
    "LOBES",
    "LesionSpec",
    "LesionTruth",
    "Phantom",
    "PhantomSpec",
    "Truth",
    "TruthRow",
    "check_phantom_path",
    "make_phantom",
    "measure_truth",
    "phantom_paths",
    "place_lesions",
    "write_phantom",
]
