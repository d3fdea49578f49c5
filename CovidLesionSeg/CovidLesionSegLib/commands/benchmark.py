"""``covid-lesion-seg benchmark``: seconds, memory and speed on this machine."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .arguments import count, path
from .benchmark_child import FRAMES
from .console import err, out

_CHILD = "CovidLesionSegLib.commands.benchmark_child"
_PHANTOM_MM = (300.0, 360.0, 360.0)
"""Extent of the phantom's scan along z, y and x; the number of voxels is chosen."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "benchmark",
        help="measure the pipeline on this machine",
        description="Run the whole job, file in and files out, for each model in a process of "
        "its own, and compare it with a plain reference measured in the same run: the published "
        "networks in float32, one whole slice at a time.",
    )
    parser.add_argument("--ct", type=path, help="CT to use; without it, a phantom")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(300, 512), metavar=("SLICES", "PIXELS"),
        help="size of the phantom (default: 300 slices of 512 x 512)",
    )  # fmt: skip
    parser.add_argument("--models", nargs="*", help="default: every installed one, and consensus")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:N or mps")
    parser.add_argument("--runs", type=count, default=1, help="how many times; the median counts")
    parser.add_argument(
        "--reference-slices", type=int, default=3, help="slices of the reference; 0 for none"
    )
    parser.add_argument("-o", "--output", type=path, help="folder for benchmark.json and .png")
    parser.add_argument("--run-times", type=path, help="add to the times that the module shows")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from .benchmark_report import benchmark_table, machine, write_chart, write_json
    from .outputs import require_writable

    if args.output is not None:
        require_writable(args.output)
    record = {"machine": machine(), **measure(args)}
    if args.json:
        out().print_json(json.dumps(record))
    else:
        out().print(benchmark_table(record))
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        write_json(args.output / "benchmark.json", record)
        write_chart(args.output / "benchmark.png", record)
    if args.run_times is not None:
        name = record["machine"]["name"]
        times = [{**entry, "machine": name} for entry in record["runs"]]
        write_json(args.run_times, _joined_times(args.run_times, times))
    return 0


def _joined_times(path: Path, times: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the times of a file and new ones, which replace those of the same model and size."""

    def place(entry: dict[str, Any]) -> tuple[str, str, list[int]]:
        return entry["model"], entry["device"], entry["shape_zyx"]

    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    new = [place(entry) for entry in times]
    kept = ("model", "device", "machine", "shape_zyx", "median_s")
    joined = [entry for entry in old if place(entry) not in new]
    return joined + [{key: entry[key] for key in kept} for entry in times]


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure the reference, then every model; return what `benchmark_report` shows."""
    models = args.models or _installed_models()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        ct = args.ct or _phantom_file(Path(folder) / "phantom.nii.gz", *args.size)
        reference = {}
        families = _families(models)
        if args.reference_slices > 0 and families:
            err().print("Reference: the published networks ...")
            job = {"families": families, "slices": args.reference_slices}
            reference = measure_in_child({"reference": job, "device": args.device})
        runs = []
        for model in models:
            err().print(f"{model} ...")
            job = {"ct": str(ct), "model": model, "output": str(Path(folder) / "out")}
            repeated = [
                measure_in_child({"job": job, "device": args.device}) for _ in range(args.runs)
            ]
            runs.append(_median(repeated))
    return {"ct": "phantom" if args.ct is None else "file", "reference": reference, "runs": runs}


def _installed_models() -> list[str]:
    from CovidLesionSegLib.engine.models import CONSENSUS, consensus_members
    from CovidLesionSegLib.errors import InputError

    try:
        return [*consensus_members(), CONSENSUS]
    except InputError:  # there is only one, so no consensus
        from CovidLesionSegLib.engine.models import DEFAULT_MODEL

        return [DEFAULT_MODEL]


def _families(models: Sequence[str]) -> list[str]:
    """Return the families of the models that are published as networks over slices, each once."""
    from CovidLesionSegLib.engine.models import member_ids
    from CovidLesionSegLib.weights.store import default_store

    store = default_store()
    ids = dict.fromkeys(member for model in models for member in member_ids(model, store))
    found = dict.fromkeys(store.find(member).entry.family for member in ids)
    return [family for family in found if family in FRAMES]


def _phantom_file(path: Path, slices: int, pixels: int) -> Path:
    from CovidLesionSegLib.engine.phantom import PhantomSpec, make_phantom
    from CovidLesionSegLib.engine.volume import CtVolume
    from CovidLesionSegLib.engine.writers import write_map

    err().print("Making the phantom ...")
    shape = (slices, pixels, pixels)
    z, y, x = (extent / count for extent, count in zip(_PHANTOM_MM, shape, strict=True))
    phantom = make_phantom(PhantomSpec(spacing_mm_zyx=(z, y, x), shape_zyx=shape))
    ct = CtVolume.from_array(phantom.hu, phantom.affine)
    return write_map(path, ct.hu, ct)


def measure_in_child(order: dict[str, Any]) -> dict[str, Any]:
    """Measure in a process of its own, whose memory is nobody else's.

    Args:
        order: ``"job"`` or ``"reference"`` with the arguments of `measure_job` or
            `measure_reference` of `benchmark_child`, and ``"device"``.

    Raises:
        CovidLesionSegError: ``benchmark-failed`` with what the process said.
    """
    from CovidLesionSegLib.errors import CovidLesionSegError

    done = subprocess.run(
        [sys.executable, "-m", _CHILD, json.dumps(order)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        raise CovidLesionSegError(
            "benchmark-failed", f"A measurement failed: {reason[-1] if reason else 'no message'}"
        )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _median(repeated: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first of some equal measurements with the median of every number of seconds."""
    from statistics import median

    def middle(name: str) -> dict[str, float]:
        stages = repeated[0][name]
        return {s: round(median(entry[name][s] for entry in repeated), 3) for s in stages}

    peaks = [entry["peak_gb"] for entry in repeated]
    peak = None if None in peaks else max(peaks)
    numbers = {name: middle(name) for name in ("median_s", "cpu_s")}
    return {**repeated[0], **numbers, "peak_gb": peak, "runs": len(repeated)}
