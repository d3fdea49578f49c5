"""Surface models: closed, at the right place, of the right volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk

from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.mrml.surface_models import surfaces_of, write_obj, write_stl
from Testing.support.results import make_result


def _volume_ml(poly: Any) -> float:
    mass = vtk.vtkMassProperties()
    mass.SetInputData(poly)
    return float(mass.GetVolume()) / 1000.0


def _open_edges(poly: Any) -> int:
    merged = vtk.vtkCleanPolyData()  # STL repeats the corners of every triangle
    merged.SetInputData(poly)
    edges = vtk.vtkFeatureEdges()
    edges.SetInputConnection(merged.GetOutputPort())
    edges.FeatureEdgesOff()
    edges.NonManifoldEdgesOff()
    edges.ManifoldEdgesOff()
    edges.Update()
    return int(edges.GetOutput().GetNumberOfCells())


@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_stl_lies_where_the_segment_lies(degrees: float, tmp_path: Path) -> None:
    result = make_result("severe", degrees=degrees)
    paths = write_stl(ExportJob(result), tmp_path / "x.stl")
    assert [path.name for path in paths][:2] == ["x.stl", "x-ground-glass.stl"]
    expected = {"x.stl": result.infection > 0, "x-right-lung.stl": result.anatomy.lungs == 1}
    for name, mask in expected.items():
        assert b"SPACE=LPS" in (tmp_path / name).read_bytes()[:80]
        reader = vtk.vtkSTLReader()
        reader.SetFileName(str(tmp_path / name))
        reader.Update()
        poly = reader.GetOutput()
        assert _open_edges(poly) == 0
        volume = float(mask.sum()) * result.ct.voxel_volume_ml
        assert _volume_ml(poly) == pytest.approx(volume, rel=0.05)
        centre = vtk.vtkCenterOfMass()
        centre.SetInputData(poly)
        centre.Update()
        index = np.argwhere(mask).mean(axis=0)[::-1]
        lps = result.ct.affine_lps @ [*index, 1.0]
        np.testing.assert_allclose(centre.GetCenter(), lps[:3], atol=12.0)
        low = np.array(poly.GetBounds()[::2])
        corners = np.argwhere(mask)[:, ::-1] @ result.ct.affine_lps[:3, :3].T
        np.testing.assert_allclose(low, corners.min(axis=0) + result.ct.affine_lps[:3, 3], atol=9.0)


def test_triangles_look_outwards() -> None:
    job = ExportJob(make_result("moderate"))
    for surface in surfaces_of(job):
        corners = surface.points_lps_mm[surface.triangles].astype(np.float64)
        # Divergence theorem: positive when the triangles run counter-clockwise from outside.
        signed = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
        assert signed.sum() / 6.0 > 0, surface.segment.id


def test_obj_holds_every_segment_with_its_colour(tmp_path: Path) -> None:
    result = make_result("moderate")
    obj, mtl = write_obj(ExportJob(result), tmp_path / "x.obj")
    text = obj.read_text()
    groups = [line[2:] for line in text.splitlines() if line.startswith("g ")]
    assert {"infection", "right-lung", "LLL"} <= set(groups)
    assert text.startswith("# CovidLesionSeg, SPACE=LPS\nmtllib x.mtl\n")
    assert [line[7:] for line in mtl.read_text().splitlines() if "newmtl" in line] == groups
    reader = vtk.vtkOBJReader()
    reader.SetFileName(str(obj))
    reader.Update()
    points = sum(len(surface.points_lps_mm) for surface in surfaces_of(ExportJob(result)))
    assert reader.GetOutput().GetNumberOfPoints() == points


def test_a_segment_at_the_edge_of_the_ct_is_closed(tmp_path: Path) -> None:
    result = make_result("none")
    result.infection[:2] = 1
    write_stl(ExportJob(result), tmp_path / "x.stl")
    reader = vtk.vtkSTLReader()
    reader.SetFileName(str(tmp_path / "x.stl"))
    reader.Update()
    assert _open_edges(reader.GetOutput()) == 0
