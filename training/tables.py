"""Markdown tables of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, ending in a newline."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number_text(value: float | None, digits: int = 3) -> str:
    """Return a rounded number, a dash for one that does not exist."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval_text(figure: Mapping[str, float | None], digits: int = 3) -> str:
    """Return a mean and its interval, a dash if they don't exist."""
    if figure["mean"] is None:
        return "-"
    mean, low, high = (number_text(figure[name], digits) for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
