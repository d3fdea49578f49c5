"""Memory that runs out, told in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from CovidLesionSegLib.errors import CovidLesionSegError


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that memory ran out.

    numpy raises a `MemoryError`; torch and ITK a `RuntimeError` that only its text tells apart.
    """
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("allocate" in text or "out of memory" in text)
    )


def too_little_memory() -> CovidLesionSegError:
    """Return what is said when the computer's own memory does not suffice."""
    return CovidLesionSegError(
        "too-little-memory",
        "There is not enough memory for this CT.",
        "Close other programs, or crop the CT to the chest.",
    )


@contextmanager
def memory_told() -> Iterator[None]:
    """Turn memory that runs out inside into an error that says so.

    Raises:
        CovidLesionSegError: ``too-little-memory``.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise too_little_memory() from error
