#!/usr/bin/env python3
"""Time and memory of the whole job against the number of slices.

``python Testing/benchmarks/growth.py [--slices 50 200 500 1000 2000] [--pixels 256] [--model ID]``
writes ``growth.json`` and ``growth.png`` beside itself. One phantom of 300 mm is cut into ever
thinner slices, so only the number of slices grows. Processor time is shown beside the wall's,
because it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from CovidLesionSegLib.commands.benchmark import measure_in_child
from CovidLesionSegLib.commands.benchmark_report import machine, total_s, write_json
from CovidLesionSegLib.engine.phantom import PhantomSpec, make_phantom
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.writers import write_map

EXTENT_MM = 300.0
WIDTH_MM = 360.0
HERE = Path(__file__).parent


def measure(slices: list[int], pixels: int, model: str, device: str) -> Iterator[dict[str, Any]]:
    """Yield one measurement of the whole job per number of slices."""
    levels = 150
    edge = WIDTH_MM / pixels
    spec = PhantomSpec(
        spacing_mm_zyx=(EXTENT_MM / levels, edge, edge), shape_zyx=(levels, pixels, pixels)
    )
    hu = make_phantom(spec).hu
    with tempfile.TemporaryDirectory() as folder:
        for count in slices:
            index = np.minimum(np.arange(count) * levels // count, levels - 1)
            affine = np.diag([edge, edge, EXTENT_MM / count, 1.0])
            ct = CtVolume.from_array(hu[index], affine)
            path = write_map(Path(folder) / "ct.nii", ct.hu, ct)
            job = {"ct": str(path), "model": model, "output": str(Path(folder) / "out")}
            found = measure_in_child({"job": job, "device": device})
            point = {
                "slices": count,
                "wall_s": round(total_s(found), 2),
                "cpu_s": round(sum(found["cpu_s"].values()), 2),
                "peak_gb": found["peak_gb"],
                "by_stage_cpu_s": found["cpu_s"],
            }
            print(count, point["wall_s"], point["cpu_s"], point["peak_gb"], flush=True)
            yield point


def straightness(points: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Return the straight line through a quantity and how well it fits (R squared)."""
    x = np.array([point["slices"] for point in points], float)
    y = np.array([point[name] for point in points], float)
    slope, start = np.polyfit(x, y, 1)
    rest = y - (start + slope * x)
    r2 = 1.0 - float((rest**2).sum() / ((y - y.mean()) ** 2).sum())
    return {"start": round(start, 3), "per_slice": round(slope, 6), "r_squared": round(r2, 4)}


def draw(path: Path, record: dict[str, Any]) -> None:
    """Draw processor time and memory with their straight lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    points = record["points"]
    x = np.array([point["slices"] for point in points])
    for column, (name, text) in enumerate(
        (("cpu_s", "processor seconds, whole job"), ("peak_gb", "peak memory, GB"))
    ):
        axes = figure.add_subplot(1, 2, column + 1)
        line = record["lines"][name]
        axes.plot(x, line["start"] + line["per_slice"] * x, color="0.6", linewidth=1)
        axes.plot(x, [point[name] for point in points], "o", markersize=4)
        axes.set_xlabel(f"slices of {record['pixels']} x {record['pixels']}")
        axes.set_ylabel(text)
        axes.set_ylim(bottom=0)
        axes.set_title(f"R² = {line['r_squared']:.3f}", fontsize=9)
    about = record["machine"]
    figure.suptitle(
        f"{record['model']} on {about['name']}, load {about['load_average_at_start']}", fontsize=9
    )
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, nargs="+", default=[50, 200, 500, 1000, 2000])
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--model", default="inf-net-lite")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=HERE)
    args = parser.parse_args()
    record: dict[str, Any] = {"machine": machine(), "model": args.model, "pixels": args.pixels}
    record["points"] = []
    for point in measure(args.slices, args.pixels, args.model, args.device):
        record["points"].append(point)
        if len(record["points"]) < 3:  # no line, and nothing to say about it
            continue
        record["lines"] = {
            name: straightness(record["points"], name) for name in ("wall_s", "cpu_s", "peak_gb")
        }
        write_json(args.output / "growth.json", record)
        draw(args.output / "growth.png", record)


if __name__ == "__main__":
    main()
