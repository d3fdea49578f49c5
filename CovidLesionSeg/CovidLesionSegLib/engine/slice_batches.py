"""Running a network over many slices: batches that fit, results handled while it goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from CovidLesionSegLib.errors import CovidLesionSegError

from .progress import Reporter

_BATCH_SLICES = {"cpu": 4, "cuda": 64, "mps": 16}
"""First try; halved when memory runs out. More than a few slices do not help a CPU."""

_PENDING = 2
"""Batches that may wait for `consume`; more would only hold memory."""

ResultT = TypeVar("ResultT")


def run_batches(
    count: int,
    device: str,
    compute: Callable[[slice], ResultT],
    consume: Callable[[slice, ResultT], None],
    reporter: Reporter,
    *,
    overlapped: bool = True,
) -> None:
    """Compute a range of slices batch by batch.

    Args:
        count: Slices ``0..count`` are run in order.
        device: Where ``compute`` runs; decides the size of the first batch.
        compute: Runs the network over some of the slices.
        consume: Takes the results in order, one at a time, in a second thread, so that the
            network does not wait for it.
        reporter: Progress and cancel.
        overlapped: False handles every result before the next batch is begun; the results
            are the same.

    Raises:
        CovidLesionSegError: ``out-of-memory`` when not even one slice fits.
        CancelledError: The reporter was told to stop.
    """
    batch = _BATCH_SLICES.get(device.split(":")[0], 4)
    pending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="slices") as background:
        start = 0
        while start < count:
            part = slice(start, min(start + batch, count))
            result = _attempt(compute, part, device)
            if result is None:
                batch = max((part.stop - part.start) // 2, 1)
                continue
            pending.append(background.submit(consume, part, result))
            while len(pending) > (_PENDING if overlapped else 0):
                pending.popleft().result()
            start = part.stop
            reporter.advance(start, count)
        for future in pending:
            future.result()


def _attempt(compute: Callable[[slice], ResultT], part: slice, device: str) -> ResultT | None:
    """Return the result, or None if memory ran out and a smaller batch may fit."""
    import torch

    try:
        with torch.inference_mode():
            return compute(part)
    except (torch.OutOfMemoryError, MemoryError) as error:
        if part.stop - part.start == 1:
            raise CovidLesionSegError(
                "out-of-memory",
                f"There is not enough memory on {device} for a single slice.",
                "Close other programs, or choose the device 'cpu'.",
            ) from error
        return None
