"""`scene.mrb`, written by its own process and read back by MRML."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.seg_nrrd import (
    REFERENCE_GEOMETRY,
    segmentation_header,
    write_segmentation,
)
from CovidLesionSegLib.export.segments import segment_layers
from CovidLesionSegLib.mrml import scene_file
from CovidLesionSegLib.mrml.headless import HeadlessApplication
from CovidLesionSegLib.mrml.scene_file import write_scene
from CovidLesionSegLib.mrml.segmentation_node import addSegmentation
from CovidLesionSegLib.mrml.volume_node import addCtVolume
from Testing.mrml.reading import ijk_to_ras, image_array, nodes_of, segment_mask
from Testing.support.grids import GRIDS
from Testing.support.results import make_result

pytestmark = pytest.mark.mrml


@pytest.fixture(scope="module", params=["lps", "sagittal-oblique"])
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, HeadlessApplication]:
    """A result, and an application that opened the scene written from it."""
    folder = tmp_path_factory.mktemp("scene")
    result = make_result(**GRIDS[request.param])
    write_scene(folder / "scene.mrb", result)
    application = HeadlessApplication.start()
    application.load(folder / "scene.mrb")
    return result, application


def _one(application: HeadlessApplication, class_name: str) -> Any:
    (node,) = nodes_of(application.scene, class_name)
    return node


def test_volumes_come_back(loaded: tuple[Any, HeadlessApplication]) -> None:
    result, application = loaded
    ct, boundary = nodes_of(application.scene, "vtkMRMLScalarVolumeNode")

    assert (ct.GetName(), boundary.GetName()) == ("chest", "Lesion boundary")
    np.testing.assert_array_equal(
        image_array(ct.GetImageData()), result.ct.to_input_grid(result.ct.hu)
    )
    np.testing.assert_array_equal(
        image_array(boundary.GetImageData()),
        result.ct.to_input_grid(result.prediction.boundary).astype(np.float32),
    )
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    for node in (ct, boundary):
        expected = lps_to_ras @ result.ct.input_affine_lps
        np.testing.assert_allclose(ijk_to_ras(node), expected, atol=1e-5)


def test_every_segment_comes_back(loaded: tuple[Any, HeadlessApplication]) -> None:
    result, application = loaded
    node = _one(application, "vtkMRMLSegmentationNode")

    ids = []
    for layer in segment_layers(result):
        labels = result.ct.to_input_grid(layer.labels)
        for definition in layer.segments:
            # A saved segmentation may be cropped; its geometry says where it begins.
            mask, geometry = segment_mask(node, definition.id, labels.shape)
            np.testing.assert_array_equal(mask, labels == definition.label, definition.id)
            ct = nodes_of(application.scene, "vtkMRMLScalarVolumeNode")[0]
            np.testing.assert_allclose(geometry, ijk_to_ras(ct), atol=1e-5)
            segment = node.GetSegmentation().GetSegment(definition.id)
            tag = vtk.reference("")
            segment.GetTag("TerminologyEntry", tag)
            assert (segment.GetName(), str(tag)) == (definition.name, definition.terminology_entry)
            assert segment.GetColor() == pytest.approx(definition.color, abs=1e-5)
            ids.append(definition.id)
    assert node.GetSegmentation().GetNumberOfSegments() == len(ids)
    assert node.GetDisplayNode().GetVisibleSegmentIDs() == ("infection",)


def test_table_and_chart_come_back(loaded: tuple[Any, HeadlessApplication]) -> None:
    result, application = loaded
    table = _one(application, "vtkMRMLTableNode")

    percents = table.GetTable().GetColumnByName("infected_percent")
    assert isinstance(percents, vtk.vtkDoubleArray)
    expected = [row.measures["infected_percent"].value for row in result.quantification.rows]
    assert [percents.GetValue(n) for n in range(8)] == pytest.approx(expected, rel=1e-5)
    assert table.GetColumnUnitLabel("infected_percent") == "%"
    chart = _one(application, "vtkMRMLPlotChartNode")
    assert chart.GetNthPlotSeriesNode(0).GetTableNodeID() == table.GetID()


def test_the_scene_opens_on_the_worst_slice(loaded: tuple[Any, HeadlessApplication]) -> None:
    result, application = loaded
    scene = application.scene
    ct, boundary = nodes_of(scene, "vtkMRMLScalarVolumeNode")

    display = ct.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (1500.0, -600.0)
    assert boundary.GetDisplayNode().GetColorNode().GetName() == "Lesion boundary colors"
    assert boundary.GetDisplayNode().GetColorNode().GetNumberOfColors() == 256
    composites = nodes_of(scene, "vtkMRMLSliceCompositeNode")
    assert len(composites) == 3
    for composite in composites:
        assert composite.GetBackgroundVolumeID() == ct.GetID()
        assert composite.GetForegroundVolumeID() == boundary.GetID()
        assert composite.GetForegroundOpacity() == 0.0
    red = scene.GetNodeByID("vtkMRMLSliceNodeRed")
    assert red.GetOrientation() == "Axial"
    areas = np.count_nonzero(result.infection, axis=(1, 2))
    z = int(areas.argmax())
    y, x = np.argwhere(result.infection[z]).mean(axis=0)
    superior = (result.ct.affine_lps @ [x, y, z, 1.0])[2]
    assert red.GetSliceOffset() == pytest.approx(superior, abs=1e-3)
    layout = _one(application, "vtkMRMLLayoutNode")
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpTableView
    table_view = _one(application, "vtkMRMLTableViewNode")
    assert table_view.GetTableNodeID() == _one(application, "vtkMRMLTableNode").GetID()


def test_all_nodes_lie_in_one_study(loaded: tuple[Any, HeadlessApplication]) -> None:
    _, application = loaded
    hierarchy = application.scene.GetSubjectHierarchyNode()
    study = hierarchy.GetItemByName("Chest CT")

    children = vtk.vtkIdList()
    hierarchy.GetItemChildren(study, children)
    classes = {
        hierarchy.GetItemDataNode(children.GetId(n)).GetClassName()
        for n in range(children.GetNumberOfIds())
    }
    assert hierarchy.IsItemLevel(study, "Study")
    assert classes == {
        "vtkMRMLScalarVolumeNode",
        "vtkMRMLSegmentationNode",
        "vtkMRMLTableNode",
        "vtkMRMLPlotChartNode",
    }


def test_nodes_say_what_made_them(loaded: tuple[Any, HeadlessApplication]) -> None:
    result, application = loaded
    node = _one(application, "vtkMRMLSegmentationNode")

    assert node.GetAttribute("CovidLesionSeg.ModelId") == result.run.model_id
    assert result.run.weights_sha256["inf-net-lite"] in node.GetAttribute(
        "CovidLesionSeg.WeightsSha256"
    )
    assert node.GetAttribute("CovidLesionSeg.CtDigest") == result.ct.digest()
    assert node.GetAttribute("CovidLesionSeg.Role") == "segmentation"


def test_a_case_without_lesions_lobes_or_boundary(tmp_path: Path) -> None:
    result = make_result("none", with_boundary=False, with_lobes=False, with_opacity=False)
    write_scene(tmp_path / "scene.mrb", result)

    application = HeadlessApplication.start()
    application.load(tmp_path / "scene.mrb")

    assert len(nodes_of(application.scene, "vtkMRMLScalarVolumeNode")) == 1
    table = _one(application, "vtkMRMLTableNode").GetTable()
    assert np.isnan(table.GetColumnByName("infected_percent").GetValue(0))
    assert "there are no lobes" in table.GetColumnByName("missing_reason").GetValue(0)


def test_the_writer_reports_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        write_scene(tmp_path / "scene.mrb", make_result(degrees=12.0))

    assert [record.message for record in caplog.records] == []


def test_without_slicer_core_the_hint_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(CovidLesionSegError) as caught:
        write_scene(tmp_path / "scene.mrb", make_result())

    assert caught.value.code == "mrml-extra-missing"
    assert 'pip install "CovidLesionSegLib[mrml]"' in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "program",
    ["import os; os.abort()", "import time; time.sleep(60)", "pass"],
    ids=["crash", "stuck", "silent"],
)
def test_a_failing_writer_leaves_the_old_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    path = tmp_path / "scene.mrb"
    path.write_bytes(b"old")
    start = subprocess.Popen

    def start_program(_command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return start([sys.executable, "-c", program], **options)

    monkeypatch.setattr(subprocess, "Popen", start_program)

    with pytest.raises(CovidLesionSegError) as caught:
        write_scene(path, make_result(), timeout_s=3.0)

    assert caught.value.code == "scene-not-written"
    assert [file.name for file in tmp_path.iterdir()] == ["scene.mrb"]
    assert path.read_bytes() == b"old"


def test_the_archive_names_no_path_of_the_machine(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.mrb", make_result())

    with zipfile.ZipFile(tmp_path / "scene.mrb") as archive:
        for name in archive.namelist():
            assert str(tmp_path).encode() not in archive.read(name), name


def test_importing_mrml_needs_no_qt() -> None:
    code = (
        "import sys, pkgutil, importlib, CovidLesionSegLib.mrml as mrml\n"
        "for module in pkgutil.iter_modules(mrml.__path__):\n"
        "    importlib.import_module('CovidLesionSegLib.mrml.' + module.name)\n"
        "names = {name.split('.')[0].lower() for name in sys.modules}\n"
        "assert not names & {'qt', 'ctk', 'pythonqt', 'pyside6', 'torch'}, names\n"
    )
    package_folder = Path(scene_file.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=package_folder, check=True)


def test_starting_a_writer_imports_no_slicer() -> None:
    code = (
        "import sys, CovidLesionSegLib.mrml.scene_file\n"
        "assert not {'slicer', 'vtk'} & set(sys.modules)\n"
    )
    package_folder = Path(scene_file.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=package_folder, check=True)


def test_the_same_result_gives_the_same_scene(tmp_path: Path) -> None:
    result = make_result(degrees=12.0)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_scene(tmp_path / name / "scene.mrb", result)
    write_segmentation(tmp_path / "segmentation.seg.nrrd", result)

    one, two = (tmp_path / name / "scene.mrb" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".seg.nrrd"))
        assert archive.read(name) == (tmp_path / "segmentation.seg.nrrd").read_bytes()


@pytest.mark.parametrize("grid", GRIDS)
def test_the_geometry_in_the_segmentation_is_slicers(grid: str) -> None:
    result = make_result(**GRIDS[grid])
    application = HeadlessApplication.start()
    node = addSegmentation(
        application.scene, result, addCtVolume(application.scene, result.ct), "Infection"
    )
    theirs = node.GetSegmentation().GetConversionParameter(REFERENCE_GEOMETRY)
    lines = segmentation_header(result).decode().splitlines()
    (ours,) = (line for line in lines if line.startswith("Segmentation_ConversionParameters"))
    ours = ours.split("|")[1]

    def numbers(text: str) -> list[float]:
        return [float(value) for value in text.rstrip(";").split(";")]

    assert numbers(ours) == pytest.approx(numbers(theirs), abs=1e-9)
    assert ours.endswith(";")


def test_a_bundle_without_a_place_for_the_voxels_is_no_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("CovidLesionSegLib.mrml.scene_bundle.data_files", lambda *_: {})

    with pytest.raises(CovidLesionSegError) as caught:
        write_scene(tmp_path / "scene.mrb", make_result())

    assert caught.value.code == "scene-not-written"
    assert list(tmp_path.iterdir()) == []
