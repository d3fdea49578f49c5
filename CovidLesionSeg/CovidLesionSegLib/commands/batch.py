"""``covid-lesion-seg batch``: many CTs in, a table and a wall of pictures out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import count, path, seconds
from .console import err, out

if TYPE_CHECKING:
    from CovidLesionSegLib.batch.batch import BatchOptions, OpenWorkers, Progress
    from CovidLesionSegLib.batch.summary import SummaryRow


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "batch",
        help="segment many chest CTs",
        description="Segment many chest CTs into one folder: a row per case in summary.csv, a "
        "wall of pictures in index.html, and a folder per case. Which case is which file stands "
        "in key.csv alone, so keep that to yourself.",
    )
    parser.add_argument(
        "inputs",
        type=path,
        nargs="+",
        metavar="INPUT",
        help="image or DICOM files, folders of them at any depth (every CT series is a case), "
        "or a CSV with a column 'path' and, if wanted, 'case' and 'series_instance_uid'",
    )
    parser.add_argument("-o", "--output", type=path, required=True, help="folder for the results")
    parser.add_argument("--resume", action="store_true", help="go on with the batch in that folder")
    parser.add_argument(
        "--retry-failed", action="store_true", help="go on, and try failed cases again"
    )
    parser.add_argument("--workers", type=count, help="processes (default 1; with ray one per GPU)")
    parser.add_argument(
        "--case-timeout",
        type=seconds,
        metavar="SECONDS",
        help="a case that takes longer has failed, and its worker is started anew (default: no "
        "limit; give several times what a case takes, and a minute for the start)",
    )
    parser.add_argument(
        "--keep-names", action="store_true", help="name cases after their files (not anonymous)"
    )
    parser.add_argument(
        "--maps",
        action="store_true",
        help="write the maps of every case as well; export needs them",
    )
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument(
        "--address", help="ray: cluster to use, for example auto; without it, this machine"
    )
    parser.add_argument("--model", help="id of a model (see: covid-lesion-seg models list)")
    parser.add_argument("--weights", type=path, metavar="FILE", help="use this weight file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:N or mps")
    parser.add_argument("--threshold", type=float, help="probability of infection, 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")
    parser.set_defaults(func=run, lobes=None)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 when at least one case has a result."""
    from CovidLesionSegLib.batch.batch import run_batch
    from CovidLesionSegLib.batch.summary import DONE
    from CovidLesionSegLib.errors import CancelledError, InputError

    listener = _print_nothing if args.quiet else _print_line
    try:
        rows = run_batch(args.inputs, args.output, _options(args), _engine(args), listener)
    except KeyboardInterrupt:
        err().print("Interrupted. What is done is kept; go on with --resume.")
        return CancelledError.exit_code
    if not args.quiet:
        _report(rows, args.output)
    return 0 if any(row["status"] == DONE for row in rows) else InputError.exit_code


def _options(args: argparse.Namespace) -> BatchOptions:
    from CovidLesionSegLib.batch.batch import BatchOptions
    from CovidLesionSegLib.batch.case_files import DEFAULT_KINDS, MAP_KINDS

    from .segment import options_from

    return BatchOptions(
        segment=options_from(args),
        kinds=(*DEFAULT_KINDS, *MAP_KINDS) if args.maps else DEFAULT_KINDS,
        workers=args.workers,
        keep_names=args.keep_names,
        resume=args.resume,
        retry_failed=args.retry_failed,
        case_timeout_s=args.case_timeout,
    )


def _engine(args: argparse.Namespace) -> OpenWorkers:
    if args.engine == "local":
        from CovidLesionSegLib.batch.processes import ProcessWorkers

        return ProcessWorkers
    from functools import partial

    from CovidLesionSegLib.batch.ray_workers import RayWorkers

    return partial(RayWorkers, address=args.address)


def _print_line(progress: Progress) -> None:
    """Print how a case went."""
    console = err()
    if progress.case is None:
        console.print(f"Cases: {progress.total}, of which {progress.ended} were done before.")
        if progress.repeated:
            console.print(f"{progress.repeated} were named more than once and count once.")
        return
    told = outcome(progress.row)
    console.print(f"[{progress.ended}/{progress.total}] {progress.case.id}: {told}")


def outcome(row: SummaryRow) -> str:
    """Return how a case went, for people."""
    from CovidLesionSegLib.export.lobe_chart import format_percent

    percent = row.get("infected_percent", "")
    if percent:
        return f"{format_percent(float(percent))} % infected, {row['seconds']} s"
    return row.get("reason") or "done"


def _print_nothing(_progress: Progress) -> None:
    pass


def _report(rows: list[SummaryRow], folder: Path) -> None:
    from CovidLesionSegLib.batch.batch import KEY, SUMMARY, WALL
    from CovidLesionSegLib.batch.summary import DONE

    failed = [row for row in rows if row["status"] != DONE]
    console = out()
    console.print(f"{len(rows) - len(failed)} of {len(rows)} cases have a result.")
    for row in failed:
        console.print(f"  {row['case']}: {outcome(row)}")
    if failed:
        console.print(f"Which file is which: {folder / KEY}")
    console.print(f"Pictures     {folder / WALL}")
    console.print(f"Table        {folder / SUMMARY}")
