"""``covid-lesion-seg benchmark``: seconds by stage on this machine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from .console import STAGE_TEXTS, out, progress_bar

if TYPE_CHECKING:
    from CovidLesionSegLib.engine.volume import CtVolume


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "benchmark",
        help="measure the pipeline on this machine",
        description="Segment a CT (or the phantom) several times; print the median of each stage.",
    )
    parser.add_argument("--ct", type=Path, help="CT to use; without it, the phantom")
    parser.add_argument("--runs", type=int, default=3, help="how many times")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:N or mps")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from statistics import median

    from CovidLesionSegLib.engine.pipeline import SegmentOptions, segment
    from CovidLesionSegLib.engine.progress import Reporter
    from CovidLesionSegLib.engine.readers import read_ct

    ct = read_ct(args.ct) if args.ct else _phantom_ct()
    options = SegmentOptions(device=args.device)
    seconds: dict[str, list[float]] = {}
    for _ in range(max(args.runs, 1)):
        with progress_bar(args.json) as listener:
            result = segment(ct, options, reporter=Reporter(listener))
        for stage, value in result.run.timings_s.items():
            seconds.setdefault(stage, []).append(value)
    medians = {stage: round(median(values), 3) for stage, values in seconds.items()}
    if args.json:
        shape = list(ct.shape_zyx)
        text = {"shape_zyx": shape, "device": result.run.device, "median_s": medians}
        out().print_json(json.dumps(text))
    else:
        out().print(_table(medians, ct.shape_zyx, result.run.device))
    return 0


def _phantom_ct() -> CtVolume:
    from CovidLesionSegLib.engine.phantom import PhantomSpec, make_phantom
    from CovidLesionSegLib.engine.volume import CtVolume, Provenance

    phantom = make_phantom(PhantomSpec())
    return CtVolume.from_array(phantom.hu, phantom.affine, Provenance("array", "phantom"))


def _table(medians: dict[str, float], shape_zyx: tuple[int, int, int], device: str) -> Table:
    size = " x ".join(str(n) for n in reversed(shape_zyx))
    table = Table(title=f"Seconds by stage, {size} on {device}")
    table.add_column("Stage")
    table.add_column("Seconds", justify="right")
    for stage, value in medians.items():
        table.add_row(STAGE_TEXTS[stage], f"{value:.2f}")
    table.add_row("Total", f"{sum(medians.values()):.2f}", style="bold")
    return table
