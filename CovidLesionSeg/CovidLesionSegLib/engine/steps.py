"""Long work that an application does in steps, so that it stays responsive in between.

Such work is a generator that yields after every step and returns what it made.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")

Steps = Generator[None, None, Result]


def finish(steps: Steps[Result]) -> Result:
    """Do all steps at once and return what they made."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: Result = end.value
            return value
