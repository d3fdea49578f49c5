"""Kinds of values that a command line can hold; argparse names them as the functions here."""

from __future__ import annotations

import argparse
import math
from pathlib import Path


def path(text: str) -> Path:
    """Return a path.

    An empty one is refused: it is what a shell makes of a variable that is not set, and would
    otherwise mean the current folder.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def count(text: str) -> int:
    """Return a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def seconds(text: str) -> float:
    """Return a time in seconds, more than none and not for ever."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("more than 0 seconds")
    return number
