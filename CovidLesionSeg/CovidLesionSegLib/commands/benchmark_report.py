"""Table, JSON and chart of the benchmark."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.table import Table

from .console import STAGE_TEXTS

NETWORK_STAGE = "infection"
"""The stage compared with the reference. It is more than the network: windowing and resampling
before it, interpolation to the CT's grid and the 3D step after it count as well."""


def machine() -> dict[str, Any]:
    """Return what a reader of the numbers must know about this computer."""
    import torch

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = _processor_name()
    return {
        "name": f"{processor}, {cores} cores",
        "processor": processor,
        "cores": cores,
        "load_average_at_start": None if load is None else round(load, 2),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def reference_s(
    record: Mapping[str, Any], entry: Mapping[str, Any], clock: str = "s_per_slice"
) -> float | None:
    """Return the seconds of the reference for a run's models and CT; None if not measured.

    The sum over the models' families, every slice of the CT.

    Args:
        record: The benchmark.
        entry: One of its runs.
        clock: ``"s_per_slice"`` for the wall's, ``"cpu_s_per_slice"`` for the processor's.
    """
    per_slice = record["reference"].get(clock)
    if not per_slice:
        return None
    slices = int(entry["shape_zyx"][0])
    wanted = families(entry)
    if not set(wanted) <= set(per_slice):  # a family without a published 2D network
        return None
    return slices * float(sum(per_slice[family] for family in wanted))


def families(entry: Mapping[str, Any]) -> list[str]:
    """Return the network families of a run's models."""
    from CovidLesionSegLib.weights.store import default_store

    store = default_store()
    return [store.find(member).entry.family for member in entry["members"]]


def total_s(entry: Mapping[str, Any]) -> float:
    """Return the seconds of the whole job."""
    return float(sum(entry["median_s"].values()))


def benchmark_table(record: Mapping[str, Any]) -> Table:
    """Return the table for the terminal: a row per stage, a column per model.

    Behind every number of seconds stands how many times longer the reference takes.
    """
    runs: Sequence[Mapping[str, Any]] = record["runs"]
    about = record["machine"]
    size = " x ".join(str(n) for n in reversed(runs[0]["shape_zyx"]))
    table = Table(
        title=f"Seconds on {runs[0]['device']} for {size}",
        caption=f"{about['name']}, load {about['load_average_at_start']}, torch {about['torch']}. "
        "In brackets: how many times longer the published networks take, one whole slice at a "
        "time in float32.",
    )
    table.add_column("Stage")
    for entry in runs:
        table.add_column(entry["model"], justify="right")
    for stage, text in STAGE_TEXTS.items():
        table.add_row(text, *(_with_ratio(record, e, e["median_s"].get(stage, 0.0)) for e in runs))
    table.add_row("Total", *(_with_ratio(record, e, total_s(e)) for e in runs), style="bold")
    processor = (f"{sum(entry['cpu_s'].values()):.1f}" for entry in runs)
    table.add_row("Processor seconds, total", *processor, end_section=True)
    for text, seconds in (("job", total_s), ("segmenting infection", _network_s)):
        rates = (f"{e['shape_zyx'][0] / max(seconds(e), 1e-9):.1f}" for e in runs)
        table.add_row(f"Slices/s, {text}", *rates)
    plain = (reference_s(record, entry) for entry in runs)
    rows = ("n/a" if s is None else f"{s:.0f}" for s in plain)
    table.add_row("Reference, seconds", *rows)
    table.add_row("Ratio in processor seconds", *(_processor_ratio(record, e) for e in runs))
    table.add_row("Peak memory, GB", *(_gigabytes(entry) for entry in runs))
    if record["reference"]:
        table.add_row(
            "Reference, peak memory, GB", *(_gigabytes(record["reference"]) for _ in runs)
        )
    return table


def _gigabytes(measured: Mapping[str, Any]) -> str:
    return "n/a" if measured["peak_gb"] is None else f"{measured['peak_gb']:.2f}"


def _network_s(entry: Mapping[str, Any]) -> float:
    return float(entry["median_s"][NETWORK_STAGE])


def _processor_ratio(record: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """Return the network stage's ratio in processor seconds, which a busy machine changes less."""
    plain = reference_s(record, entry, "cpu_s_per_slice")
    ours = entry["cpu_s"].get(NETWORK_STAGE, 0.0)
    return "n/a" if plain is None or ours <= 0 else f"{plain / ours:.1f}"


def _with_ratio(record: Mapping[str, Any], entry: Mapping[str, Any], seconds: float) -> str:
    plain = reference_s(record, entry)
    ratio = "" if plain is None or seconds <= 0 else f" ({plain / seconds:.1f})"
    return f"{seconds:.1f}{ratio}"


def write_json(path: Path, values: object) -> None:
    """Write values as JSON, whole or not at all."""
    from CovidLesionSegLib.engine.atomic import atomic_path

    with atomic_path(path) as partial:
        partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def write_chart(path: Path, record: Mapping[str, Any]) -> None:
    """Draw the stages of every model, and beside them how much longer the reference takes."""
    from matplotlib.figure import Figure

    runs = record["runs"]
    figure = Figure(figsize=(9, 1.8 + 0.5 * len(runs)), layout="constrained")
    axes, ratios = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    for row, entry in enumerate(runs):
        left = 0.0
        for index, stage in enumerate(STAGE_TEXTS):
            seconds = entry["median_s"].get(stage, 0.0)
            text = STAGE_TEXTS[stage] if row == 0 else None
            axes.barh(row, seconds, left=left, color=f"C{index}", label=text)
            left += seconds
        axes.text(left, row, f" {left:.0f} s, {_gigabytes(entry)} GB", va="center", fontsize=8)
        plain = reference_s(record, entry)
        if plain is not None:
            ratio = plain / left
            ratios.barh(row, ratio, color="0.6")
            ratios.text(ratio, row, f" {ratio:.0f} x", va="center", fontsize=8)
    axes.set_yticks(range(len(runs)), [entry["model"] for entry in runs])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(total_s(entry) for entry in runs))
    axes.set_xlabel("seconds, file in to files out")
    ratios.margins(x=0.3)
    ratios.set_xlabel("published networks take")
    about = record["machine"]
    size = " x ".join(str(n) for n in reversed(runs[0]["shape_zyx"]))
    title = f"{size} on {runs[0]['device']}: {about['name']}, load {about['load_average_at_start']}"
    figure.suptitle(title, fontsize=9)
    figure.legend(
        *axes.get_legend_handles_labels(), fontsize=7, ncols=4, loc="outside lower center"
    )
    figure.savefig(path, dpi=100)
