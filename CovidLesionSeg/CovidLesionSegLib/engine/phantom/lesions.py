"""Ground glass and consolidation: placement as in COVID-19 pneumonia, outline and attenuation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .layers import MIXED, SKIP, WARP, Layer, blend, soft_edge
from .patient import Patient
from .shapes import Array, LatticeNoise, Samples, clamp, ellipsoid
from .spec import LesionKind, LesionSpec, Vector
from .trees import scatter

GGO, CONSOLIDATION = 1, 2
HU_RANGE = {"ggo": (-700.0, -300.0), "consolidation": (-100.0, 50.0)}
_CODE = {"ggo": GGO, "consolidation": CONSOLIDATION}
_SOFTNESS_MM = {"ggo": 4.0, "consolidation": 2.2}
_ROUGHNESS = {"ggo": 0.27, "consolidation": 0.24}
_GGO_SHARE = 0.65
_MEDIAN_ML: dict[LesionKind, float] = {"ggo": 16.0, "consolidation": 6.0}
_CANDIDATES = 1500
_ROUGHEST = 2.5


class Lesion:
    """A lesion of a patient, in canonical coordinates.

    Args:
        spec: The order for it.
        patient: Whose lobe holds it.

    Attributes:
        code: 1 ground glass, 2 consolidation.
        lobe: Canonical label of the lobe that holds the centre; 0 if none does.
        radius_mm: Of a ball round the centre that holds the whole lesion.
    """

    def __init__(self, spec: LesionSpec, patient: Patient) -> None:
        self.spec, self.patient = spec, patient
        self.code = _CODE[spec.kind]
        here = patient.at(np.array([spec.centre_mm]))
        self.lobe = int(patient.lobe_labels(here)[0])
        self._centre = (float(here.x[0]), float(here.y[0]), float(here.z[0]))
        self._axes = _frame(_towards_pleura(patient, self._centre))
        self._radii = [r / patient.spec.scale for r in spec.radii_mm]
        rng = np.random.default_rng([patient.spec.seed, 2000, spec.seed])
        mean: float = math.prod(self._radii) ** (1 / 3)
        self._rough_mm = _ROUGHNESS[spec.kind] * mean
        self._coarse = LatticeNoise(rng, max(mean / 3.5, 1.0), size=24)
        self._fine = LatticeNoise(rng, 1.3, size=32)
        self.radius_mm = max(self._radii) + _ROUGHEST * self._rough_mm

    def outline(self, s: Samples) -> Array:
        """Irregular ellipsoid, negative inside, not yet clipped by the lobe."""
        smooth = ellipsoid(s, self._centre, self._radii, self._axes)
        rough = self._coarse(s) + 0.5 * self._fine(s)
        return smooth + np.float32(self._rough_mm) * clamp(rough, -_ROUGHEST, _ROUGHEST)

    def contains(self, s: Samples) -> npt.NDArray[np.bool_]:
        """Whether samples belong to the lesion: outline at half density, inside its lobe."""
        inside = np.flatnonzero(self.reaches(s))
        inside = inside[self.outline(s.subset(inside)) < 0]
        inside = inside[self.patient.lobe_field(s.subset(inside), self.lobe) < 0]
        mask = np.zeros(s.x.shape, bool)
        mask[inside] = True
        return mask

    def touches(self, other: Lesion) -> bool:
        """Whether the two may overlap."""
        return math.dist(self._centre, other._centre) < self.radius_mm + other.radius_mm

    def reaches(self, s: Samples, margin_mm: float = 0.0) -> npt.NDArray[np.bool_]:
        """Whether samples lie in the ball that holds the lesion."""
        middle, ball_mm = s.ball()
        limit = self.radius_mm + margin_mm
        if math.dist(middle, self._centre) > limit + ball_mm:
            return np.zeros(s.x.shape, bool)
        x, y, z = self._centre
        away = (s.x - x) ** 2 + (s.y - y) ** 2 + (s.z - z) ** 2
        close: npt.NDArray[np.bool_] = away < limit**2
        return close

    def layer(self) -> Layer:
        """The lesion as paint."""
        return LesionLayer(f"lesion {self.spec.kind}", self)

    def hu(self, s: Samples) -> Array:
        """Attenuation, mottled, within the range of its kind."""
        texture = 55.0 if self.code == GGO else 18.0
        value = self.spec.mean_hu + texture * self._fine(s) + 0.5 * texture * self._coarse(s)
        return clamp(value, *HU_RANGE[self.spec.kind])


@dataclass
class LesionLayer(Layer):
    """Soft at its own outline, as sharp as the anatomy at pleura and fissure."""

    name: str
    lesion: Lesion

    def survey(self, centres: Samples, radius_mm: float) -> npt.NDArray[np.uint8]:
        """See Layer; a lesion never hides a block, since lung shows through."""
        close = self.lesion.reaches(centres, WARP * radius_mm + 4)
        return np.where(close, MIXED, SKIP).astype(np.uint8)

    def paint(self, s: Samples, hu: Array, blur_mm: float) -> None:
        """See Layer."""
        lesion = self.lesion
        softness_mm = _SOFTNESS_MM[lesion.spec.kind]
        close = np.flatnonzero(lesion.reaches(s, softness_mm))
        if len(close) == 0:
            return
        part = s.subset(close)
        width = float(np.hypot(blur_mm, softness_mm))
        coverage = soft_edge(lesion.outline(part), width)
        coverage *= soft_edge(lesion.patient.lobe_field(part, lesion.lobe), blur_mm)
        patch = hu[close]
        blend(patch, coverage, lesion.hu(part))
        hu[close] = patch


def lesions_of(patient: Patient) -> list[Lesion]:
    """The ordered lesions, ground glass first, so that consolidation wins an overlap."""
    wanted = patient.spec.lesions
    specs = place(patient, wanted or 0) if not isinstance(wanted, tuple) else wanted
    made = [Lesion(spec, patient) for spec in specs]
    return sorted(made, key=lambda lesion: lesion.code)


def place(patient: Patient, count: int) -> tuple[LesionSpec, ...]:
    """Draw lesions where COVID-19 puts them: under the pleura, low and at the back.

    Args:
        patient: Host.
        count: How many.

    Returns:
        Their specifications in the scan's LPS mm; the first ones do not change
        when more are asked for.
    """
    half = np.array([165.0, 135.0, 170.0]) * patient.spec.scale
    # Drawn before the patient is mirrored, so that the lesions are mirrored with it.
    flip = patient.flip

    def depth_mm(points: npt.NDArray[np.float64]) -> Array:
        return patient.lung_field(patient.at(points * flip)) + 2

    pool = scatter(depth_mm, (-half, half), _CANDIDATES, patient.stream("lesions")) * flip
    s = patient.at(pool)
    weight = np.exp(patient.lung_field(s) / 7) + 0.04
    weight *= np.exp(s.y / 55 - s.z / 130)
    lots = patient.stream("lesions").random(len(pool))
    order = np.argsort(-np.log(lots) / weight)
    drawn: list[LesionSpec] = []
    for number, i in enumerate(order[:count]):
        drawn.append(_draw(pool[i], number, patient, drawn))
    return tuple(drawn)


def _draw(
    centre: npt.NDArray[np.float64], number: int, patient: Patient, earlier: list[LesionSpec]
) -> LesionSpec:
    """Kind, size and attenuation of one lesion; half of the dense ones lie in ground glass."""
    rng = np.random.default_rng([patient.spec.seed, 3000, number])
    kind: LesionKind = "ggo" if rng.random() < _GGO_SHARE else "consolidation"
    hosts = [e for e in earlier if e.kind == "ggo"]
    if kind == "consolidation" and hosts and rng.random() < 0.5:
        host = hosts[int(rng.integers(len(hosts)))]
        offset = rng.normal(0, 0.25 * min(host.radii_mm), 3)
        centre = np.array(host.centre_mm) + offset * patient.flip
    volume_ml = float(np.clip(_MEDIAN_ML[kind] * np.exp(rng.normal(0, 0.8)), 0.6, 70))
    mean = (volume_ml * 1000 * 0.75 / np.pi) ** (1 / 3) * patient.spec.scale
    wide, flat = float(rng.uniform(1.05, 1.45)), float(rng.uniform(0.6, 0.9))
    radii = (mean * wide, mean / (wide * flat), mean * flat)
    mean_hu = rng.uniform(-540, -380) if kind == "ggo" else rng.uniform(-20, 30)
    x, y, z = (float(v) for v in centre)
    return LesionSpec(kind, (x, y, z), radii, float(mean_hu), number)


def _towards_pleura(patient: Patient, centre: Vector) -> npt.NDArray[np.float64]:
    """Direction (canonical, unit) from a point to the lung's surface nearby."""
    steps = np.concatenate([np.eye(3), -np.eye(3)]) * 3.0 + np.array(centre)
    depth = patient.lung_field(Samples.canonical(steps)).astype(float)
    gradient = depth[:3] - depth[3:]
    norm = float(np.linalg.norm(gradient))
    return gradient / norm if norm > 1e-6 else np.array([0.0, 1.0, 0.0])


def _frame(last: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Right-angled axes as rows; the third is ``last``."""
    helper = np.eye(3)[int(np.argmin(np.abs(last)))]
    first = np.cross(last, helper)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(last, first), last])
