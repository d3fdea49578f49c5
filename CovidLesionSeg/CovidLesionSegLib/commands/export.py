"""``covid-lesion-seg export``: a result in the formats of other programs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from CovidLesionSegLib.errors import InputError

from .arguments import path
from .console import out

if TYPE_CHECKING:
    from CovidLesionSegLib.export.formats import ExportFormat


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="write a result as DICOM, NIfTI, report, ...",
        description="Write a finished result in other formats. Nothing that is written names "
        "the patient, unless --identified is given.",
    )
    parser.add_argument("result", type=path, help="folder of a result, or its result.json")
    parser.add_argument(
        "--format",
        required=True,
        metavar="NAME[,NAME]",
        help=f"one or several of: {', '.join(all_formats())}",
    )
    parser.add_argument("-o", "--output", type=path, required=True, help="folder to write to")
    parser.add_argument("--ct", type=path, help="the CT that was segmented (file, DICOM folder)")
    parser.add_argument("--name", help="begin of the file names, covid-lesion-seg by default")
    parser.add_argument(
        "--identified",
        action="store_true",
        help="name the patient and the study, so that DICOM files belong to them",
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from CovidLesionSegLib.export.publish import DEFAULT_STEM, export_files
    from CovidLesionSegLib.export.result_folder import read_export_job

    chosen = chosen_formats(args.format)
    job = read_export_job(args.result, args.ct, identified=args.identified)
    written = export_files(job, chosen, args.output, args.name or DEFAULT_STEM, force=args.force)
    console = out()
    for files in written.values():
        for file in files:
            console.print(str(file))
    return 0


def all_formats() -> Mapping[str, ExportFormat]:
    """Return every format by name, those that need VTK or Slicer's classes included."""
    from CovidLesionSegLib.export.formats import FORMATS
    from CovidLesionSegLib.mrml.scene_format import SCENE_FORMAT
    from CovidLesionSegLib.mrml.surface_models import OBJ_FORMAT, STL_FORMAT

    return {**FORMATS, "mrb": SCENE_FORMAT, "stl": STL_FORMAT, "obj": OBJ_FORMAT}


def chosen_formats(names: str) -> dict[str, ExportFormat]:
    """Return the formats of a list like ``"nifti,mrb"``.

    Raises:
        InputError: ``export-format``.
    """
    formats = all_formats()
    chosen = {}
    wanted = [part.strip() for part in names.split(",") if part.strip()]
    for name in wanted or [names]:
        if name not in formats:
            raise InputError(
                "export-format",
                f"There is no format {name!r}.",
                f"Choose among {', '.join(formats)}.",
            )
        chosen[name] = formats[name]
    return chosen
