"""``covid-lesion-seg export`` as a user meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from CovidLesionSegLib.cli import main
from CovidLesionSegLib.commands.outputs import write_outputs
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.seg_nrrd import write_segmentation
from CovidLesionSegLib.export.segments import segment_definition
from Testing.support.dicom_job import IDENTITY, dicom_job

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom", reason="DICOM export needs highdicom")


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("series")


@pytest.fixture(scope="module")
def job(series: Path) -> ExportJob:
    return dicom_job(series)


@pytest.fixture(scope="module")
def result(job: ExportJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("result")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("CovidLesionSegLib.mrml.scene_file.scene_support", lambda: False)
        write_outputs(job.result, folder)
    return folder


def export(result: Path, names: str, folder: Path, *more: str) -> int:
    return main(["export", str(result), "--format", names, "-o", str(folder), *more])


def test_several_formats_with_the_series(
    result: Path, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(result, "dicom-seg, dicom-sr,nifti", tmp_path, "--ct", str(series)) == 0
    told = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(told) == sorted(tmp_path.iterdir())
    seg = pydicom.dcmread(tmp_path / "covid-lesion-seg.seg.dcm")
    assert seg.PatientName == ""


def test_identified_and_named_by_the_user(result: Path, series: Path, tmp_path: Path) -> None:
    more = ("--ct", str(series), "--identified", "--name", "case-7")
    assert export(result, "dicom-seg", tmp_path, *more) == 0
    seg = pydicom.dcmread(tmp_path / "case-7.seg.dcm")
    assert seg.PatientID == IDENTITY["PatientID"]


def test_label_maps_and_their_legend(result: Path, job: ExportJob, tmp_path: Path) -> None:
    assert export(result, "nifti", tmp_path) == 0
    legend = json.loads((tmp_path / "covid-lesion-seg-labels.json").read_text())
    layers = job.result.layers
    assert len(legend["files"]) == 4
    for name, entries in legend["files"].items():
        image = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name)))
        for entry in entries:
            definition = segment_definition(entry["id"])
            expected = layers[definition.layer]
            assert expected is not None
            np.testing.assert_array_equal(
                image == entry["label"], job.result.ct.to_input_grid(expected) == definition.label
            )
            assert entry["codes"]["type"]["value"] == definition.type.value


def test_a_corrected_segmentation_becomes_semiautomatic(
    result: Path, series: Path, job: ExportJob, tmp_path: Path
) -> None:
    infection = job.result.infection.copy()
    infection[3] = 0
    folder = tmp_path / "result"
    folder.mkdir()
    for path in result.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    write_segmentation(folder / "segmentation.seg.nrrd", replace(job.result, infection=infection))
    assert export(folder, "dicom-seg", tmp_path / "out", "--ct", str(series)) == 0
    seg = pydicom.dcmread(tmp_path / "out" / "covid-lesion-seg.seg.dcm")
    types = {item.SegmentLabel: item.SegmentAlgorithmType for item in seg.SegmentSequence}
    assert types["Infection"] == "SEMIAUTOMATIC"
    assert types["Left lung"] == "AUTOMATIC"


@pytest.mark.parametrize(
    ("names", "more", "told"),
    [
        ("dicom-seg", (), "Give their folder with --ct"),
        ("mrb", (), "It needs the CT"),
        ("something", (), "Choose among dicom-seg"),
        (",", (), "Choose among dicom-seg"),
    ],
)
def test_what_is_not_possible_is_explained(
    names: str,
    more: tuple[str, ...],
    told: str,
    result: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert export(result, names, tmp_path, *more) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_replaced_only_with_force(result: Path, tmp_path: Path) -> None:
    assert export(result, "csv", tmp_path) == 0
    assert export(result, "csv", tmp_path) == 2
    assert export(result, "csv", tmp_path, "--force") == 0


def test_a_folder_without_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(tmp_path / "nowhere", "csv", tmp_path) == 2
    told = capsys.readouterr().err
    assert "There is no result.json" in told
    assert "nowhere" in told
