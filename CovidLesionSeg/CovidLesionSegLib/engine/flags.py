"""What each flag means, in a sentence for the reader of the table."""

from __future__ import annotations

from collections.abc import Iterable

FLAG_TEXTS: dict[str, str] = {}


def warnings_for(flags: Iterable[str]) -> tuple[str, ...]:
    """Return one sentence for each flag, in order, without repetition."""
    return tuple(dict.fromkeys(FLAG_TEXTS[flag] for flag in flags))
