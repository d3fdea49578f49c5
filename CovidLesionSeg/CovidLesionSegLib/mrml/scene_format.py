"""The scene as an export format."""

from __future__ import annotations

from pathlib import Path

from CovidLesionSegLib.export.formats import ExportFormat
from CovidLesionSegLib.export.job import ExportJob

from .scene_file import scene_support, write_scene


def _write(job: ExportJob, path: Path) -> list[Path]:
    write_scene(path, job.result)
    return [path]


def _obstacle(_job: ExportJob) -> str | None:
    if scene_support():
        return None
    return 'It needs the MRML classes: pip install "CovidLesionSegLib[mrml]"'


SCENE_FORMAT = ExportFormat(
    "Scene for 3D Slicer with the CT", ".mrb", _write, _obstacle, needs_ct=True
)
