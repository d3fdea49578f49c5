"""``covid-lesion-seg segment``: one CT in, a folder of results out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import path
from .console import err, lobe_table, out, progress_bar

if TYPE_CHECKING:
    from CovidLesionSegLib.engine.pipeline import SegmentOptions
    from CovidLesionSegLib.engine.result import SegmentationResult


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "segment",
        help="segment the infection in one chest CT",
        description="Segment the infection in one chest CT and measure it per lobe.",
    )
    parser.add_argument("ct", type=path, help="NIfTI, NRRD or MetaImage file, or DICOM folder")
    parser.add_argument("-o", "--output", type=path, required=True, help="folder for the results")
    add_options(parser)
    parser.set_defaults(func=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command which segments has."""
    parser.add_argument(
        "--model",
        help="id of a model (see: covid-lesion-seg models list), several joined by '+', "
        "or 'consensus' for all installed ones together",
    )
    parser.add_argument("--weights", type=path, metavar="FILE", help="use this weight file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:N or mps")
    parser.add_argument(
        "--lobes",
        type=path,
        metavar="FILE",
        help="label map with the lobes, or the word lungmask to run that program if installed",
    )
    parser.add_argument("--threshold", type=float, help="probability of infection, 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--quiet", action="store_true", help="no progress and no table")
    parser.add_argument("--json", action="store_true", help="print result.json on standard output")


def options_from(args: argparse.Namespace) -> SegmentOptions:
    """Return the options of a parsed command line."""
    from CovidLesionSegLib.engine.pipeline import SegmentOptions

    chosen = SegmentOptions(
        weights=args.weights,
        device=args.device,
        lobes=args.lobes,
        threshold=args.threshold,
        seed=args.seed,
    )
    if args.model is None:
        return chosen
    from dataclasses import replace

    return replace(chosen, model=args.model)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    tell(*segment_to_folder(args.ct, args.output, args), args)
    return 0


def segment_to_folder(
    ct: Path, folder: Path, args: argparse.Namespace
) -> tuple[SegmentationResult, dict[str, Path]]:
    """Segment one CT with a progress bar and write everything into a folder."""
    from CovidLesionSegLib.engine.pipeline import segment
    from CovidLesionSegLib.engine.progress import Reporter
    from CovidLesionSegLib.export.review_files import refuse_reviewed

    from .outputs import require_writable, write_outputs

    options = options_from(args)
    refuse_reviewed(folder)
    require_writable(folder)
    with progress_bar(args.quiet or args.json) as listener:
        reporter = Reporter(listener)
        result = segment(ct, options, reporter=reporter)
        return write_outputs(result, folder, reporter)


def tell(result: SegmentationResult, paths: Mapping[str, Path], args: argparse.Namespace) -> None:
    """Print what the options ask for: the table, `result.json` or nothing."""
    if args.json:
        sys.stdout.write(paths["result"].read_text(encoding="utf-8"))
    elif not args.quiet:
        _report(result, paths)


def _report(result: SegmentationResult, paths: Mapping[str, Path]) -> None:
    console = out()
    console.print(lobe_table(result))
    for warning in result.warnings:
        err().print(f"Note: {warning}")
    seconds = sum(result.run.timings_s.values())
    lesions = "1 lesion" if len(result.lesions) == 1 else f"{len(result.lesions)} lesions"
    console.print(f"{lesions}, {seconds:.0f} s on {result.run.device}.")
    for kind in ("overview", "scene", "segmentation"):
        if kind in paths:
            console.print(f"{kind.capitalize():<13}{paths[kind]}")
