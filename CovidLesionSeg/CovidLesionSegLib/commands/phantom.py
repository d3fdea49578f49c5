"""``covid-lesion-seg phantom``: a synthetic chest CT with its ground truth."""

from __future__ import annotations

import argparse

from CovidLesionSegLib.errors import InputError

from .arguments import path
from .console import out


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "phantom",
        help="write a synthetic chest CT with known lesions",
        description="Write a synthetic chest CT and, beside it, its ground truth.",
    )
    parser.add_argument("output", type=path, help="file to write, for example phantom.nii.gz")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another patient")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from CovidLesionSegLib.engine.phantom import (
        PhantomSpec,
        check_phantom_path,
        make_phantom,
        phantom_paths,
        write_phantom,
    )

    output = check_phantom_path(args.output)  # before the work, not after it
    there = [path.name for path in phantom_paths(output) if path.exists()]
    if there and not args.force:
        raise InputError(
            "phantom-exists",
            f"{', '.join(there)} would be replaced.",
            "Choose another name, or allow it with --force.",
        )
    for file in write_phantom(make_phantom(PhantomSpec(seed=args.seed)), output):
        out().print(str(file))
    return 0
