"""``covid-lesion-seg demo``: the main job on a CT that is at hand."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from .arguments import path
from .console import err
from .segment import add_options, segment_to_folder, tell

DATA_VARIABLE = "COVID_LESION_SEG_DATA"
"""Environment variable with the folder of the development data; `dev.py` sets it."""

_CASE = Path("coronacases", "coronacases_003_ct.nii.gz")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="run the main job on a sample",
        description="Segment a sample: a given CT, else a real case of the development data "
        f"if {DATA_VARIABLE} names its folder, else the synthetic phantom.",
    )
    parser.add_argument("--ct", type=path, help="use this CT")
    parser.add_argument(
        "-o",
        "--output",
        type=path,
        default=Path("demo-output"),
        help="folder for the results",
    )
    add_options(parser)
    parser.set_defaults(func=run)


def _real_case() -> Path | None:
    case = Path(os.environ.get(DATA_VARIABLE, "")) / _CASE
    return case if DATA_VARIABLE in os.environ and case.is_file() else None


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    ct = args.ct or _real_case()
    if ct is not None:
        kind = "the CT you named" if args.ct else "a real CT of the development data"
        _announce(f"Demo on {kind}: {ct}", args)
        result, paths = segment_to_folder(ct, args.output, args)
    else:
        _announce("Demo on the synthetic phantom (no real CT is at hand).", args)
        with tempfile.TemporaryDirectory() as folder:
            from CovidLesionSegLib.engine.phantom import PhantomSpec, make_phantom, write_phantom

            phantom = Path(folder, "phantom.nii.gz")
            write_phantom(make_phantom(PhantomSpec(seed=args.seed)), phantom)
            result, paths = segment_to_folder(phantom, args.output, args)
    tell(result, paths, args)
    return 0


def _announce(text: str, args: argparse.Namespace) -> None:
    """Say what is segmented, where it is in nobody's way: standard output may be JSON."""
    if not args.quiet:
        err().print(text)
