"""``covid-lesion-seg classes``: ground glass and consolidation as a network calls them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from CovidLesionSegLib.errors import InputError

from .console import err, out

if TYPE_CHECKING:
    from rich.table import Table

    from CovidLesionSegLib.engine.lesion_classes import ClassModel
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
    parser.add_argument("result", type=Path, help="folder of a result, or its result.json")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--ct", type=Path, help="the CT that was segmented (file, DICOM folder)")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
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
    args.output.mkdir(parents=True, exist_ok=True)
    write_segmentation(args.output / SEGMENTATION, replace(result, opacity=opacity))
    write_classes_csv(args.output / TABLE, rows, model)
    console = out()
    console.print(_table(rows))
    err().print(f"Note: {_note(model)}")
    for name in (SEGMENTATION, TABLE):
        console.print(str(args.output / name))
    return 0


def _note(model: ClassModel) -> str:
    text = (
        f"{model.id} is for research. It learned from 48 slices of one collection; the numbers of "
        "the report stay those of the HU border."
    )
    if not model.dice:
        return text
    scores = ", ".join(
        f"{value:.2f} for {name.removesuffix('_dice').replace('_', ' ')}"
        for name, value in model.dice.items()
    )
    return f"{text} Mean Dice against experts on slices that it had not seen: {scores}."


def _table(rows: tuple[ClassRow, ...]) -> Table:
    from rich.table import Table

    table = Table(title="Percent of the region", title_style="bold")
    table.add_column("Region")
    for heading in ("Ground glass", "by HU", "Consolidation", "by HU"):
        table.add_column(heading, justify="right")
    for row in rows:
        pairs = (
            row.ground_glass_percent,
            row.hu_ground_glass_percent,
            row.consolidation_percent,
            row.hu_consolidation_percent,
        )
        table.add_row(row.label, *("n/a" if v is None else f"{v:.1f}" for v in pairs))
    return table
