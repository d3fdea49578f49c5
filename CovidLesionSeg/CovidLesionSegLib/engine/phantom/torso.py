"""Couch, skin, fat, muscle and skeleton."""

from __future__ import annotations

import numpy as np

from .build import Build
from .layers import Layer, Rods, Solid
from .lungs import Lungs, ellipsoid_column
from .shapes import (
    Array,
    Column,
    LatticeNoise,
    Profile,
    Samples,
    capsule,
    clamp,
    ellipsoid,
    smooth_min,
)
from .tubes import Tubes

FAT_HU, MUSCLE_HU, SKIN_HU = -100.0, 52.0, 25.0
CORTEX_HU, MARROW_HU, CARTILAGE_HU = 800.0, 210.0, 110.0

VERTEBRA_MM = 22.0
FIRST_VERTEBRA_Z_MM = 125.0
RIB_DEPTH_MM = 6.5

_RIB_DROP = ((0.0, 0.0), (0.3, 0.0), (1.6, 48.0), (2.3, 74.0), (2.6, 66.0), (3.2, 30.0))
_RIB_END = (2.3, 2.3, 2.35, 2.35, 2.35, 2.35, 2.3, 2.2, 2.1, 2.0, 1.6, 1.2)
_CARTILAGE_END = (2.9, 2.9, 2.9, 2.9, 2.9, 2.9, 2.85, 2.6, 2.5, 2.35, 0.0, 0.0)


class Torso:
    """Everything around the chest cavity, and the spine.

    Args:
        build: The patient's measures.
        lungs: Supplies the cavity's surface, to which the rib cage is fixed.
        texture: Random texture for fat planes between muscles and in marrow.
    """

    def __init__(self, build: Build, lungs: Lungs, texture: LatticeNoise) -> None:
        self._build, self._lungs, self._texture = build, lungs, texture
        fat = (build.fat_mm - 13.0) * 0.8
        widths = {-160: 158, -100: 163, -50: 168, 0: 172, 40: 176, 80: 172, 108: 156, 130: 118}
        depths = {-160: 106, -50: 113, 0: 113, 50: 106, 80: 96, 110: 82, 130: 70}
        self._trunk = Column(
            Profile({z: w + fat for z, w in widths.items()} | {150: 72, 170: 62}),
            Profile({z: d + fat * 0.6 for z, d in depths.items()} | {150: 60, 170: 58}),
            Profile({-160: 0, 0: 0, 50: 5, 80: 12, 110: 20, 130: 22, 170: 22}),
            squareness=0.62,
        )
        arm = Tubes.polyline(
            [(112, 18, 96), (134, 12, 128), (172, -8, 205), (186, -14, 260)], [44, 46, 42, 38]
        )
        self._arms = Tubes.joined([arm, arm.mirrored()])
        self._rib_drop = np.array(_RIB_DROP, np.float32)
        self._front = Profile(self._sternum_line())

    def layers(self) -> list[Layer]:
        """Outside in: couch, soft tissue, skeleton."""
        shaft = Tubes.polyline([(130, 10, 128), (160, -3, 180), (178, -10, 250)], [13, 11, 10])
        collar = Tubes.polyline(
            [(22, -42, 88), (58, -36, 96), (96, -8, 118), (120, 6, 140)], [7, 5.5, 5.5, 6]
        )
        blade_ridge = Tubes.polyline([(84, 90, 92), (108, 66, 116), (124, 36, 136)], [3, 5, 6])
        bones = Tubes.joined([shaft, collar, blade_ridge])
        bones = Tubes.joined([bones, bones.mirrored()])
        return [
            Solid("couch", self.couch, self._couch_hu),
            Solid("skin", self.body, SKIN_HU),
            Solid("fat", lambda s: self.body(s) + 2.0, self._fat_hu),
            Solid("muscle", self.muscle, self._muscle_hu),
            Solid("cartilage", self.cartilage, CARTILAGE_HU),
            Solid("rib cortex", self.ribs, CORTEX_HU),
            Solid("rib marrow", lambda s: self.ribs(s) + 1.6, self._marrow_hu),
            Solid("shoulder cortex", self.shoulder, CORTEX_HU),
            Solid("shoulder marrow", lambda s: self.shoulder(s) + 1.6, self._marrow_hu),
            Rods("long bone cortex", bones, CORTEX_HU),
            Rods("long bone marrow", bones.grown(-2.2), MARROW_HU),
        ]

    def spine_layers(self) -> list[Layer]:
        """The spine and sternum, painted over the contents of the cavity."""
        return [
            Solid("disc", self.discs, 85.0),
            Solid("vertebra cortex", self.vertebrae, 620.0),
            Solid("vertebra marrow", lambda s: self.vertebrae(s) + 1.5, self._marrow_hu),
            Solid("spinal canal", self._canal, 30.0),
            Solid("sternum cortex", self.sternum, 480.0),
            Solid("sternum marrow", lambda s: self.sternum(s) + 1.3, 140.0),
        ]

    def couch(self, s: Samples) -> Array:
        """Two curved carbon plates under the back, in the scanner's frame."""
        x, y, _ = s.room
        back = 121.0 + (self._build.fat_mm - 13.0) * 0.5
        top = y - (np.float32(back) - x * x * np.float32(1 / 1100))
        bottom = y - (np.float32(back + 42) - x * x * np.float32(1 / 760))
        plates: Array = np.maximum(np.maximum(-top, bottom), np.abs(x) - 205)
        return plates

    def _couch_hu(self, s: Samples) -> Array:
        """Carbon skins around light foam."""
        core = clamp((-self.couch(s) - 1.6) * 2, 0, 1)
        return -60 - core * 870

    def body(self, s: Samples) -> Array:
        """Skin surface."""
        out: Array = s.recall("body", self._body)
        return out

    def _body(self, s: Samples) -> Array:
        trunk, angle = self._trunk.polar(s)
        trunk += 5 * np.exp(-((s.x / 26) ** 2)) * (angle > 1.5)
        trunk += 6 * np.exp(-((s.x / 16) ** 2)) * (angle < 1.5)
        return smooth_min(trunk, self._arms.distance(s), 22)

    def muscle(self, s: Samples) -> Array:
        """Surface of the muscles under the fat."""
        _, angle = self._lungs.wall(s)
        share = 0.7 + 0.4 * np.sin(angle) ** 2
        low = clamp((40 - s.z) / 80, 0, 1)
        fat = self._build.fat_mm * share * (0.75 + 0.45 * low) + 2 * np.sin(s.z * 0.06 + angle * 4)
        surface: Array = self.body(s) + np.maximum(fat, 4.5)
        return surface

    def _muscle_hu(self, s: Samples) -> Array:
        """Muscle bellies with fat planes between them and along the rib cage."""
        depth, angle = self._lungs.wall(s)
        noise = self._texture(s)
        broad = np.sin(s.x * 0.11 + s.z * 0.05) + np.sin(s.y * 0.13 - s.z * 0.04 + angle)
        planes = clamp(1.2 - np.abs(depth - 27 - 5 * broad), 0, 1) * (depth > 16)
        layer = clamp(1.3 - np.abs(depth - 14.5 - broad) / 1.6, 0, 1) * (angle > 0.5)
        hu: Array = MUSCLE_HU + 4 * noise - 125 * np.maximum(planes, layer)
        return hu

    def _fat_hu(self, s: Samples) -> Array:
        """Fat with faint septa."""
        noise = self._texture(s)
        return FAT_HU + 5 * noise + 35 * clamp(1 - np.abs(noise - 0.9) * 9, 0, 1)

    def _marrow_hu(self, s: Samples) -> Array:
        return MARROW_HU + 45 * self._texture(s)

    def _rib_place(self, s: Samples) -> tuple[Array, Array, Array]:
        """Nearest rib's index (0 is the first), height above its axis, depth from its axis."""
        depth, angle = self._lungs.wall(s)
        drop = np.interp(angle, self._rib_drop[:, 0], self._rib_drop[:, 1]).astype(np.float32)
        fall = drop * clamp(1.0 - (s.z - 20) / 190, 0.35, 1)
        level = (np.float32(FIRST_VERTEBRA_Z_MM + 7) - s.z - fall) * np.float32(1 / VERTEBRA_MM)
        rib = clamp(np.round(level), 0, 11)
        return rib, (level - rib) * VERTEBRA_MM, depth - RIB_DEPTH_MM

    def ribs(self, s: Samples) -> Array:
        """Bony ribs."""
        out: Array = s.recall("ribs", self._ribs)
        return out

    def _ribs(self, s: Samples) -> Array:
        rib, height, depth = self._rib_place(s)
        _, angle = self._lungs.wall(s)
        end = np.array(_RIB_END, np.float32)[rib.astype(np.int32)]
        norm = np.sqrt((depth / 3.9) ** 2 + (height * np.float32(0.85) / 6.2) ** 2)
        bar = (norm - 1) * np.float32(4.4)
        rib_field: Array = np.maximum(bar, np.maximum(angle - end, 0.30 - angle) * 90)
        return rib_field

    def cartilage(self, s: Samples) -> Array:
        """Costal cartilages from the rib ends towards the sternum."""
        rib, height, depth = self._rib_place(s)
        _, angle = self._lungs.wall(s)
        number = rib.astype(np.int32)
        start = np.array(_RIB_END, np.float32)[number] - np.float32(0.05)
        end = np.array(_CARTILAGE_END, np.float32)[number]
        norm = np.sqrt((depth / 3.6) ** 2 + (height * np.float32(0.85) / 5.6) ** 2)
        ends = np.maximum(angle - end, start - angle) * 90
        field: Array = np.maximum((norm - 1) * 4, ends)
        return field

    def shoulder(self, s: Samples) -> Array:
        """Shoulder blades, sockets and humeral heads."""
        out: Array = s.recall("shoulder", self._shoulder)
        return out

    def _shoulder(self, s: Samples) -> Array:
        depth, angle = self._lungs.wall(s)
        rise = clamp((s.z + 8) / 105, 0, 1)
        plate = np.abs(depth - 24 - 5 * np.sin(s.z * 0.03)) - (1.9 + 1.6 * (1 - rise))
        inner, outer = 0.92 - 0.22 * rise, 1.05 + 0.5 * rise
        border = np.maximum(inner - angle, angle - outer) * 100
        blade = np.maximum(np.maximum(plate, border), np.maximum(s.z - 112, -8 - s.z))
        side = Samples(np.abs(s.x), s.y, s.z, s.room)
        ball = ellipsoid(side, (130, 9, 128), (23, 22, 23))
        socket = ellipsoid(side, (106, 24, 122), (9, 15, 16))
        bone: Array = np.minimum(blade, np.minimum(ball, socket))
        return bone

    def _spine_frame(self, s: Samples) -> Samples:
        """Samples relative to the middle of their own vertebra; x folded to one side."""
        level = (s.z - np.float32(FIRST_VERTEBRA_Z_MM)) * np.float32(1 / VERTEBRA_MM)
        local = (level - np.round(level)) * np.float32(VERTEBRA_MM)
        return Samples(np.abs(s.x), s.y - self._lungs.spine_y(s), local, s.room)

    def _vertebral_column(self, s: Samples, grow_mm: float) -> Array:
        width = clamp((60 - s.z) * 0.02 + 16.5, 14.5, 20)
        u = s.x / (width + grow_mm)
        v = (s.y - self._lungs.spine_y(s)) / (width * 0.82 + grow_mm)
        column: Array = (np.sqrt(u * u + v * v) - 1) * 14
        return column

    def discs(self, s: Samples) -> Array:
        """The column of discs, which the vertebral bodies then cover."""
        return self._vertebral_column(s, 0.0)

    def vertebrae(self, s: Samples) -> Array:
        """Bodies, arches, processes and rib heads."""
        out: Array = s.recall("vertebrae", self._vertebrae)
        return out

    def _vertebrae(self, s: Samples) -> Array:
        f = self._spine_frame(s)
        waist = -1.2 * (1 - (f.z / 9) ** 2)
        body = np.maximum(self._vertebral_column(s, 0.5) - waist, np.abs(f.z) - 8.6)
        ring = np.abs(np.sqrt(f.x * f.x + (f.y - 23) ** 2) - 11.0) - 2.4
        arch = np.maximum(ring, np.abs(f.z - 1) - 7.5)
        parts = [
            capsule(f, (0, 34, 0), (0, 47, -7), 3.2),
            capsule(f, (12, 21, 2), (33, 31, 3), 4.2),
            capsule(f, (15, 5, 7), (38, 24, 7), 4.0),
        ]
        for part in parts:
            arch = np.minimum(arch, part)
        return np.minimum(body, arch)

    def _canal(self, s: Samples) -> Array:
        return ellipsoid_column(s, self._lungs.spine_y(s) + 23, 8.8, 8.2)

    def _sternum_line(self) -> dict[int, float]:
        """Depth position of the sternum over z: just in front of the cavity."""
        cavity = self._lungs.cavity
        return {
            z: cavity.centre_y.at(z) - cavity.half_depth.at(z) - 7.5 for z in range(-60, 121, 20)
        }

    def sternum(self, s: Samples) -> Array:
        """Manubrium and body of the sternum."""
        out: Array = s.recall("sternum", self._sternum)
        return out

    def _sternum(self, s: Samples) -> Array:
        width = 18 + 12 * clamp((s.z - 50) / 25, 0, 1) - 8 * clamp((-20 - s.z) / 25, 0, 1)
        u, v = s.x / width, (s.y - self._front(s) - s.x * s.x * 0.004) / 6.0
        uu = u * u
        flat = (np.sqrt(uu * uu + v * v) - 1) * 5.5
        return np.maximum(flat, np.maximum(s.z - 92, -45 - s.z))
