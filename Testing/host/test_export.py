"""The export section: formats, refusals in their own words, memory, and nothing overwritten."""

from __future__ import annotations

import json
import shutil
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from CovidLesionSegLib.engine.result_json import result_to_dict
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.export.publish import DEFAULT_STEM
from CovidLesionSegLib.export.seg_nrrd import read_segmentation
from CovidLesionSegLib.mrml.run_nodes import addRunNodes
from CovidLesionSegLib.mrml.scene import addResult
from Testing.host.application import Host
from Testing.support.dicom_job import IDENTITY, dicom_job, identified_series
from Testing.support.review_result import reviewable_result
from Testing.support.seg_decoding import decoded_by_highdicom, masks_of


@pytest.fixture
def result(host: Host) -> Any:
    """A result in review with the export section open; the segmentation node."""
    host.addCt(reviewable_result().ct)
    node = host.segment()
    host.ui.exportSection.collapsed = False
    return node


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that the user chooses."""
    from CovidLesionSegLib.app.dialogs import Dialogs

    monkeypatch.setattr(Dialogs, "chooseFolder", lambda *_: str(tmp_path))
    return tmp_path


def choose(host: Host, *keys: str) -> None:
    """Tick these formats and no others."""
    for key, box in host.panel.export._boxes.items():
        box.setChecked(key in keys)


def exported(folder: Path) -> Path:
    """The one new folder of an export."""
    (made,) = folder.iterdir()
    return made


def test_chosen_formats_are_written_into_a_folder_of_their_own(
    host: Host, result: Any, folder: Path
) -> None:
    host.ui.lesionTable.selectRow(0)
    host.ui.rejectButton.click()
    choose(host, "seg-nrrd", "nifti", "review", "stl", "obj")
    host.export()
    made = exported(folder)
    assert made.name.startswith("covid-lesion-seg-")
    assert str(made) in host.ui.exportLabel.text
    names = {path.name for path in made.iterdir()}
    endings = [".seg.nrrd", ".nii.gz", ".lesions.csv", ".review-log.csv", ".obj", ".mtl"]
    endings += ["_Infection.stl", "_Right lung.stl"]
    for ending in endings:
        assert DEFAULT_STEM + ending in names
    stored = read_segmentation(made / f"{DEFAULT_STEM}.seg.nrrd")
    session = host.panel.review.session
    voxels = session.context.ct.to_input_grid(session.book.infection)
    assert stored.mask_kji("infection").sum() == voxels.sum()
    assert result.GetName().startswith("Chest CT infection")
    assert "rejected" in (made / f"{DEFAULT_STEM}.lesions.csv").read_text()
    assert "reject" in (made / f"{DEFAULT_STEM}.review-log.csv").read_text()


def test_the_scene_is_written_only_when_the_patient_may_be_named(
    host: Host, result: Any, folder: Path
) -> None:
    box = host.panel.export._boxes["mrb"]
    assert not box.enabled
    assert "patient" in box.toolTip
    host.ui.identifiedCheckBox.setChecked(True)
    assert box.enabled
    choose(host, "mrb")
    host.export()
    with zipfile.ZipFile(exported(folder) / f"{DEFAULT_STEM}.mrb") as bundle:
        names = {Path(name).suffix for name in bundle.namelist()}
    assert {".mrml", ".nrrd"} <= names
    assert host.scene.GetNodeByID(result.GetID()) is not None


@pytest.mark.usefixtures("result")
def test_a_second_export_overwrites_nothing(host: Host, folder: Path) -> None:
    choose(host, "nifti")
    host.export()
    host.export()
    assert len(list(folder.iterdir())) == 2


def test_an_edit_of_the_last_moment_is_exported_and_shown(
    host: Host, result: Any, folder: Path
) -> None:
    from CovidLesionSegLib.mrml.segment_voxels import setMaskOfSegment

    session = host.panel.review.session
    mask = session.book.infection.copy()
    mask[5:9, 20:26, 20:28] = 1
    setMaskOfSegment(result, "infection", mask, session.context.ct)
    choose(host, "csv")
    host.export()
    assert "edited" in host.ui.summaryLabel.text
    assert "edited" in (exported(folder) / f"{DEFAULT_STEM}.lobes.csv").read_text()


@pytest.mark.usefixtures("result", "folder")
def test_formats_are_remembered(host: Host) -> None:
    from CovidLesionSegLib.app.memory import recall

    choose(host, "nifti", "stl")
    assert recall("ExportFormats", None) == ["nifti", "stl"]
    choose(host)
    assert not host.ui.exportButton.enabled
    assert host.ui.exportButton.toolTip == "Choose a format above"


@pytest.mark.usefixtures("result")
def test_what_cannot_be_written_says_why(host: Host) -> None:
    export = host.panel.export
    job = export._job()
    dicom = [key for key in export._boxes if key.startswith("dicom")]
    assert dicom
    for key in dicom:
        assert not export._boxes[key].enabled
        assert export._boxes[key].toolTip == export._formats[key].unavailable(job)
    assert export._boxes["report"].enabled


@pytest.mark.usefixtures("result")
def test_a_failed_export_is_a_sentence_and_leaves_nothing(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CovidLesionSegLib.errors import CovidLesionSegError

    def fail(*_arguments: object) -> None:
        raise CovidLesionSegError("output-not-written", "The disk is full.", "Free some space.")

    choose(host, "nifti")
    formats = dict(host.panel.export._formats)
    from dataclasses import replace

    formats["nifti"] = replace(formats["nifti"], write=fail)
    monkeypatch.setattr(host.panel.export, "_formats", formats)
    assert host.export() == "The disk is full. Free some space."
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("result")
def test_training_case(host: Host, folder: Path) -> None:
    from training.data.volumes import find_volumes, load_volume

    host.ui.lesionTable.selectRow(0)
    host.ui.rejectButton.click()
    host.ui.trainingButton.click()
    host.waitForExport()
    (files,) = find_volumes(folder)
    case = load_volume(files)
    session = host.panel.review.session
    assert np.array_equal(case.ct.hu, session.context.ct.hu)
    assert np.array_equal(case.infection, session.book.infection)
    assert case.lung is not None
    assert b"Chest CT" not in files.ct.read_bytes()


@pytest.mark.usefixtures("result")
def test_dicom_files_come_from_the_database(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    from CovidLesionSegLib.app.exportPanel import sourceFiles

    paths = {uid: tmp_path / f"{uid}.dcm" for uid in ("1.2", "1.3")}
    for path in paths.values():
        path.write_bytes(b"")

    class Database:
        def fileForInstance(self, uid: str) -> str:
            return str(paths.get(uid, ""))

    node = host.ui.inputSelector.currentNode()
    assert sourceFiles(node) == ()
    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    node.SetAttribute("DICOM.instanceUIDs", "1.2 1.3")
    assert sourceFiles(node) == tuple(map(str, paths.values()))
    job = host.panel.export._job()
    assert job.result.ct.provenance.source == "dicom"
    assert job.patient is None
    node.SetAttribute("DICOM.instanceUIDs", "1.2 1.9")
    assert sourceFiles(node) == ()
    assert json.dumps(host.asked) == "[]"


def dicom_ct(host: Host, ct: CtVolume, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The volume node that Slicer's DICOM module makes of a series, and its database."""
    import pydicom
    import slicer

    files = {
        str(pydicom.dcmread(name, stop_before_pixels=True).SOPInstanceUID): name
        for name in ct.provenance.files
    }

    class Database:
        def fileForInstance(self, uid: str) -> str:
            return files.get(uid, "")

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    node = host.addCt(ct, "3: THORAX")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(host.scene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemUID(item, "DICOM", ct.provenance.series_instance_uid)
    return node


@pytest.mark.parametrize("identified", [False, True])
def test_a_dicom_series_gets_a_dicom_segmentation(
    host: Host,
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    identified: bool,
) -> None:
    pytest.importorskip("highdicom")
    import pydicom

    result = dicom_job(tmp_path_factory.mktemp("ct"), identified_series("oblique")).result
    node = dicom_ct(host, result.ct, monkeypatch)
    nodes = addResult(host.scene, result, node)
    addRunNodes(host.scene, result, nodes, result_to_dict(result, {"opacity": "opacity.npy"}))
    host.ui.resultSelector.setCurrentNode(nodes.segmentation)
    host.ui.exportSection.collapsed = False
    host.ui.identifiedCheckBox.setChecked(identified)
    choose(host, "dicom-seg", "dicom-sr")
    host.export()
    path = exported(folder) / f"{DEFAULT_STEM}.seg.dcm"
    assert (exported(folder) / f"{DEFAULT_STEM}.sr.dcm").is_file(), host.ui.exportLabel.text
    found = decoded_by_highdicom(path, result.ct)
    for name, mask in masks_of(result).items():
        np.testing.assert_array_equal(found[name], mask, err_msg=name)
    patient = str(pydicom.dcmread(path, stop_before_pixels=True).PatientName)
    assert (patient == str(IDENTITY["PatientName"])) == identified


@pytest.mark.usefixtures("result")
def test_cancel_leaves_nothing_behind(host: Host, folder: Path) -> None:
    import slicer

    choose(host, "nifti", "report", "csv")
    host.ui.exportButton.click()
    host.wait(lambda: host.panel.export.run._process is not None)
    assert host.ui.exportButton.text == "Cancel"
    assert not host.ui.reviewSection.enabled
    process = host.panel.export.run._process
    start = time.monotonic()
    host.ui.exportButton.click()
    assert time.monotonic() - start < 2.0
    host.wait(lambda: process.processId == 0)
    assert "nothing was written" in host.ui.exportLabel.text
    assert list(folder.iterdir()) == []
    temporary = Path(slicer.app.temporaryPath)
    assert not list(temporary.rglob("*.npy"))
    assert host.ui.exportButton.text == "Export..."
    assert host.ui.reviewSection.enabled
    assert host.panel.export.run.isBusy is False


@pytest.mark.usefixtures("result")
def test_the_application_answers_while_files_are_written(host: Host, folder: Path) -> None:
    choose(host, "nifti", "report", "seg-nrrd")
    shown: list[str] = []
    host.ui.exportButton.click()
    while host.panel.export.run.isBusy:
        host.qtApplication.processEvents()
        shown.append(str(host.ui.exportLabel.text))
        time.sleep(0.005)
    assert "Writing: Gathering the result" in shown
    assert "Writing: Segmentation for 3D Slicer" in shown
    # The worker wrote while events were handled here.
    assert len(shown) > 20
    assert "files in" in host.ui.exportLabel.text
    assert not host.ui.exportProgressBar.isVisibleTo(host.ui.exportSection)
    assert (exported(folder) / f"{DEFAULT_STEM}.report.html").is_file()


@pytest.mark.usefixtures("result")
@pytest.mark.parametrize("where", ["gather", "write"])
def test_an_unexpected_error_says_what_to_do(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from dataclasses import replace

    from CovidLesionSegLib.app import exportPanel

    def fail(*_arguments: object) -> None:
        raise KeyError("nobody expects this")

    choose(host, "seg-nrrd", "csv")
    if where == "gather":
        monkeypatch.setattr(exportPanel, "exportJob", fail)
    else:
        formats = dict(host.panel.export._formats)
        formats["seg-nrrd"] = replace(formats["seg-nrrd"], write=fail)
        monkeypatch.setattr(host.panel.export, "_formats", formats)
    text = host.export()
    assert "The export failed (KeyError" in text
    assert "Nothing was written" in text
    assert "color" in host.ui.exportLabel.styleSheet
    assert host.ui.exportButton.enabled
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("result")
def test_a_worker_that_dies_is_told(host: Host, folder: Path) -> None:
    choose(host, "csv")
    usual = host.panel.export.run.command
    host.panel.export.run.command = [sys.executable, "-c", "raise SystemExit(9)"]
    try:
        assert "ended unexpectedly" in host.export()
    finally:
        host.panel.export.run.command = usual
    assert list(folder.iterdir()) == []


def test_an_edit_while_files_are_written_is_noticed(host: Host, result: Any, folder: Path) -> None:
    from CovidLesionSegLib.mrml.segment_voxels import setMaskOfSegment

    session = host.panel.review.session
    choose(host, "csv")
    host.ui.exportButton.click()
    host.wait(lambda: host.panel.export.run._process is not None)
    mask = session.book.infection.copy()
    mask[5:9, 20:26, 20:28] = 1
    setMaskOfSegment(result, "infection", mask, session.context.ct)
    assert "edited while it was written" in host.waitForExport()
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("result")
def test_closing_the_scene_ends_an_export(host: Host, folder: Path) -> None:
    choose(host, "csv")
    host.ui.exportButton.click()
    host.wait(lambda: host.panel.export.run._process is not None)
    host.scene.Clear(0)
    assert not host.panel.export.run.isBusy
    assert list(folder.iterdir()) == []


def test_another_result_ends_an_export_and_says_so(host: Host, result: Any, folder: Path) -> None:
    choose(host, "csv")
    host.ui.exportButton.click()
    host.wait(lambda: host.panel.export.run._process is not None)
    assert host.panel.review.session.node is result
    host.panel._open(result)
    assert not host.panel.export.run.isBusy
    assert "nothing was written" in host.ui.exportLabel.text
    assert host.ui.exportButton.text == "Export..."
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("result")
def test_a_folder_that_goes_away_leaves_the_panel_usable(host: Host, folder: Path) -> None:
    choose(host, "csv")
    host.ui.exportButton.click()
    host.wait(lambda: host.panel.export.run._process is not None)
    shutil.rmtree(exported(folder))
    host.ui.exportButton.click()
    assert "nothing was written" in host.ui.exportLabel.text
    assert host.ui.reviewSection.enabled
