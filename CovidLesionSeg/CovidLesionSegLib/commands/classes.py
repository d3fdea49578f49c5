"""``covid-lesion-seg classes``: ground glass and consolidation as a network calls them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from CovidLesionSegLib.errors import InputError

from .arguments import path
from .console import err, out, region_table

if TYPE_CHECKING:
    from rich.table import Table

    from CovidLesionSegLib.engine.lesion_classes import ClassModel
    from CovidLesionSegLib.engine.result import SegmentationResult
    from CovidLesionSegLib.export.class_table import ClassRow

SEGMENTATION, TABLE = "classes.seg.nrrd", "classes.csv"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "classes",
        help="ground glass and consolidation of a result by a network (research)",
        description="Tell ground glass from consolidation in a finished result by a network that "
        f"learned it from experts' slices. Writes {SEGMENTATION} and {TABLE}, with the percentages "
        "by the HU border beside them; the result itself stays as it is.",
    )
    parser.add_argument("result", type=path, help="folder of a result, or its result.json")
    parser.add_argument("-o", "--output", type=path, required=True, help="folder to write to")
    parser.add_argument("--ct", type=path, help="the CT that was segmented (file, DICOM folder)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from CovidLesionSegLib.engine.atomic import staged
    from CovidLesionSegLib.engine.lesion_classes import open_class_model, split_by_network
    from CovidLesionSegLib.export.class_table import class_rows, write_classes_csv
    from CovidLesionSegLib.export.result_folder import read_export_job
    from CovidLesionSegLib.export.seg_nrrd import write_segmentation

    from .outputs import require_writable

    require_writable(args.output)
    job = read_export_job(args.result, args.ct)
    if not job.has_ct:
        raise InputError(
            "ct-needed",
            "The network has to see the CT, which is not beside the result.",
            "Give the CT with --ct.",
        )
    model, result = open_class_model(), job.result
    opacity = split_by_network(result.ct, result.infection, model)
    rows = class_rows(result, opacity)
    source = f"{model.id}, {model.role}, not reviewed"
    with staged(args.output, _publish) as folder:
        named = replace(result, opacity=opacity, opacity_source=source)
        write_segmentation(folder / SEGMENTATION, named)
        write_classes_csv(folder / TABLE, rows, model, result)
    if not args.quiet:
        _report(result, rows, model)
        for name in (SEGMENTATION, TABLE):
            out().print(str(args.output / name))
    return 0


def _publish(staging: Path, folder: Path) -> None:
    """Move both files; all else in the folder, which may be the result's own, stays."""
    for name in (SEGMENTATION, TABLE):
        (staging / name).replace(folder / name)


def _report(result: SegmentationResult, rows: tuple[ClassRow, ...], model: ClassModel) -> None:
    out().print(_table(result, rows))
    for note in _notes(model):  # the result's own were told when it was made
        err().print(f"Note: {note}")


def _notes(model: ClassModel) -> tuple[str, ...]:
    """Say what the network's answer is worth."""
    from CovidLesionSegLib.engine.lesion_classes import BORDER_SCORES, OWN_SCORES

    about = (
        f"{model.id} is for research: it learned from single slices whose HU were estimated. The "
        "numbers of the report stay those of the border in HU."
    )
    own, border = (model.scores.get(variant, {}) for variant in (OWN_SCORES, BORDER_SCORES))
    if not own or not border:
        return (about,)
    dice = ", ".join(
        f"{own[f'{name}_dice']:.2f} for {name.replace('_', ' ')} (border in HU: "
        f"{border[f'{name}_dice']:.2f})"
        for name in ("ground_glass", "consolidation")
    )
    measured = (
        "On slices that it had not seen, inside the infection that an expert drew, its mean Dice "
        f"was {dice}; the consolidated share was wrong by {own['share_error']:.0f} points (border "
        f"in HU: {border['share_error']:.0f})."
    )
    return about, measured


def _table(result: SegmentationResult, rows: tuple[ClassRow, ...]) -> Table:
    from CovidLesionSegLib.export.lobe_chart import format_percent

    percents = [
        (
            row.ground_glass_percent,
            row.hu_ground_glass_percent,
            row.consolidation_percent,
            row.hu_consolidation_percent,
        )
        for row in rows
    ]
    cells = [["n/a" if v is None else format_percent(v) for v in values] for values in percents]
    headings = ("Ground glass", "by HU", "Consolidation", "by HU")
    return region_table(result, "Percent of the region", headings, cells)
