"""Surface models of the segments, STL and OBJ, in LPS mm.

VTK alone does it, so that the command line needs no scene; the panel takes the exporter of
Slicer's Segmentations module (`slicer_surfaces`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.masks import bounding_box
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.formats import ExportFormat
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.segments import SegmentDefinition, segment_layers

_SPACE = "CovidLesionSeg, SPACE=LPS"
"""3D Slicer reads the frame from this comment."""

_ITERATIONS, _PASS_BAND = 20, 0.1
"""Of the windowed sinc filter: takes off the voxels' steps and keeps the volume."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface of one segment.

    Attributes:
        segment: Which one.
        points_lps_mm: float32 ``[point, xyz]``.
        triangles: int64 ``[triangle, 3]``, indices of points, counter-clockwise from outside.
    """

    segment: SegmentDefinition
    points_lps_mm: NDArray[np.float32]
    triangles: NDArray[np.int64]


def surfaces_of(job: ExportJob) -> Iterator[Surface]:
    """Yield the smoothed surfaces of all segments that have voxels.

    Args:
        job: What to export.
    """
    for layer in segment_layers(job.result):
        for segment in layer.segments:
            mask = layer.labels == segment.label
            if mask.any():
                points, triangles = _surface(mask, job.result.ct)
                yield Surface(segment, points, triangles)


def write_stl(job: ExportJob, path: Path) -> list[Path]:
    """Write one binary STL per segment: the infection to ``NAME.stl``, others beside it.

    Args:
        job: What to export.
        path: Ends in ``.stl``.

    Returns:
        What was written: ``NAME.stl``, ``NAME-right-lung.stl``, ...

    Raises:
        CovidLesionSegError: ``segmentation-empty``, ``output-not-written``.
    """
    written = []
    for surface in surfaces_of(job):
        kind = surface.segment.id
        target = path if kind == "infection" else path.with_name(f"{path.stem}-{kind}.stl")
        with atomic_path(target) as partial, partial.open("wb") as file:
            _write_stl(file, surface)
        written.append(target)
    return _not_empty(written)


def write_obj(job: ExportJob, path: Path) -> list[Path]:
    """Write all segments into one OBJ, a named group each, with their colours beside it.

    Args:
        job: What to export.
        path: Ends in ``.obj``.

    Returns:
        ``NAME.obj`` and ``NAME.mtl``.

    Raises:
        CovidLesionSegError: ``segmentation-empty``, ``output-not-written``.
    """
    colors = path.with_suffix(".mtl")
    materials, first = [], 1
    with atomic_path(path) as partial, partial.open("w", encoding="ascii") as file:
        file.write(f"# {_SPACE}\nmtllib {colors.name}\n")
        for surface in surfaces_of(job):
            materials.append(surface.segment)
            file.write(f"g {surface.segment.id}\nusemtl {surface.segment.id}\n")
            np.savetxt(file, surface.points_lps_mm, fmt="v %.4f %.4f %.4f")
            np.savetxt(file, surface.triangles + first, fmt="f %d %d %d")
            first += len(surface.points_lps_mm)
        _not_empty(materials)
    with atomic_path(colors) as partial:
        entries = (
            f"newmtl {segment.id}\nKd {' '.join(f'{value:g}' for value in segment.color)}\n"
            for segment in materials
        )
        partial.write_text("".join(entries), encoding="ascii")
    return [path, colors]


def _not_empty(found: list[Any]) -> list[Any]:
    if not found:
        raise CovidLesionSegError(
            "segmentation-empty", "There is neither infection nor lung in this result."
        )
    return found


def _surface(
    mask: NDArray[np.bool_], ct: CtVolume
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkWindowedSincPolyDataFilter
    from vtkmodules.vtkFiltersGeneral import vtkDiscreteFlyingEdges3D

    box = bounding_box(mask)
    # A border of background closes surfaces that touch the edge of the box.
    voxels = np.pad(mask[box], 1).astype(np.uint8)
    image = vtkImageData()
    image.SetDimensions(*voxels.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    edges = vtkDiscreteFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 1)
    smooth = vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(edges.GetOutputPort())
    smooth.SetNumberOfIterations(_ITERATIONS)
    smooth.SetPassBand(_PASS_BAND)
    smooth.BoundarySmoothingOff()
    smooth.FeatureEdgeSmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    smooth.Update()
    poly = smooth.GetOutput()
    start_xyz = [part.start - 1 for part in box[::-1]]
    index = vtk_to_numpy(poly.GetPoints().GetData()).astype(np.float64) + start_xyz
    points = index @ ct.affine_lps[:3, :3].T + ct.affine_lps[:3, 3]
    triangles = vtk_to_numpy(poly.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return points.astype(np.float32), triangles.astype(np.int64)


def _write_stl(file: IO[bytes], surface: Surface) -> None:
    """Write binary STL: 80 bytes of header, a count, and 50 bytes per triangle."""
    corners = surface.points_lps_mm[surface.triangles]
    records = np.zeros(
        len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")]
    )
    records["corners"] = corners
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records["normal"] = np.divide(normals, lengths, where=lengths > 0, out=np.zeros_like(normals))
    file.write(_SPACE.encode("ascii").ljust(80))
    file.write(np.uint32(len(records)).astype("<u4").tobytes())
    file.write(records.tobytes())


def _obstacle(_job: ExportJob) -> str | None:
    if importlib.util.find_spec("vtkmodules") is not None:
        return None
    return 'It needs VTK: pip install "CovidLesionSegLib[mrml]"'


STL_FORMAT = ExportFormat("Surface models, STL", ".stl", write_stl, _obstacle)
OBJ_FORMAT = ExportFormat("Surface models with colours, OBJ", ".obj", write_obj, _obstacle)
