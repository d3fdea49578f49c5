"""Running networks over many slices: small batches, several at a time, as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from CovidLesionSegLib.errors import CovidLesionSegError

from .memory import is_out_of_memory, too_little_memory
from .progress import Reporter

_BATCH_SLICES = {"cpu": 2, "cuda": 64, "mps": 16}
"""First try; halved when memory runs out. On a CPU the features of two slices stay in the
cache, those of eight take a quarter longer per slice (see Testing/benchmarks/NOTES.md)."""

_GPU_WORKERS = 2
"""One feeds the device while the other takes the maps to the CT's grid."""

_MOST_WORKERS = 8
"""Every worker on a CPU holds the features of one batch, about 100 MB."""


def run_batches(
    count: int,
    device: str,
    compute: Callable[[slice], None],
    reporter: Reporter,
    *,
    overlapped: bool = True,
) -> None:
    """Compute a range of slices batch by batch, several batches at a time.

    On a CPU each worker runs its batch on one thread: networks for slices are too small for
    several threads to share an operation well. On another device two workers take turns, so
    that copies and the work before and after the network overlap with it.

    Args:
        count: Slices ``0..count`` are run; every one exactly once, in any order.
        device: Where ``compute`` runs.
        compute: Runs the networks over some of the slices and keeps the result; called from
            several threads at once after the first batch.
        reporter: Progress and cancel.
        overlapped: False runs one batch after the other; the results are the same.

    Raises:
        CovidLesionSegError: ``out-of-memory`` when not even one slice fits on the device,
            ``too-little-memory`` when that is the processor.
        CancelledError: The reporter was told to stop.
    """
    kind = device.split(":")[0]
    batch = _BATCH_SLICES.get(kind, 2)
    # The first batch alone: it finds out what fits, and torch prepares itself once.
    done = min(batch, count)
    batch = _fitting(compute, slice(0, done), device)
    reporter.advance(done, count)
    workers = _worker_count(kind) if overlapped else 1
    start, running = done, set[Future[int]]()
    with _worker_pool(workers, kind) as pool:
        while start < count or running:
            while start < count and len(running) < workers:
                part = slice(start, min(start + batch, count))
                running.add(pool.submit(_fitting, compute, part, device))
                start = part.stop
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            batch = min([batch, *(future.result() for future in finished)])
            reporter.advance(start - batch * len(running), count)


def _worker_count(kind: str) -> int:
    import torch

    return min(torch.get_num_threads(), _MOST_WORKERS) if kind == "cpu" else _GPU_WORKERS


@contextmanager
def _worker_pool(workers: int, kind: str) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool whose workers share the threads that torch may use."""
    import torch

    threads = torch.get_num_threads()
    share = max(threads // workers, 1) if kind == "cpu" else threads
    try:
        with ThreadPoolExecutor(
            workers, "slices", initializer=torch.set_num_threads, initargs=(share,)
        ) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _fitting(compute: Callable[[slice], None], part: slice, device: str) -> int:
    """Compute some slices, in smaller portions if memory runs out; return the portion's size."""
    import torch

    size: int = part.stop - part.start
    try:
        with torch.inference_mode():
            compute(part)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if size == 1 and device == "cpu":
            raise too_little_memory() from error
        if size == 1:
            raise CovidLesionSegError(
                "out-of-memory",
                f"There is not enough memory on {device} for a single slice.",
                "Close other programs, or choose the device 'cpu'.",
            ) from error
    else:
        return size
    middle = part.start + size // 2
    portions = (slice(part.start, middle), slice(middle, part.stop))
    return max(min(_fitting(compute, portion, device) for portion in portions), 1)
