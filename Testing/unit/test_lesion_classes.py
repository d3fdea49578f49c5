"""Ground glass and consolidation by the bundled network, and the command that runs it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.cli import main
from CovidLesionSegLib.commands.outputs import write_outputs
from CovidLesionSegLib.engine.lesion_classes import (
    ClassModel,
    density_features,
    open_class_model,
    split_by_network,
)
from CovidLesionSegLib.engine.quantify import quantify
from CovidLesionSegLib.engine.result import Lobe, Opacity, SegmentationResult
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from CovidLesionSegLib.engine.writers import write_map
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.export.class_table import class_rows
from CovidLesionSegLib.export.seg_nrrd import SOURCE_TAG, read_segmentation
from Testing.support.models import file_tree
from Testing.support.results import make_result

_GLASS_HU, _SOLID_HU = -600, 0
_OWN_NOTE = "The scan is noisy."
Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def model() -> ClassModel:
    return open_class_model()


def _slice(
    hu: NDArray[np.int16], infected: NDArray[np.bool_], model: ClassModel
) -> NDArray[np.int_]:
    """Return the classes of one slice with pixels of 1 mm."""
    ct = CtVolume.from_array(hu[None], np.diag([1.0, 1.0, 5.0, 1.0]), Provenance("nifti", "slice"))
    return split_by_network(ct, infected[None].astype(np.uint8), model)[0].astype(int)


def test_an_even_area_has_its_own_mean_and_no_deviation() -> None:
    infected = np.zeros((40, 50), dtype=bool)
    infected[5:30, 8:40] = True
    hu = np.where(infected, -200, 1000)
    features = density_features(hu, infected, (0.7, 0.9))
    assert features.shape == (infected.sum(), 9)
    assert features[:, [0, 1, 3, 5, 7]] == pytest.approx(0.5, abs=1e-4)
    assert features[:, [2, 4, 6, 8]] == pytest.approx(0.0, abs=5e-3)


def test_a_vessel_in_ground_glass_is_no_consolidation_but_an_area_is(model: ClassModel) -> None:
    infected = np.ones((80, 80), dtype=bool)
    hu = np.full((80, 80), _GLASS_HU, dtype=np.int16)
    hu[40:42, 40:42] = _SOLID_HU
    assert (_slice(hu, infected, model) == Opacity.GROUND_GLASS).all()
    hu[10:40, 10:40] = _SOLID_HU
    called = _slice(hu, infected, model)
    assert (called[15:35, 15:35] == Opacity.CONSOLIDATION).all()
    assert called[60, 60] == Opacity.GROUND_GLASS


def test_what_surrounds_the_infection_changes_nothing(model: ClassModel) -> None:
    rng = np.random.default_rng(1)
    hu = rng.integers(-900, 100, (30, 40)).astype(np.int16)
    infected = rng.random((30, 40)) < 0.7
    infected[[0, -1]] = infected[:, [0, -1]] = True
    alone = _slice(hu, infected, model)
    wide_hu = np.pad(hu, 25, constant_values=900)
    beside = _slice(wide_hu, np.pad(infected, 25), model)
    assert np.array_equal(beside[25:-25, 25:-25], alone)
    assert set(np.unique(alone)) == {0, 1, 2}


def _measured(burden: str, change: Change | None = None) -> SegmentationResult:
    """Return a result whose numbers are counted, not made up."""
    result = make_result(burden)
    lobes = result.anatomy.lobes
    assert lobes is not None
    if change is not None:
        lobes = change(lobes)
    anatomy = replace(result.anatomy, lobes=lobes)
    numbers = quantify(result.ct, result.infection, anatomy, result.prediction, result.lesions)
    return replace(result, anatomy=anatomy, quantification=numbers)


def _without_middle(lobes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(lobes == Lobe.RML, np.uint8(0), lobes)


def _across(lobes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return lobes of which one has spilled into the other lung, as painting may do."""
    spilled = lobes.copy()
    left = np.flatnonzero(lobes == Lobe.LLL)
    spilled.flat[left[::2]] = Lobe.RLL
    return spilled


@pytest.mark.parametrize("change", [None, _across])
@pytest.mark.parametrize("burden", ["none", "severe"])
def test_the_classes_of_a_region_sum_to_its_infection(
    burden: str, change: Change | None, model: ClassModel
) -> None:
    result = _measured(burden, change)
    opacity = split_by_network(result.ct, result.infection, model)
    assert np.array_equal(opacity > 0, result.infection > 0)
    for row in class_rows(result, opacity):
        measures = result.quantification.row(row.region).measures
        assert row.volume_ml == measures["volume_ml"].value
        assert row.ground_glass_ml is not None
        assert row.consolidation_ml is not None
        total = row.ground_glass_ml + row.consolidation_ml
        assert total == pytest.approx(measures["infected_ml"].value, abs=1e-6)


def test_a_missing_lobe_has_no_numbers(model: ClassModel) -> None:
    result = _measured("moderate", _without_middle)
    rows = class_rows(result, split_by_network(result.ct, result.infection, model))
    (row,) = (row for row in rows if row.region == "RML")
    assert row.volume_ml is None
    assert row.consolidation_ml is None
    assert row.hu_consolidation_percent is None


def test_another_model_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        open_class_model("lung-unet-lite")
    assert caught.value.code == "model-wrong-task"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, SegmentationResult]:
    monkeypatch.setattr("CovidLesionSegLib.mrml.scene_file.scene_support", lambda: False)
    result = replace(_measured("severe"), warnings=(_OWN_NOTE,))
    write_outputs(result, tmp_path / "result")
    return tmp_path / "result", result


def test_the_command_writes_segments_and_table(
    folder: tuple[Path, SegmentationResult],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: ClassModel,
) -> None:
    path, result = folder
    ct = tmp_path / f"{result.ct.provenance.name}.nii.gz"
    write_map(ct, result.ct.hu, result.ct)
    out = tmp_path / "out"
    assert main(["classes", str(path), "--ct", str(ct), "-o", str(out)]) == 0
    told = capsys.readouterr()
    assert "mean Dice was" in told.err
    assert _OWN_NOTE not in told.err  # told when the result was made
    assert str(out / "classes.csv") in told.out
    rows = list(csv.DictReader((out / "classes.csv").open(encoding="utf-8")))
    assert [row["region"] for row in rows] == [row.region for row in result.quantification.rows]
    assert {row["class_weights_sha256"] for row in rows} == {model.sha256}
    assert {row["class_model_role"] for row in rows} == {"research"}
    assert {row["ct_sha256"] for row in rows} == {result.ct.digest()}
    written = read_segmentation(out / "classes.seg.nrrd")
    sources = {segment.id: segment.tags[SOURCE_TAG] for segment in written.segments}
    assert sources["consolidation"] == f"{model.id}, research, not reviewed"
    assert sources["infection"] == f"{result.run.model_id}, not reviewed"
    mask = result.ct.orientation.to_lps(written.mask_kji("consolidation"))
    expected = split_by_network(result.ct, result.infection, model) == Opacity.CONSOLIDATION
    assert np.array_equal(mask, expected)


def test_the_result_stays_as_it_is_where_the_classes_are_written_beside_it(
    folder: tuple[Path, SegmentationResult], capsys: pytest.CaptureFixture[str]
) -> None:
    path, result = folder
    # Beside the result, the CT of the recorded name is found without --ct.
    write_map(path.parent / f"{result.ct.provenance.name}.nii.gz", result.ct.hu, result.ct)
    before = file_tree(path)
    assert main(["classes", str(path), "-o", str(path), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    after = file_tree(path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"classes.csv", "classes.seg.nrrd"}


def test_the_command_asks_for_the_ct(
    folder: tuple[Path, SegmentationResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["classes", str(folder[0]), "-o", str(out)]) == 2
    assert "--ct" in capsys.readouterr().err
    assert not out.exists()
