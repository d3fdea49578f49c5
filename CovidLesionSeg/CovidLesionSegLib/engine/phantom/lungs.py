"""Chest cavity, mediastinal outline, diaphragm, lungs, fissures and lobes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .build import Build
from .shapes import Array, Column, Profile, Samples, clamp, ellipsoid, smooth_max, smooth_min
from .tubes import Tubes

PLEURAL_GAP_MM = 1.5
RUL, RML, RLL, LUL, LLL = 1, 2, 3, 4, 5


class Lungs:
    """The implicit model of both lungs in canonical mm.

    Args:
        build: The patient's measures.
        great_vessels: Aorta, pulmonary arteries, veins, trachea and main bronchi,
            round which the mediastinal pleura wraps.
        missing: Label of a removed lobe, or 0.
    """

    def __init__(self, build: Build, great_vessels: Tubes, missing: int = 0) -> None:
        self._build = build
        self._wrapped = great_vessels.grown(3.5)
        self._missing = missing
        self.cavity = Column(
            half_width=Profile(
                {-160: 122, -110: 132, -50: 133, 0: 128, 50: 117, 85: 104, 110: 88}
                | {128: 74, 145: 56, 165: 45}
            ),
            half_depth=Profile(
                {-160: 88, -110: 93, -50: 93, 0: 91, 50: 83, 85: 72, 110: 60, 130: 46, 150: 38}
            ),
            centre_y=Profile({-160: 0, -50: -2, 0: 0, 50: 5, 85: 12, 110: 17, 150: 18}),
            squareness=0.52,
        )
        self._sheet_height = Profile({-140: 20, -60: 20, 0: 21, 50: 21, 90: 27, 130: 29})
        self.spine_y = Profile({-160: 30, -60: 38, 20: 43, 80: 50, 115: 46, 160: 30})

    def wall(self, s: Samples) -> tuple[Array, Array]:
        """Depth outside the chest cavity's surface (mm), and angle 0 back .. pi front."""
        pair: tuple[Array, Array] = s.recall("wall", self._wall)
        return pair

    def _wall(self, s: Samples) -> tuple[Array, Array]:
        """The cavity's column, pushed in at the back by the spine: the ribs curve round it."""
        depth, angle = self.cavity.polar(s)
        back = clamp(1.9 - angle, 0, 1)
        return depth + 24 * back * np.exp(-((s.x * np.float32(1 / 34)) ** 2)), angle

    def mediastinum(self, s: Samples) -> Array:
        """Everything between the lungs, as the mediastinal pleura outlines it."""
        out: Array = s.recall("mediastinum", self._mediastinum)
        return out

    def _mediastinum(self, s: Samples) -> Array:
        bump = np.exp(-(((s.y - 2) * np.float32(1 / 40)) ** 2))
        low = clamp(-s.z / 45, 0, 1) * np.exp(-(((s.y + 85) * np.float32(1 / 36)) ** 2))
        half = 3 + self._sheet_height(s) * bump + 17 * low
        sheet = (np.abs(s.x - 4 - 6 * low) - half) * np.float32(0.9)
        body = smooth_min(sheet, self.heart(s) - 4, 10)
        hila = np.minimum(
            ellipsoid(s, (-36, -2, 16), (15, 15, 21)), ellipsoid(s, (39, 0, 18), (15, 15, 19))
        )
        body = smooth_min(body, hila, 10)
        spine = ellipsoid_column(s, self.spine_y(s) + 8, 26.0, 30.0)
        body = smooth_min(body, spine, 8)
        return smooth_min(body, self._wrapped.distance(s), 7)

    def heart(self, s: Samples) -> Array:
        """Heart muscle and blood, without the fat around it."""
        out: Array = s.recall("heart", self._heart)
        return out

    def _heart(self, s: Samples) -> Array:
        size = self._build.heart
        tilt = np.array([[0.80, -0.45, -0.40], [0.49, 0.87, 0.0], [0.35, -0.20, 0.92]])
        radii = [57 * size, 40 * size, 43 * size]
        ventricles = ellipsoid(s, (22, -37, -43), radii, tilt)
        right_atrium = ellipsoid(s, (-20, -24, -30), [25 * size, 33 * size, 38 * size])
        left_atrium = ellipsoid(s, (6, 4, -12), [36 * size, 20 * size, 22 * size])
        outlet = ellipsoid(s, (8, -44, 2), [24 * size, 22 * size, 36 * size])
        heart = smooth_min(smooth_min(ventricles, right_atrium, 12), left_atrium, 10)
        return smooth_min(heart, outlet, 12)

    def diaphragm(self, s: Samples) -> Array:
        """Negative below the diaphragm."""
        out: Array = s.recall("diaphragm", self._diaphragm)
        return out

    def _diaphragm(self, s: Samples) -> Array:
        right_top, left_top = -56 + self._build.dome_mm[0], -68 + self._build.dome_mm[1]
        leftness = clamp(s.x * np.float32(1 / 60) + 0.5, 0, 1)
        u = np.where(s.x > -2, s.x - 64, -68 - s.x)
        u = u * np.where(u > 0, np.float32(1 / 86), np.float32(1 / 70))
        v = (s.y + 14) * np.where(s.y > -14, np.float32(1 / 104), np.float32(1 / 116))
        flat = np.minimum(u * u + v * v, np.float32(0.985))
        cap = np.sqrt(1 - flat)
        height = right_top + (left_top - right_top) * leftness - 66 * (1 - cap)
        height -= np.maximum(s.y - 10, 0) * np.float32(0.22)
        a, b, _ = self._build.phases[2]
        height += np.sin(s.x * 0.075 + a) * 1.5 + np.sin(s.y * 0.06 + b) * 1.5
        steep = np.sqrt(1 + flat / (1 - flat) * np.float32((66 / 76) ** 2))
        distance: Array = ((s.z - height) / steep).astype(np.float32)
        return distance

    def lungs(self, s: Samples) -> Array:
        """Both lungs at once; the mediastinum keeps them apart."""
        out: Array = s.recall("lungs", self._lungs)
        return out

    def _lungs(self, s: Samples) -> Array:
        depth, _ = self.wall(s)
        lung = smooth_max(depth + PLEURAL_GAP_MM, self.apex(s), 8)
        lung = smooth_max(lung, -self.mediastinum(s), 5)
        return smooth_max(lung, -self.diaphragm(s) + 1, 3)

    def apex(self, s: Samples) -> Array:
        """Domes that close the two halves of the chest above."""
        out: Array = s.recall("apex", self._apex)
        return out

    def _apex(self, s: Samples) -> Array:
        side = Samples(np.abs(s.x), s.y, s.z, s.room)
        dome = ellipsoid(side, (54, 14, 50), (73, 98, 81))
        return np.where(s.z > 50, dome, np.minimum(dome, -30 - 0 * dome))

    def is_left(self, s: Samples) -> npt.NDArray[np.bool_]:
        """Whether a sample belongs to the left half of the canonical chest."""
        left: npt.NDArray[np.bool_] = s.x > 4
        return left

    def oblique(self, s: Samples) -> Array:
        """Signed distance to the oblique fissure of the sample's side, positive above."""
        out: Array = s.recall("oblique", self._oblique)
        return out

    def _oblique(self, s: Samples) -> Array:
        left = self.is_left(s)
        slope = np.where(left, *(np.float32(v) for v in self._build.oblique_slope[::-1]))
        level = np.where(left, *(np.float32(v) for v in self._build.oblique_mm[::-1]))
        aside = np.abs(s.x) - 70
        a, b, _ = self._build.phases[3]
        height = level + np.where(left, np.float32(6), np.float32(4)) + slope * (s.y - 4)
        height += aside * np.float32(0.10) - aside * (s.y - 4) * np.float32(0.0022)
        height -= (s.y - 4) ** 2 * np.float32(0.0016)
        height += np.sin(s.y * 0.05 + np.where(left, a, b)) * 2.5 + np.sin(aside * 0.06 + a) * 2
        distance: Array = ((s.z - height) / np.sqrt(1 + slope * slope)).astype(np.float32)
        return distance

    def horizontal(self, s: Samples) -> Array:
        """Signed distance to the horizontal fissure's surface, positive above."""
        out: Array = s.recall("horizontal", self._horizontal)
        return out

    def _horizontal(self, s: Samples) -> Array:
        a, b, _ = self._build.phases[4]
        height = 12 + self._build.horizontal_mm - (s.y + 30) ** 2 * np.float32(0.0014)
        height -= (s.x + 70) ** 2 * np.float32(0.0016) + (s.y + 30) * np.float32(0.05)
        height += np.sin(s.x * 0.07 + a) * 1.8 + np.sin(s.y * 0.06 + b) * 1.8
        return ((s.z - height) * np.float32(0.98)).astype(np.float32)

    def lobe_of(self, s: Samples) -> npt.NDArray[np.uint8]:
        """Lobe label 1..5 in which a point would lie, whether or not it is in a lung."""
        above = self.oblique(s) > 0
        left = self.is_left(s)
        upper = self.horizontal(s) > 0
        missing = self._missing
        if missing == RUL:
            upper = np.zeros_like(upper)
        elif missing == RML:
            upper = np.ones_like(upper)
        elif missing == RLL:
            above = above | ~left
        elif missing == LUL:
            above = above & ~left
        elif missing == LLL:
            above = above | left
        right_lobe = np.where(above, np.where(upper, RUL, RML), RLL)
        return np.where(left, np.where(above, LUL, LLL), right_lobe).astype(np.uint8)

    def in_lobe(self, s: Samples, label: int) -> Array:
        """Field of one lobe's side of the fissures; combine with ``lungs``."""
        far = np.float32(60)
        above, upper, middle = -self.oblique(s), -self.horizontal(s), s.x - 4
        missing = self._missing
        if label in (LUL, LLL):
            if missing in (LUL, LLL):
                return -middle
            return np.maximum(above if label == LUL else -above, -middle)
        if missing == RLL:
            above = np.full_like(above, -far)
        if label == RLL:
            return np.maximum(-above, middle)
        if missing in (RUL, RML):
            return np.maximum(above, middle)
        return np.maximum(np.maximum(above, upper if label == RUL else -upper), middle)

    def fissures(self, s: Samples) -> Array:
        """Unsigned distance to the nearest fissure that exists at the sample."""
        oblique, horizontal = self.oblique(s), self.horizontal(s)
        left, missing, far = self.is_left(s), self._missing, np.float32(60)
        away = np.abs(oblique)
        if missing in (LUL, LLL):
            away = np.where(left, far, away)
        if missing == RLL:
            away = np.where(left, away, far)
        if missing in (RUL, RML):
            return away
        reach = np.abs(horizontal) if missing == RLL else np.maximum(np.abs(horizontal), -oblique)
        return np.minimum(away, np.where(left, far, reach))


def ellipsoid_column(s: Samples, centre_y: Array, half_width: float, half_depth: float) -> Array:
    """Upright elliptic cylinder whose centre line follows ``centre_y``."""
    u, v = s.x * np.float32(1 / half_width), (s.y - centre_y) * np.float32(1 / half_depth)
    norm = np.sqrt(u * u + v * v)
    slope = np.sqrt((u / half_width) ** 2 + (v / half_depth) ** 2) + np.float32(1e-6)
    return (norm - 1) * norm / slope
