"""One measurement of the benchmark, in a process of its own.

``python -m CovidLesionSegLib.commands.benchmark_child ORDER`` prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FRAMES = {"inf-net": 352, "bsnet": 352, "co-supervision": 512}
"""Height and width that the test scripts of the papers bring every slice to; the other families
are published as networks over volumes, or are ours."""


def measure_job(ct: str, model: str, output: str, device: str) -> dict[str, Any]:
    """Run the whole job, file in and files out.

    Returns:
        Seconds of wall and processor by stage, of the processes together; peak memory of
        this process in GB; size of the CT.
    """
    from CovidLesionSegLib.engine.models import LUNG_MODEL
    from CovidLesionSegLib.engine.pipeline import SegmentOptions, segment
    from CovidLesionSegLib.engine.progress import Reporter

    from .outputs import write_outputs

    class Stopwatch(Reporter):
        """Takes the processor's time beside that on the wall."""

        @contextmanager
        def stage(self, name: str) -> Iterator[None]:
            start = _processor_s()
            with super().stage(name):
                yield
            cpu_s[name] = round(cpu_s.get(name, 0.0) + _processor_s() - start, 3)

    cpu_s: dict[str, float] = {}
    reporter = Stopwatch()
    result = segment(ct, SegmentOptions(model=model, device=device), reporter=reporter)
    write_outputs(result, Path(output), reporter)
    return {
        "model": model,
        "members": [name for name in result.run.weights_sha256 if name != LUNG_MODEL],
        "device": result.run.device,
        "shape_zyx": list(result.ct.shape_zyx),
        "median_s": reporter.timings_s,
        "cpu_s": cpu_s,
        "peak_gb": peak_memory_gb(),
    }


def measure_reference(
    families: Sequence[str], slices: int, device: str, frame: int | None = None
) -> dict[str, Any]:
    """Run published networks as the test scripts of their papers do.

    That is at paper scale, in float32, one whole slice at a time, without cropping and
    without leaving slices out; random weights take the same time.

    Args:
        families: Network families.
        slices: How many slices to run; the median counts.
        device: Torch device.
        frame: Height and width, another than the paper's.

    Returns:
        Seconds per slice by family, frame by family, and the peak memory in GB.
    """
    import torch

    from CovidLesionSegLib.engine.devices import resolve_device, use_all_cores
    from CovidLesionSegLib.nets.registry import create_model

    chosen = resolve_device(device)
    use_all_cores()
    seconds, processor, frames = {}, {}, {}
    for family in families:
        torch.manual_seed(0)
        network = create_model(family, "paper").eval().to(chosen)
        size = frame or FRAMES[family]
        channels = next(network.parameters()).shape[1]
        wall, cpu = [], []
        for _ in range(slices + 1):  # the first one warms up
            picture = torch.rand(1, channels, size, size).to(chosen)
            start, busy = time.perf_counter(), _processor_s()
            with torch.no_grad():
                network(picture).infection.sigmoid().cpu()
            wall.append(time.perf_counter() - start)
            cpu.append(_processor_s() - busy)
        seconds[family] = round(sorted(wall[1:])[slices // 2], 4)
        processor[family] = round(sorted(cpu[1:])[slices // 2], 4)
        frames[family] = size
    return {
        "s_per_slice": seconds,
        "cpu_s_per_slice": processor,
        "frame": frames,
        "slices": slices,
        "device": chosen,
        "peak_gb": peak_memory_gb(),
    }


def peak_memory_gb() -> float | None:
    """Return the largest resident memory of this process so far in 10^9 bytes.

    None where the system has no ``resource`` (Windows).
    """
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e9, 3)


def _processor_s() -> float:
    """Return the processor's seconds of this process and of its children that have ended."""
    import os

    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Do what the order on the command line says."""
    order = json.loads(sys.argv[1])
    if "reference" in order:
        result = measure_reference(**order["reference"], device=order["device"])
    else:
        result = measure_job(**order["job"], device=order["device"])
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
