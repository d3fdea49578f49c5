"""The digital chest: one patient for every grid, with volumes that hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from CovidLesionSegLib.engine.phantom import (
    LesionSpec,
    Phantom,
    PhantomSpec,
    Truth,
    make_phantom,
    measure_truth,
    place_lesions,
)
from CovidLesionSegLib.engine.phantom.grid import Grid
from CovidLesionSegLib.engine.phantom.labels import label
from CovidLesionSegLib.engine.phantom.patient import Patient
from Testing.support.phantoms import COARSE, SMALL, scan_round, voxel_ml


def test_same_seed_same_bytes_other_seed_other_patient(small: Phantom) -> None:
    again = make_phantom(SMALL)
    for name in ("hu", "infection", "lungs", "lobes"):
        assert np.array_equal(getattr(small, name), getattr(again, name)), name
    other = label_volumes(replace(SMALL, seed=8))
    mine = label_volumes(SMALL)
    assert all(abs(other[n] - mine[n]) > 0.002 * mine[n] for n in range(1, 6))


def test_noise_is_reproducible_and_leaves_the_labels_alone() -> None:
    spec = replace(COARSE, noise_hu=20)
    place = (-90.0, 50.0, -40.0)
    noisy, again = scan_round(spec, place, 8), scan_round(spec, place, 8)
    quiet = scan_round(replace(spec, noise_hu=0), place, 8)
    assert np.array_equal(noisy.hu, again.hu)
    assert np.array_equal(noisy.lobes, quiet.lobes)
    assert not np.array_equal(noisy.hu, quiet.hu)


def test_arrays_are_what_they_say(small: Phantom) -> None:
    assert small.hu.dtype == np.int16
    assert small.hu.min() >= -1024
    for labels, highest in ((small.infection, 2), (small.lungs, 2), (small.lobes, 5)):
        assert labels.dtype == np.uint8
        assert labels.shape == small.hu.shape
        assert labels.max() == highest


def test_lobes_partition_the_lungs_and_hold_the_infection(small: Phantom) -> None:
    assert np.array_equal(small.lobes > 0, small.lungs > 0)
    assert np.array_equal(small.lungs == 1, np.isin(small.lobes, (1, 2, 3)))
    assert not (small.infection[small.lungs == 0] > 0).any()


def test_right_is_at_smaller_x_and_upper_lies_above_lower(small: Phantom) -> None:
    centre = {
        n: small.affine[:3, :3] @ np.argwhere(small.lobes == n).mean(axis=0)[::-1]
        + small.affine[:3, 3]
        for n in range(1, 6)
    }
    assert all(centre[n][0] < -20 for n in (1, 2, 3))
    assert all(centre[n][0] > 20 for n in (4, 5))
    assert centre[1][2] > centre[3][2] + 10
    assert centre[4][2] > centre[5][2] + 10
    assert centre[2][1] < centre[3][1] - 10


def test_each_lobe_is_one_piece(small: Phantom) -> None:
    for n in range(1, 6):
        parts, count = ndimage.label(small.lobes == n)
        assert count >= 1
        assert np.bincount(parts.ravel())[1:].max() > 0.985 * (small.lobes == n).sum()


def test_lobes_have_adult_sizes(adult_truth: Truth) -> None:
    truth = adult_truth
    total = truth.row("total").volume_ml
    assert 3200 < total < 6000
    share = {name: truth.row(name).volume_ml / total for name in ("RUL", "RML", "RLL", "LUL")}
    assert 0.12 < share["RUL"] < 0.28
    assert 0.05 < share["RML"] < 0.14
    assert 0.15 < share["RLL"] < 0.33
    assert 0.18 < share["LUL"] < 0.32


def test_tissues_have_their_attenuation(small: Phantom) -> None:
    lung = ndimage.binary_erosion(small.lungs > 0, iterations=2) & (small.infection == 0)
    assert -905 < np.median(small.hu[lung]) < -820
    soft = small.hu[small.lungs == 0]
    assert np.mean((soft > -115) & (soft < -85)) > 0.02
    assert np.mean((soft > 30) & (soft < 70)) > 0.10
    assert np.mean(soft > 350) > 0.002
    assert np.mean(soft < -990) > 0.30


@pytest.mark.parametrize(
    ("place_mm", "low", "high"),
    [
        ((0.0, 0.0, 85.0), -1010, -960),  # trachea
        ((24.0, 30.0, 0.0), 30, 55),  # descending aorta
        ((-70.0, -10.0, -110.0), 45, 70),  # liver
        ((15.0, -30.0, -35.0), 30, 60),  # heart
        ((0.0, -170.0, 0.0), -1000, -1000),  # air in front of the chest
    ],
)
def test_organs_are_where_they_belong(
    place_mm: tuple[float, float, float], low: float, high: float
) -> None:
    spec = PhantomSpec(seed=7, spacing_mm_zyx=(1.0, 1.0, 1.0), noise_hu=0, lesions=None)
    middle = np.median(scan_round(spec, place_mm, 7).hu)
    assert low <= middle <= high


def test_back_of_the_lung_is_denser(small: Phantom) -> None:
    lung = ndimage.binary_erosion(small.lungs > 0, iterations=2) & (small.infection == 0)
    y = np.argwhere(lung)[:, 1]
    hu = small.hu[lung]
    front, back = hu[y < np.percentile(y, 25)], hu[y > np.percentile(y, 75)]
    assert np.median(back) > np.median(front) + 15


def test_fissures_show_on_thin_slices() -> None:
    spec = PhantomSpec(seed=7, spacing_mm_zyx=(1.0, 1.0, 1.0), noise_hu=0, lesions=None)
    cube = scan_round(spec, (80.0, 20.0, 15.0), 60)
    border = (cube.lobes == 4) & ndimage.binary_dilation(cube.lobes == 5)
    inner = ndimage.binary_erosion(cube.lobes == 4, iterations=4)
    assert border.sum() > 500
    assert np.median(cube.hu[border]) > np.median(cube.hu[inner]) + 40


def test_lesions_have_the_attenuation_of_their_class(lesion_cubes: list[Phantom]) -> None:
    ranges = {1: (-700, -300), 2: (-100, 60)}
    for cube in lesion_cubes:
        code = int(cube.infection.max())
        core = ndimage.binary_erosion(cube.infection == code, iterations=3)
        low, high = ranges[code]
        assert low <= np.median(cube.hu[core]) <= high


@pytest.fixture(scope="module")
def lesion_cubes() -> list[Phantom]:
    """One ground-glass and one dense lesion over 2 ml, each alone in a patient, at 1 mm."""
    base = PhantomSpec(seed=7, spacing_mm_zyx=(1.0, 1.0, 1.0), noise_hu=0)
    lesions = (
        LesionSpec("ggo", (-85.0, 60.0, -20.0), (19.0, 16.0, 13.0), -500.0, 1),
        LesionSpec("consolidation", (90.0, 50.0, -45.0), (12.0, 11.0, 9.0), 10.0, 2),
    )
    return [
        scan_round(replace(base, lesions=(one,)), one.centre_mm, 72 if one.kind == "ggo" else 52)
        for one in lesions
    ]


def test_lesion_volume_in_voxels_meets_the_analytic_one(lesion_cubes: list[Phantom]) -> None:
    for cube in lesion_cubes:
        truth = cube.truth
        (lesion,) = truth.lesions
        voxels = float((cube.infection > 0).sum()) * voxel_ml(cube)
        assert lesion.volume_ml > 2
        assert voxels == pytest.approx(lesion.volume_ml, rel=0.03)
        assert lesion.volume_error_ml < 0.01 * lesion.volume_ml
        assert truth.row(lesion.lobe).infected_ml == pytest.approx(lesion.volume_ml)
        where = np.argwhere(cube.infection > 0).mean(axis=0)[::-1]
        found = cube.affine[:3, :3] @ where + cube.affine[:3, 3]
        assert np.linalg.norm(found - np.array(lesion.centre_mm)) < 0.5


def label_volumes(spec: PhantomSpec) -> dict[int, float]:
    """Volume (ml) per lobe label from voxel centres only, without painting."""
    patient = Patient(spec)
    grid = Grid(*spec.grid())
    lobes = np.zeros(grid.shape, np.uint8)
    for blocks in grid.slabs():
        label(patient, [], grid, blocks, lambda b: grid.points(b, divided=False), lobes, None)
    counts = np.bincount(lobes.ravel(), minlength=6)
    return {n: float(counts[n]) * grid.voxel_ml for n in range(1, 6)}


def test_lobe_volumes_in_voxels_converge_to_the_analytic_ones(child_truth: Truth) -> None:
    spec = replace(SMALL, lesions=None)
    truth = child_truth
    fine = label_volumes(replace(spec, spacing_mm_zyx=(1.0, 1.0, 1.0)))
    thick = label_volumes(replace(spec, spacing_mm_zyx=(4.0, 3.0, 3.0)))
    for n, name in enumerate(("RUL", "RML", "RLL", "LUL", "LLL"), start=1):
        row = truth.row(name)
        assert fine[n] == pytest.approx(row.volume_ml, rel=0.01)
        assert thick[n] == pytest.approx(row.volume_ml, rel=0.05)
        assert row.volume_error_ml < 0.005 * row.volume_ml
    assert sum(fine.values()) == pytest.approx(truth.row("total").volume_ml, rel=0.002)


def test_truth_adds_up(small: Phantom) -> None:
    truth = small.truth
    for column in ("volume_ml", "infected_ml", "ggo_ml", "consolidation_ml"):
        lobes = [getattr(truth.row(n), column) for n in ("RUL", "RML", "RLL", "LUL", "LLL")]
        sides = [getattr(truth.row(n), column) for n in ("right", "left")]
        total = getattr(truth.row("total"), column)
        assert sum(lobes) == pytest.approx(total)
        assert sum(sides) == pytest.approx(total)
    row = truth.row("total")
    assert sum(lesion.volume_ml for lesion in truth.lesions) == pytest.approx(row.infected_ml)
    assert row.infected_percent == pytest.approx(100 * row.infected_ml / row.volume_ml)


def test_turned_and_reversed_axes_show_the_same_voxels() -> None:
    plain = scan_round(replace(COARSE, spacing_mm_zyx=(3.0, 3.0, 3.0)), (-60.0, 30.0, -30.0), 14)
    turned_axes = ((0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    spec = replace(COARSE, spacing_mm_zyx=(3.0, 3.0, 3.0), direction=turned_axes)
    turned = scan_round(spec, (-60.0, 30.0, -30.0), 14)

    def back(array: np.ndarray) -> np.ndarray:
        # Turned indices (x, y, z) run along y, z and -x of the plain grid.
        return array.transpose(1, 2, 0)[:, :, ::-1]

    for name in ("lobes", "lungs", "infection"):
        assert np.array_equal(back(getattr(turned, name)), getattr(plain, name)), name
    assert np.abs(back(turned.hu).astype(int) - plain.hu).max() <= 1


def test_a_shift_by_whole_voxels_changes_nothing() -> None:
    spec = replace(COARSE, spacing_mm_zyx=(3.0, 3.0, 3.0))
    first = scan_round(spec, (-60.0, 30.0, -30.0), 12)
    second = scan_round(spec, (-54.0, 36.0, -24.0), 12)
    assert np.array_equal(first.lobes[2:, 2:, 2:], second.lobes[:-2, :-2, :-2])
    assert np.array_equal(first.infection[2:, 2:, 2:], second.infection[:-2, :-2, :-2])
    gap = first.hu[2:, 2:, 2:].astype(int) - second.hu[:-2, :-2, :-2]
    assert np.abs(gap).max() <= 1


def test_oblique_grid_shows_the_same_patient(child_truth: Truth) -> None:
    a, b = np.deg2rad(17), np.deg2rad(-11)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    (a, b, c), (d, e, f), (g, h, i) = (about_z @ about_x).tolist()
    turned = ((a, b, c), (d, e, f), (g, h, i))
    spec = replace(SMALL, spacing_mm_zyx=(3.0, 2.0, 2.6), direction=turned)
    oblique = label_volumes(replace(spec, lesions=None))
    for n, name in enumerate(("RUL", "RML", "RLL", "LUL", "LLL"), start=1):
        assert oblique[n] == pytest.approx(child_truth.row(name).volume_ml, rel=0.02)


def test_thick_slices_average_what_thin_ones_show() -> None:
    spec = replace(COARSE, spacing_mm_zyx=(1.0, 2.0, 2.0), shape_zyx=(20, 40, 40))
    thin = make_phantom(replace(spec, origin_mm=(-110.0, 10.0, -79.5)))
    spec = replace(spec, spacing_mm_zyx=(5.0, 2.0, 2.0), shape_zyx=(4, 40, 40))
    thick = make_phantom(replace(spec, origin_mm=(-110.0, 10.0, -77.5)))
    mean = thin.hu.reshape(4, 5, 40, 40).mean(axis=1)
    assert np.abs(thick.hu - mean).mean() < 15
    assert abs(float(thick.hu.mean() - mean.mean())) < 4


def test_mirrored_patient_is_the_mirror_image(small: Phantom) -> None:
    mirrored = make_phantom(replace(SMALL, mirror=True))
    assert np.abs(mirrored.hu[:, :, ::-1].astype(int) - small.hu).max() <= 1
    assert np.array_equal(mirrored.infection[:, :, ::-1], small.infection)
    assert np.array_equal(mirrored.lungs[:, :, ::-1], np.array([0, 2, 1])[small.lungs])
    names = np.array([0, 4, 4, 5, 1, 3])
    assert np.array_equal(mirrored.lobes[:, :, ::-1], names[small.lobes])
    plain, swapped = small.truth, mirrored.truth
    assert swapped.row("left").volume_ml == pytest.approx(plain.row("right").volume_ml, rel=5e-3)
    assert swapped.row("right").infected_ml == pytest.approx(
        plain.row("left").infected_ml, rel=5e-3, abs=0.01
    )
    with pytest.raises(KeyError):
        swapped.row("RML")


def test_a_further_lesion_changes_its_own_lobe_only() -> None:
    before = place_lesions(SMALL, 2)
    assert place_lesions(SMALL, 4)[:2] == before
    extra = LesionSpec("ggo", (50.0, 25.0, -20.0), (8.0, 8.0, 6.0), -500.0, 99)
    first = measure_truth(replace(SMALL, lesions=before))
    second = measure_truth(replace(SMALL, lesions=(*before, extra)))
    changed = {row.name for row in second.rows if row != first.row(row.name)}
    (lobe,) = {entry.lobe for entry in second.lesions} & {"LUL", "LLL"} & changed
    assert changed == {lobe, "left", "total"}


@pytest.mark.parametrize("lesions", [None, 0, ()])
def test_a_healthy_chest_has_no_lesion(lesions: int | tuple[()] | None) -> None:
    spec = replace(COARSE, lesions=lesions, spacing_mm_zyx=(4.0, 4.0, 4.0))
    ill = scan_round(replace(spec, lesions=12), (-90.0, 50.0, -50.0), 20)
    healthy = scan_round(spec, (-90.0, 50.0, -50.0), 20)
    assert ill.infection.any()
    assert not healthy.infection.any()
    assert np.median(healthy.hu[ill.infection > 0]) < -700


def test_truth_of_a_healthy_chest_is_clean(child_truth: Truth) -> None:
    assert child_truth.row("total").infected_percent == 0
    assert child_truth.lesions == ()


def test_a_lesion_outside_the_lungs_is_nothing() -> None:
    lost = LesionSpec("ggo", (0.0, -150.0, 0.0), (9.0, 9.0, 9.0), -500.0)
    assert measure_truth(replace(SMALL, lesions=(lost,))).lesions == ()


def test_lesions_prefer_the_pleura_the_back_and_the_bases() -> None:
    spec = PhantomSpec(seed=7)
    patient = Patient(spec)
    centres = np.array([one.centre_mm for one in place_lesions(spec, 60)])
    depth = -patient.lung_field(patient.at(centres))
    assert np.median(depth) < 12
    assert np.mean(centres[:, 1] > 0) > 0.6
    assert np.mean(centres[:, 2] < 0) > 0.5
