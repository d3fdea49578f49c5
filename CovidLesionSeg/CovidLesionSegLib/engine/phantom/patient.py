"""A whole patient: the same for every grid, a function of the order's seed and options."""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from .build import Build
from .layers import Layer, Rods, Sheet, Solid
from .lungs import LLL, LUL, RLL, RML, RUL, Lungs
from .shapes import Array, LatticeNoise, Samples, clamp
from .spec import LOBES, PhantomSpec
from .torso import Torso
from .trees import Branch, accompany, as_tubes, grow, scatter
from .tubes import Tubes
from .viscera import (
    AIRWAY_HU,
    AIRWAY_WALL_HU,
    BLOOD_HU,
    LEFT_HILUM,
    RIGHT_HILUM,
    Viscera,
    central_airways,
    wrapped_by_pleura,
)

LUNG_HU = -872.0
LUNG_BOX_MM = (np.array([-142.0, -100.0, -150.0]), np.array([142.0, 105.0, 142.0]))

_TIPS = {RUL: 300, RML: 140, RLL: 400, LUL: 380, LLL: 380}
_BRONCHUS_TIPS = 16
_MIRRORED_LOBE = np.array([0, LUL, LUL, LLL, RUL, RLL], np.uint8)
_STREAMS = ("build", "texture", "arteries", "veins", "fissures", "lesions")


class Patient:
    """Analytic chest of one order; maps LPS mm to tissue, lung and lobe.

    Args:
        spec: What to make. The grid options are ignored here.
    """

    def __init__(self, spec: PhantomSpec) -> None:
        self.spec = spec
        self.build = Build.draw(self.stream("build"))
        missing = 0 if spec.missing_lobe is None else LOBES.index(spec.missing_lobe) + 1
        self.lungs = Lungs(self.build, wrapped_by_pleura(), missing)

    def stream(self, name: str) -> np.random.Generator:
        """An own source of randomness per part, so that one part can't shift another."""
        return np.random.default_rng([self.spec.seed, _STREAMS.index(name)])

    @property
    def flip(self) -> npt.NDArray[np.float64]:
        """Factors (3,) that carry a position of the patient as drawn into the scan."""
        return np.array([-1.0 if self.spec.mirror else 1.0, 1.0, 1.0])

    def samples(self, x: Array, y: Array, z: Array) -> Samples:
        """Points given in LPS mm of the scan, carried into the canonical anatomy."""
        across = -x if self.spec.mirror else x
        room = (across, y, z)
        if self.spec.scale != 1:
            shrink = np.float32(1 / self.spec.scale)
            room = (across * shrink, y * shrink, z * shrink)
        return Samples(*self.build.canonical(*room), room)

    def at(self, points: npt.NDArray[np.float64]) -> Samples:
        """The same for an array (n, 3)."""
        x, y, z = points.T.astype(np.float32)
        return self.samples(x, y, z)

    @cached_property
    def texture(self) -> LatticeNoise:
        """Lobule-sized texture shared by all tissues."""
        return LatticeNoise(self.stream("texture"), 1.9)

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """Canonical labels of the lobes that this patient has."""
        present = [RUL, RML, RLL, LUL, LLL]
        if self.spec.pneumonectomy:
            present = [LUL, LLL]
        return tuple(v for v in present if v != self.lungs._missing)

    def lung_field(self, s: Samples) -> Array:
        """Negative in lungs that are there."""
        field = self.lungs.lungs(s)
        if self.spec.pneumonectomy:
            return np.maximum(field, 4 - s.x)
        return field

    def lobe_field(self, s: Samples, label: int) -> Array:
        """Negative in one lobe (canonical label)."""
        return np.maximum(self.lung_field(s), self.lungs.in_lobe(s, label))

    def _depth_in_lobe(self, label: int, points: npt.NDArray[np.float64]) -> Array:
        """Negative where a canonical point (n, 3) lies well inside a lobe."""
        return self.lobe_field(Samples.canonical(points), label) + 4

    def lobe_labels(self, s: Samples) -> npt.NDArray[np.uint8]:
        """Canonical lobe label 1..5 by sample, 0 outside the lungs."""
        inside = self.lung_field(s) < 0
        return np.where(inside, self.lungs.lobe_of(s), 0).astype(np.uint8)

    def named(self, lobes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Labels as reported: by the side on which the tissue lies."""
        return _MIRRORED_LOBE[lobes] if self.spec.mirror else lobes

    def layers(self) -> list[Layer]:
        """Everything but the lesions, in painting order, split at the lungs' contents."""
        torso = Torso(self.build, self.lungs, self.texture)
        viscera = Viscera(self.build, self.lungs, self.texture)
        return [*torso.layers(), *viscera.layers(), *torso.spine_layers(), *self._lung_layers()]

    def _lung_layers(self) -> list[Layer]:
        layers: list[Layer] = []
        if self.spec.pneumonectomy:
            layers.append(Solid("fluid", lambda s: np.maximum(self.lungs.lungs(s), s.x - 4), 12.0))
        layers.append(Solid("lung", self.lung_field, self._lung_hu))
        layers.append(
            Sheet("fissures", self.lungs.fissures, self.lung_field, self._fissure_mm, 20.0)
        )
        return layers

    def _lung_hu(self, s: Samples) -> Array:
        """Air spaces: denser towards the back, mottled by lobules."""
        noise = self.texture(s)
        return np.float32(LUNG_HU) + s.y * np.float32(0.42) + 17 * noise

    def _fissure_mm(self, s: Samples) -> Array:
        """Two layers of pleura, thinner (incomplete) in places."""
        return clamp(0.28 + 0.16 * np.sin(s.x * 0.06) * np.sin(s.z * 0.05 + s.y * 0.03), 0.1, 0.44)

    def vessel_layers(self) -> list[Layer]:
        """Pulmonary vessels and bronchi; painted over lesions, which do not hide them."""
        arteries, bronchi = self._tree("arteries", bronchi=True)
        veins, _ = self._tree("veins", bronchi=False)
        central = central_airways()
        if self.spec.pneumonectomy:
            central = central[~_right_main(central)]
        airways = Tubes.joined([central, bronchi]) if len(bronchi) else central
        walls = Tubes(
            airways.start,
            airways.end,
            airways.start_radius_mm * 1.1 + 0.45,
            airways.end_radius_mm * 1.1 + 0.45,
        )
        return [
            Rods("pulmonary arteries", arteries, BLOOD_HU),
            Rods("pulmonary veins", veins, BLOOD_HU),
            Rods("airway walls", walls, AIRWAY_WALL_HU),
            Rods("airways", airways, AIRWAY_HU),
        ]

    def _tree(self, kind: str, bronchi: bool) -> tuple[Tubes, Tubes]:
        """Vessels of both lungs, and on request the bronchi beside them."""
        rng = self.stream(kind)
        hila = {"arteries": (RIGHT_HILUM, LEFT_HILUM)}.get(
            kind, ((-32.0, -6.0, 4.0), (36.0, -4.0, 6.0))
        )
        vessels: list[Tubes] = []
        airways: list[Tubes] = []
        for label in self.labels:
            tips = scatter(
                partial(self._depth_in_lobe, label),
                LUNG_BOX_MM,
                _TIPS[label],
                rng,
            )
            if len(tips) < 2:
                continue
            root = np.array(hila[label in (LUL, LLL)])
            branches: list[Branch] = grow(root, tips, rng)
            vessels.append(as_tubes(branches))
            if bronchi:
                airways.append(accompany(branches, _BRONCHUS_TIPS))
        nothing = Tubes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0))
        return (
            Tubes.joined(vessels) if vessels else nothing,
            Tubes.joined(airways) if airways else nothing,
        )


def _right_main(tubes: Tubes) -> npt.NDArray[np.bool_]:
    """Rods of the right main bronchus."""
    right: npt.NDArray[np.bool_] = tubes.end[:, 0] < -8
    return right
