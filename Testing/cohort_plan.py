"""How much machine, storage and money a cohort of any size needs, from measured rates.

``python -m Testing.cohort_plan --benchmark benchmark.json --batch FOLDER`` reads the record of
``covid-lesion-seg benchmark`` and a finished batch, and prints the plan as a Markdown table.
Prices are not in the record; give yours with ``--hour-price`` and ``--tb-month-price``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from CovidLesionSegLib.batch.batch import KEY
from CovidLesionSegLib.batch.case_files import CASES
from CovidLesionSegLib.batch.table import read_table

_HOUR_S, _DAY_H, _MB, _TB = 3600.0, 24.0, 1e6, 1e12
Row = tuple[str, str]


def device_rows(run: Mapping[str, Any], cases: int, days: float, price: float | None) -> list[Row]:
    """Return the rows of one run of a benchmark.

    On a CPU the processor's seconds count, which a busy machine does not change; on a GPU the
    seconds by the clock, since the device is taken for that long.

    Args:
        run: One of the record's ``"runs"``.
        cases: Number of CTs.
        days: Time there is.
        price: Of an hour of a core or GPU.
    """
    on_cpu = run["device"] == "cpu"
    seconds = sum(run["cpu_s" if on_cpu else "median_s"].values())
    hours = cases * seconds / _HOUR_S
    unit = "core" if on_cpu else "GPU"
    shape = " x ".join(str(count) for count in run["shape_zyx"])
    rows = [
        (f"{run['model']} on {run['device']}, {shape}: {unit} seconds per CT", f"{seconds:.1f}"),
        (f"{unit} hours", f"{hours:,.0f}"),
        (f"{unit}s for {days:g} days", f"{math.ceil(hours / (days * _DAY_H)):,}"),
    ]
    return rows if price is None else [*rows, (f"{unit} hours, cost", f"{hours * price:,.0f}")]


def storage_rows(sizes: Mapping[str, float], cases: int, price: float | None) -> list[Row]:
    """Return the rows for storage.

    Args:
        sizes: Mean bytes per case by what they hold.
        cases: Number of CTs.
        price: Of a terabyte and month.
    """
    rows = []
    for name, mean in sizes.items():
        terabytes = cases * mean / _TB
        rows.append((f"{name}, {mean / _MB:.2f} MB per CT", f"{terabytes:,.1f} TB"))
        if price is not None:
            rows.append((f"{name}, cost per month", f"{terabytes * price:,.0f}"))
    return rows


def measured_sizes(batch: Path) -> dict[str, float]:
    """Return mean bytes of inputs and of files by name over the cases with a result."""
    paths = {row.case: row.path for row in read_table(batch / KEY)}
    inputs: list[int] = []
    files: dict[str, int] = {}
    for folder in sorted((batch / CASES).iterdir()):
        if not (folder / "result.json").exists() or folder.name not in paths:
            continue
        inputs.append(sum(_sizes(paths[folder.name])))
        for path in folder.iterdir():
            files[path.name] = files.get(path.name, 0) + path.stat().st_size
    count = max(len(inputs), 1)
    sizes = {f"CTs as they came ({len(inputs)} measured)": sum(inputs) / count}
    sizes |= {name: total / count for name, total in sorted(files.items())}
    return {**sizes, "All results": sum(files.values()) / count}


def _sizes(path: Path) -> Iterator[int]:
    files = path.rglob("*") if path.is_dir() else (path,)
    yield from (file.stat().st_size for file in files if file.is_file())


def main() -> int:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--benchmark", type=Path, required=True, metavar="FILE")
    parser.add_argument("--batch", type=Path, metavar="FOLDER")
    parser.add_argument("--cases", type=int, default=10_000_000)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--hour-price", type=float)
    parser.add_argument("--tb-month-price", type=float)
    args = parser.parse_args()
    record = json.loads(args.benchmark.read_text(encoding="utf-8"))
    rows = [("Machine of the measurement", record["machine"]["name"]), ("CTs", f"{args.cases:,}")]
    for run in record["runs"]:
        rows += device_rows(run, args.cases, args.days, args.hour_price)
    if args.batch is not None:
        rows += storage_rows(measured_sizes(args.batch), args.cases, args.tb_month_price)
    print("| | |\n|---|---|")
    print("\n".join(f"| {name} | {value} |" for name, value in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
