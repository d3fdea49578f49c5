"""A result comes back from its folder as it was, or as a person has made it since."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import nrrd
import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.commands.outputs import write_outputs
from CovidLesionSegLib.engine.definitions import CONVENTIONS, DEFINITIONS_VERSION
from CovidLesionSegLib.engine.opacity import split_opacity
from CovidLesionSegLib.engine.postprocess import find_infection
from CovidLesionSegLib.engine.quantify import Quantifier
from CovidLesionSegLib.engine.result import Lobe, Opacity, SegmentationResult
from CovidLesionSegLib.engine.result_json import result_to_dict
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from CovidLesionSegLib.engine.writers import write_map
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.export import result_folder
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.report_model import Facts
from CovidLesionSegLib.export.report_provenance import provenance_section
from CovidLesionSegLib.export.result_folder import read_export_job
from CovidLesionSegLib.export.review_files import write_lesions_csv
from CovidLesionSegLib.export.seg_nrrd import write_segmentation
from CovidLesionSegLib.export.tables import TableSource, lobes_table_to_dict
from Testing.support.review_result import reviewable_result


@pytest.fixture(scope="module")
def result() -> SegmentationResult:
    made = reviewable_result()
    return replace(made, ct=replace(made.ct, provenance=Provenance("nifti", "chest")))


@pytest.fixture(scope="module")
def written(result: SegmentationResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a result; the scene is left out, it has tests of its own."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("CovidLesionSegLib.mrml.scene_file.scene_support", lambda: False)
        write_outputs(result, folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "out"))


@pytest.fixture
def ct_file(result: SegmentationResult, tmp_path: Path) -> Path:
    return write_map(tmp_path / "other-name.nii.gz", result.ct.hu, result.ct)


def _same(job: ExportJob, result: SegmentationResult) -> None:
    for name, labels in result.layers.items():
        np.testing.assert_array_equal(job.result.layers[name], labels)
    np.testing.assert_array_equal(job.result.prediction.infection, result.prediction.infection)
    read, written = (result_to_dict(one, {}) for one in (job.result, result))
    for values in (read, written):
        values.pop("timings_s")
        values.pop("warnings")
    assert read == written


def test_without_the_ct_everything_but_its_voxels_comes_back(
    folder: Path, result: SegmentationResult
) -> None:
    job = read_export_job(folder)
    assert not job.has_ct
    assert not job.edited_layers
    _same(job, result)


def test_with_the_ct_its_voxels_come_back_too(
    folder: Path, ct_file: Path, result: SegmentationResult
) -> None:
    job = read_export_job(folder / "result.json", ct_file)
    assert job.has_ct
    assert job.result.ct.provenance.files == (str(ct_file),)
    np.testing.assert_array_equal(job.result.ct.hu, result.ct.hu)
    _same(job, result)


def test_the_ct_is_found_under_its_recorded_name(folder: Path, ct_file: Path) -> None:
    ct_file.rename(ct_file.with_name("chest.nii.gz"))
    assert read_export_job(folder).has_ct


def test_another_ct_is_refused(folder: Path, result: SegmentationResult, tmp_path: Path) -> None:
    hu = result.ct.hu.copy()
    hu[5, 5, 5] += 1
    other = write_map(tmp_path / "other.nii.gz", hu, result.ct)
    with pytest.raises(InputError) as caught:
        read_export_job(folder, other)
    assert caught.value.code == "ct-mismatch"


def test_an_edited_segmentation_is_counted_again(
    folder: Path, ct_file: Path, result: SegmentationResult
) -> None:
    infection = result.infection.copy()
    infection[10:16, 20:30, 20:30] |= result.anatomy.lungs[10:16, 20:30, 20:30] > 0
    assert not np.array_equal(infection, result.infection)
    write_segmentation(folder / "segmentation.seg.nrrd", replace(result, infection=infection))
    with pytest.raises(InputError) as caught:
        read_export_job(folder)
    assert caught.value.code == "ct-needed"

    job = read_export_job(folder, ct_file)

    assert job.edited_layers == {"infection"}
    total = job.result.quantification.row("total")
    expected = np.count_nonzero((infection > 0) & (result.anatomy.lungs > 0))
    assert total.measures["infected_ml"].value == pytest.approx(
        expected * result.ct.voxel_volume_ml
    )
    assert "edited" in total.flags
    assert job.result.opacity is not None
    np.testing.assert_array_equal(job.result.opacity > 0, infection > 0)
    assert sum(lesion.volume_ml for lesion in job.result.lesions) == pytest.approx(
        np.count_nonzero(infection) * result.ct.voxel_volume_ml
    )


def _computed(made: SegmentationResult) -> SegmentationResult:
    """Return a result whose infection is what the engine makes of its map."""
    found = find_infection(
        made.ct, made.prediction.infection, made.anatomy.lungs, made.run.threshold
    ).mask
    opacity = split_opacity(made.ct.hu, found)
    return replace(made, infection=found, opacity=opacity, lesions=())


def _with_edit(made: SegmentationResult, folder: Path, edited: SegmentationResult) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("CovidLesionSegLib.mrml.scene_file.scene_support", lambda: False)
        write_outputs(made, folder)
    write_segmentation(folder / "segmentation.seg.nrrd", edited)
    return write_map(folder / "chest.nii.gz", made.ct.hu, made.ct)


def _edited(made: SegmentationResult) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw in healthy lung, and erase what is right of the middle; return also where drawn."""
    infection = made.infection.copy()
    drawn = np.zeros(infection.shape, bool)
    drawn[10:16, 20:26, 54:58] = True
    drawn &= (made.anatomy.lungs > 0) & (made.prediction.infection < 0.01)
    assert drawn.sum() > 20
    infection[:, :, : infection.shape[2] // 2] = 0
    infection[drawn] = 1
    return infection, drawn


def test_what_a_person_drew_or_erased_is_certain(
    result: SegmentationResult, tmp_path: Path
) -> None:
    made = _computed(result)
    infection, drawn = _edited(made)
    edited = replace(made, infection=infection)
    ct_file = _with_edit(made, tmp_path / "out", edited)

    job = read_export_job(tmp_path / "out", ct_file)

    quantifier = Quantifier(made.ct, made.anatomy, made.prediction)
    expected = quantifier.measure(
        infection, job.result.lesions, infection != made.infection, ("edited",)
    )
    assert job.result.quantification == expected
    low, low_before = (
        numbers.row("left-lung").measures["infected_ml"].low
        for numbers in (job.result.quantification, quantifier.measure(made.infection, ()))
    )
    assert low_before is not None
    drawn_ml = drawn.sum() * made.ct.voxel_volume_ml
    assert low == pytest.approx(low_before + drawn_ml, rel=1e-6)


def test_what_was_drawn_is_certain_also_where_the_lungs_were_edited(
    result: SegmentationResult, tmp_path: Path
) -> None:
    made = _computed(result)
    infection, drawn = _edited(made)
    lungs = made.anatomy.lungs.copy()
    lungs[:, :40, :40] = 0
    edited = replace(made, infection=infection, anatomy=replace(made.anatomy, lungs=lungs))
    ct_file = _with_edit(made, tmp_path / "out", edited)

    job = read_export_job(tmp_path / "out", ct_file)

    assert job.edited_layers >= {"infection", "lungs"}
    quantifier = Quantifier(made.ct, replace(made.anatomy, lungs=lungs), made.prediction)
    expected = quantifier.measure(infection, (), drawn).row("left-lung").measures["infected_ml"]
    assert job.result.quantification.row("left-lung").measures["infected_ml"] == expected
    assert job.result.opacity is not None
    np.testing.assert_array_equal(job.result.opacity, split_opacity(made.ct.hu, infection))


def _in_layers_of_their_own(path: Path, masks: Mapping[str, NDArray[np.uint8]]) -> None:
    """Give segments other voxels, each in a layer of its own, as 3D Slicer saves overlaps."""
    voxels, header = nrrd.read(str(path), index_order="C")
    for name, mask in masks.items():
        (key,) = (key for key, value in header.items() if key.endswith("_ID") and value == name)
        header[key.replace("_ID", "_Layer")] = str(voxels.shape[-1])
        header[key.replace("_ID", "_LabelValue")] = "1"
        voxels = np.concatenate([voxels, mask[..., np.newaxis]], axis=-1)
    nrrd.write(str(path), voxels, header, index_order="C")


@pytest.mark.parametrize("overlap", [False, True])
def test_the_numbers_follow_classes_that_a_person_drew(
    result: SegmentationResult, tmp_path: Path, overlap: bool
) -> None:
    made = _computed(result)
    _, drawn = _edited(made)
    infection = np.maximum(made.infection, drawn.astype(np.uint8))
    by_hu = split_opacity(made.ct.hu, infection)
    classes = by_hu.copy()
    lower = np.zeros(infection.shape, bool)
    lower[:10] = infection[:10] > 0
    classes[lower & (by_hu == Opacity.GROUND_GLASS)] = Opacity.CONSOLIDATION
    classes[lower & (by_hu == Opacity.CONSOLIDATION)] = Opacity.GROUND_GLASS
    assert {1, 2} <= set(np.unique(classes[lower]))
    segments = np.where(drawn, np.uint8(0), classes)  # newly infected, and of no class yet
    ct_file = _with_edit(made, tmp_path / "out", replace(made, infection=infection))
    masks = {
        name: ((segments == label) | (overlap & lower)).astype(np.uint8)
        for name, label in (("ground-glass", 1), ("consolidation", 2))
    }
    _in_layers_of_their_own(tmp_path / "out" / "segmentation.seg.nrrd", masks)

    job = read_export_job(tmp_path / "out", ct_file)

    np.testing.assert_array_equal(job.result.opacity, classes)
    for row in job.result.quantification.rows:
        assert {"edited", "edited-classes"} <= set(row.flags)
    measures = job.result.quantification.row("total").measures
    inside = made.anatomy.lungs > 0
    solid = np.count_nonzero((classes == Opacity.CONSOLIDATION) & inside)
    share = measures["consolidation_percent"].value
    assert share == pytest.approx(100 * solid / np.count_nonzero(inside))
    assert share != pytest.approx(
        100 * np.count_nonzero((by_hu == Opacity.CONSOLIDATION) & inside) / inside.sum()
    )


def test_segments_that_follow_the_infection_are_nobodys_handwork(
    result: SegmentationResult, tmp_path: Path
) -> None:
    made = _computed(result)
    infection, _ = _edited(made)
    edited = replace(made, infection=infection, opacity=split_opacity(made.ct.hu, infection))
    ct_file = _with_edit(made, tmp_path / "out", edited)
    job = read_export_job(tmp_path / "out", ct_file)
    assert job.edited_layers == {"infection", "opacity"}
    assert "edited-classes" not in job.result.quantification.row("total").flags
    np.testing.assert_array_equal(job.result.opacity, edited.opacity)


def test_edited_lobes_do_not_call_the_infection_edited(
    folder: Path, ct_file: Path, result: SegmentationResult
) -> None:
    assert result.anatomy.lobes is not None
    lobes = result.anatomy.lobes.copy()
    lobes[lobes == Lobe.RML] = Lobe.RUL
    anatomy = replace(result.anatomy, lobes=lobes)
    write_segmentation(folder / "segmentation.seg.nrrd", replace(result, anatomy=anatomy))

    job = read_export_job(folder, ct_file)

    assert job.edited_layers == {"lobes"}
    assert job.result.anatomy.missing == (Lobe.RML,)
    for row in job.result.quantification.rows:
        assert "edited-anatomy" in row.flags
        assert "edited" not in row.flags
    total = result.quantification.row("total").measures["infected_ml"]
    now = job.result.quantification.row("total").measures["infected_ml"]
    assert now.value == pytest.approx(total.value)
    assert now.low == pytest.approx(total.low, rel=1e-3)


def test_deleted_lobes_are_noticed(folder: Path, ct_file: Path, result: SegmentationResult) -> None:
    anatomy = replace(result.anatomy, lobes=None)
    write_segmentation(folder / "segmentation.seg.nrrd", replace(result, anatomy=anatomy))

    job = read_export_job(folder, ct_file)

    assert job.edited_layers == {"lobes"}
    assert job.result.quantification.row("RUL").measures["infected_ml"].value is None


def test_a_result_of_older_definitions_says_so_until_it_is_counted_again(
    folder: Path, ct_file: Path, result: SegmentationResult
) -> None:
    path = folder / "result.json"
    values = json.loads(path.read_text())
    values["quantification"]["conventions"]["ggo_percent"] = "As it was in version 1."
    path.write_text(json.dumps({**values, "definitions": "1"}))

    job = read_export_job(folder)

    table = job.result.quantification
    assert table.conventions["ggo_percent"] == "As it was in version 1."
    provenance = lobes_table_to_dict(table, job.result.run, TableSource())["provenance"]
    assert provenance["definitions"] == "1"
    assert result_to_dict(job.result, {})["definitions"] == "1"
    (facts,) = provenance_section(job).blocks
    assert isinstance(facts, Facts)
    assert dict(facts.pairs)["Definitions"] == "version 1"

    infection = np.zeros_like(result.infection)
    write_segmentation(folder / "segmentation.seg.nrrd", replace(result, infection=infection))
    edited = read_export_job(folder, ct_file).result.quantification
    assert edited.definitions == DEFINITIONS_VERSION
    assert edited.conventions == CONVENTIONS


def test_the_states_of_a_review_come_back(folder: Path, result: SegmentationResult) -> None:
    first, *others = result.lesions
    reviewed = (replace(first, state="accepted"), *(replace(x, state="rejected") for x in others))
    write_lesions_csv(folder / "lesions.csv", reviewed)

    job = read_export_job(folder)

    assert job.review is not None
    assert job.review.count("accepted") == 1
    assert job.review.count("rejected") == len(others)
    assert [lesion.id for lesion in job.result.lesions] == [first.id]
    assert job.result.lesions[0].volume_ml == pytest.approx(first.volume_ml, rel=1e-5)


def test_a_map_that_is_cut_off_or_of_another_ct_is_not_read(
    folder: Path, result: SegmentationResult
) -> None:
    path = folder / "probability.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as caught:
        read_export_job(folder)
    assert caught.value.code == "result-unreadable"
    shorter = CtVolume.from_array(result.ct.hu[1:], result.ct.affine_lps)
    write_map(path, result.prediction.infection[1:], shorter)
    with pytest.raises(InputError) as caught:
        read_export_job(folder)
    assert caught.value.code == "result-unreadable"


def test_a_case_of_a_batch_without_maps_is_not_called_damaged(folder: Path) -> None:
    path = folder / "result.json"
    values = json.loads(path.read_text())
    del values["files"]["probability"]
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="--maps") as caught:
        read_export_job(folder)
    assert caught.value.code == "result-without-maps"


def test_a_copy_of_the_series_with_new_identifiers_is_the_same_ct(
    folder: Path, result: SegmentationResult, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = folder / "result.json"
    values = json.loads(path.read_text())
    values["ct"]["series_instance_uid"] = "1.2.3"
    path.write_text(json.dumps(values))

    def read(_path: Path, series: str | None = None) -> CtVolume:
        if series is not None:
            raise InputError("dicom-series", "There is no such series.", "")
        return result.ct

    monkeypatch.setattr(result_folder, "read_ct", read)
    assert read_export_job(folder, tmp_path).has_ct


@pytest.mark.parametrize("damage", ["none", "text", "schema", "probability", "segmentation"])
def test_a_damaged_folder_is_said_plainly(folder: Path, damage: str) -> None:
    path = folder / "result.json"
    values = json.loads(path.read_text())
    if damage == "none":
        path.unlink()
    elif damage == "text":
        path.write_text("{")
    elif damage == "schema":
        path.write_text(json.dumps({**values, "schema": "something/else"}))
    else:
        (folder / values["files"][damage]).write_bytes(b"NRRD")
    with pytest.raises(InputError) as caught:
        read_export_job(folder)
    assert caught.value.code in ("result-not-found", "result-unreadable", "segmentation-not-read")
