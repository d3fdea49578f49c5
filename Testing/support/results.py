"""A small made-up result with everything in it: CT, maps, lungs, lobes, lesions and numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.geometry import Affine, AxisOrientation
from CovidLesionSegLib.engine.result import (
    Anatomy,
    Lesion,
    Lobe,
    LobeSource,
    Lung,
    Measure,
    Opacity,
    Prediction,
    Quantification,
    RegionRow,
    RunInfo,
    SegmentationResult,
)
from CovidLesionSegLib.engine.volume import CtVolume, Provenance

SHAPE_ZYX = (28, 64, 80)
SPACING_MM_XYZ = (4.0, 4.0, 9.0)

Mask = NDArray[np.bool_]
Coordinates = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def affine_lps(*, degrees: float = 0.0) -> Affine:
    """An affine in LPS axis order, tilted about the x and z axes by `degrees`."""
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    about_x = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag(SPACING_MM_XYZ)
    affine[:3, 3] = (-158.25, -124.5, -321.75)
    return affine


def make_ct(
    hu_zyx: NDArray[np.int16],
    *,
    degrees: float = 0.0,
    orientation: AxisOrientation | None = None,
    flags: tuple[str, ...] = (),
) -> CtVolume:
    """A CT whose input grid is turned as asked, whatever its voxels are."""
    affine = affine_lps(degrees=degrees)
    if orientation is None:
        return CtVolume.from_array(hu_zyx, affine, Provenance("nifti", "chest"), flags)
    # The input grid's affine: reordered columns, and the origin at the flipped corner.
    size_xyz = hu_zyx.shape[::-1]
    input_affine = affine.copy()
    for row, (axis, flipped) in enumerate(
        zip(orientation.source_axis, orientation.flipped, strict=True)
    ):
        column = affine[:3, row]
        input_affine[:3, axis] = -column if flipped else column
        if flipped:
            input_affine[:3, 3] += column * (size_xyz[row] - 1)
    hu_kji = orientation.from_lps(hu_zyx)
    return CtVolume.from_array(hu_kji, input_affine, Provenance("nifti", "chest"), flags)


def make_result(
    burden: str = "moderate",
    *,
    degrees: float = 0.0,
    orientation: AxisOrientation | None = None,
    with_boundary: bool = True,
    with_opacity: bool = True,
    with_lobes: bool = True,
    seed: int = 0,
) -> SegmentationResult:
    """Make a result.

    Args:
        burden: ``"none"``, ``"moderate"`` or ``"severe"``.
        degrees: Obliqueness of the grid.
        orientation: Axis order and flips of the input grid; LPS when None.
        with_boundary, with_opacity, with_lobes: Whether the result has them.
        seed: Seed of the noise.
    """
    points = _points()
    lungs = _lungs(points)
    lobes = _lobes(points, lungs)
    infection = _infection(points, lungs, burden)
    hu = _hu(points, lungs, infection, np.random.default_rng(seed))
    anatomy = Anatomy(
        lungs=lungs,
        lobes=lobes if with_lobes else None,
        lobe_source=LobeSource.ATLAS if with_lobes else LobeSource.NONE,
        missing=() if with_lobes else tuple(Lobe),
        lobe_uncertainty_mm=4.0,
    )
    ct = make_ct(hu, degrees=degrees, orientation=orientation)
    return SegmentationResult(
        ct=ct,
        prediction=_prediction(infection, with_boundary=with_boundary),
        infection=infection,
        anatomy=anatomy,
        lesions=_lesions(ct, infection),
        quantification=quantification(ct, infection, anatomy),
        run=RunInfo(
            model_id="inf-net-lite",
            weights_sha256={"inf-net-lite": "0123456789abcdef" * 4},
            device="cpu",
            threshold=0.5,
            seed=0,
            versions={"CovidLesionSeg": "0.1.0", "torch": "2.13.0"},
            timings_s={"inference": 1.5},
        ),
        warnings=("Lobes are approximate.",) if with_lobes else ("There are no lobes.",),
        opacity=_opacity(hu, infection) if with_opacity else None,
    )


def quantification(ct: CtVolume, infection: NDArray[np.uint8], anatomy: Anatomy) -> Quantification:
    """Volumes and percentages, with intervals and reasons."""
    regions: list[tuple[str, str, Mask | None]] = [
        (lobe.name, lobe.long_name, None if anatomy.lobes is None else anatomy.lobes == lobe)
        for lobe in Lobe
    ]
    regions += [
        ("right-lung", "right lung", anatomy.lungs == Lung.RIGHT),
        ("left-lung", "left lung", anatomy.lungs == Lung.LEFT),
        ("total", "both lungs", anatomy.lungs > 0),
    ]
    flags = ("approximate lobes",) if anatomy.lobe_source.is_approximate else ()
    rows = tuple(
        RegionRow(
            key, label, _measures(ct, infection, mask), flags if key in Lobe.__members__ else ()
        )
        for key, label, mask in regions
    )
    return Quantification(
        rows=rows,
        scores={"ct_severity_score_25": Measure(7.0, "score")},
        conventions={"ct_severity_score_25": "sum of five lobes, 0 to 5 each"},
    )


def _measures(ct: CtVolume, infection: NDArray[np.uint8], mask: Mask | None) -> dict[str, Measure]:
    if mask is None or not mask.any():
        reason = "there are no lobes"
        return {
            "volume_ml": Measure(None, "ml", reason=reason),
            "infected_ml": Measure(None, "ml", reason=reason),
            "infected_percent": Measure(None, "%", reason=reason),
            "mean_hu": Measure(None, "HU", reason=reason),
        }
    volume = float(mask.sum()) * ct.voxel_volume_ml
    inside = mask & (infection > 0)
    infected = float(inside.sum()) * ct.voxel_volume_ml
    percent = 100.0 * infected / volume
    mean = (
        Measure(float(ct.hu[inside].mean()), "HU")
        if inside.any()
        else Measure(None, "HU", reason="no infection in this region")
    )
    return {
        "volume_ml": Measure(volume, "ml"),
        "infected_ml": Measure(infected, "ml"),
        "infected_percent": Measure(percent, "%", 0.8 * percent, min(100.0, 1.25 * percent + 0.3)),
        "mean_hu": mean,
    }


def _points() -> Coordinates:
    z, y, x = np.meshgrid(*(np.linspace(-1.0, 1.0, size) for size in SHAPE_ZYX), indexing="ij")
    return z, y, x


def _ellipsoid(points: Coordinates, center: tuple[float, ...], radii: tuple[float, ...]) -> Mask:
    squares = [
        ((axis - middle) / radius) ** 2
        for axis, middle, radius in zip(points, center, radii, strict=True)
    ]
    return np.asarray(sum(squares) <= 1.0)


def _lungs(points: Coordinates) -> NDArray[np.uint8]:
    lungs = np.zeros(SHAPE_ZYX, np.uint8)
    # x runs to the patient's left, so the right lung has negative x.
    lungs[_ellipsoid(points, (0.0, 0.0, -0.42), (0.85, 0.62, 0.30))] = Lung.RIGHT
    lungs[_ellipsoid(points, (0.0, 0.0, 0.42), (0.85, 0.62, 0.28))] = Lung.LEFT
    lungs[_ellipsoid(points, (-0.35, -0.2, 0.1), (0.45, 0.42, 0.32))] = 0
    return lungs


def _lobes(points: Coordinates, lungs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    z, y, _ = points
    lower = y > 0.9 * z + 0.05
    lobes = np.zeros(SHAPE_ZYX, np.uint8)
    right, left = lungs == Lung.RIGHT, lungs == Lung.LEFT
    lobes[right & lower] = Lobe.RLL
    lobes[right & ~lower] = Lobe.RUL
    lobes[right & ~lower & (z < 0.05)] = Lobe.RML
    lobes[left & lower] = Lobe.LLL
    lobes[left & ~lower] = Lobe.LUL
    return lobes


def _infection(points: Coordinates, lungs: NDArray[np.uint8], burden: str) -> NDArray[np.uint8]:
    blobs: dict[str, list[tuple[tuple[float, ...], tuple[float, ...]]]] = {
        "none": [],
        "moderate": [
            ((-0.35, 0.40, -0.45), (0.25, 0.22, 0.20)),
            ((-0.20, 0.42, 0.50), (0.20, 0.16, 0.14)),
            ((0.40, -0.30, 0.45), (0.10, 0.12, 0.09)),
        ],
        "severe": [
            ((-0.15, 0.20, -0.45), (0.65, 0.55, 0.28)),
            ((-0.25, 0.20, 0.48), (0.60, 0.50, 0.24)),
        ],
    }
    infection = np.zeros(SHAPE_ZYX, np.uint8)
    for center, radii in blobs[burden]:
        infection[_ellipsoid(points, center, radii) & (lungs > 0)] = 1
    return infection


def _hu(
    points: Coordinates,
    lungs: NDArray[np.uint8],
    infection: NDArray[np.uint8],
    random: np.random.Generator,
) -> NDArray[np.int16]:
    tissue: list[tuple[Mask, float]] = [
        (_ellipsoid(points, (0.0, 0.0, 0.0), (9.0, 0.86, 0.92)), -100.0),
        (_ellipsoid(points, (0.0, 0.0, 0.0), (9.0, 0.76, 0.82)), 45.0),
        (_ellipsoid(points, (0.0, 0.66, 0.0), (9.0, 0.16, 0.12)), 400.0),
        (lungs > 0, -850.0),
        (infection > 0, -520.0),
        ((infection > 0) & _ellipsoid(points, (-0.4, 0.45, -0.45), (0.15, 0.12, 0.1)), -40.0),
    ]
    hu = np.full(SHAPE_ZYX, -1000.0)
    for mask, value in tissue:
        hu[mask] = value
    return np.clip(hu + random.normal(0.0, 25.0, SHAPE_ZYX), -1024, 3071).astype(np.int16)


def _prediction(infection: NDArray[np.uint8], *, with_boundary: bool) -> Prediction:
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(infection.astype(np.float32), (0.6, 1.0, 1.0))
    edge = 4.0 * smooth * (1.0 - smooth)
    return Prediction(
        infection=smooth.astype(np.float16),
        boundary=edge.astype(np.float16) if with_boundary else None,
    )


def _opacity(hu: NDArray[np.int16], infection: NDArray[np.uint8]) -> NDArray[np.uint8]:
    opacity = np.where(hu > -200, int(Opacity.CONSOLIDATION), int(Opacity.GROUND_GLASS))
    return np.where(infection > 0, opacity, 0).astype(np.uint8)


def _lesions(ct: CtVolume, infection: NDArray[np.uint8]) -> tuple[Lesion, ...]:
    from scipy import ndimage

    components, count = ndimage.label(infection, np.ones((3, 3, 3)))
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    lesions = []
    for rank, label in enumerate(sorted(range(1, count + 1), key=lambda n: -sizes[n]), start=1):
        mask = components == label
        volume = float(sizes[label]) * ct.voxel_volume_ml
        center_zyx = np.argwhere(mask).mean(axis=0)
        lps = (ct.affine_lps @ [*center_zyx[::-1], 1.0])[:3]
        lesions.append(
            Lesion(
                id=rank,
                lobe=None,
                lung=None,
                volume_ml=volume,
                diameter_mm=float((6.0 * volume * 1000.0 / np.pi) ** (1.0 / 3.0)),
                mean_hu=float(ct.hu[mask].mean()),
                centroid_lps_mm=(float(lps[0]), float(lps[1]), float(lps[2])),
                uncertainty=0.2 * rank,
            )
        )
    return tuple(lesions)
