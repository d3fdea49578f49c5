"""What the commands print: progress bar, table, errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from CovidLesionSegLib.engine.result import Measure, SegmentationResult

STAGE_TEXTS = {
    "read": "Reading and checking",
    "lungs": "Finding the lungs",
    "lobes": "Finding the lobes",
    "infection": "Segmenting infection",
    "lesions": "Separating lesions",
    "numbers": "Measuring",
    "write": "Writing files",
}

Listener = Callable[[str, float], None]


class _Console(Console):
    """A console that leaves it to `cli.main` to say what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def out() -> Console:
    """Return the console for results (standard output)."""
    return _Console(markup=False, highlight=False, soft_wrap=True)


def err() -> Console:
    """Return the console for progress, warnings and errors (standard error)."""
    return _Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Listener]:
    """Yield a progress listener: a bar with stage and ETA on a terminal, else silent lines.

    Without a terminal (a log file, a batch system) each stage is one line.
    """
    console = err()
    if quiet:
        yield lambda _stage, _fraction: None
    elif not console.is_terminal:
        seen: set[str] = set()

        def line(stage: str, fraction: float) -> None:
            if stage not in seen:
                seen.add(stage)
                console.print(f"{fraction:4.0%}  {STAGE_TEXTS[stage]}")

        yield line
    else:
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("Starting", total=1.0)
            yield lambda stage, fraction: progress.update(
                task, description=STAGE_TEXTS[stage], completed=fraction
            )


def _number(measure: Measure, digits: int = 1) -> str:
    """Return a number as text; an absent one is ``n/a``, never 0."""
    return "n/a" if measure.value is None else f"{measure.value:.{digits}f}"


def _percent(measure: Measure) -> str:
    """Return a percentage and its interval as the report writes them."""
    from CovidLesionSegLib.export.lobe_chart import format_interval, format_percent

    if measure.value is None:
        return "n/a"
    interval = format_interval(measure)
    return format_percent(measure.value) + (f"  ({interval})" if interval else "")


def lobe_table(result: SegmentationResult) -> Table:
    """Return the per-lobe table for the terminal."""
    cells = []
    for row in result.quantification.rows:
        measures = row.measures
        score = measures.get("involvement_score")
        cells.append(
            (
                _number(measures["volume_ml"], 0),
                _number(measures["infected_ml"]),
                _percent(measures["infected_percent"]),
                "" if score is None else _number(score, 0),
            )
        )
    headings = ("Volume ml", "Infected ml", "Infected %  (interval)", "Score")
    return region_table(result, "Infection by lobe", headings, cells)


def region_table(
    result: SegmentationResult,
    title: str,
    headings: Sequence[str],
    cells: Sequence[Sequence[str]],
) -> Table:
    """Return a table for the terminal with a row for every region of a result.

    Args:
        result: The result; it says where the lobes are from and which are approximate.
        title: Title.
        headings: Of the columns beside the region's name.
        cells: Their texts, row by row.
    """
    from CovidLesionSegLib.export.lobe_chart import approximate_mark

    source = result.anatomy.lobe_source
    caption = f"Lobes: {source.value}" + (" (~ approximate)" if source.is_approximate else "")
    table = Table(title=title, caption=caption, title_style="bold")
    table.add_column("Region")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row, texts in zip(result.quantification.rows, cells, strict=True):
        style = "bold" if row.region == "total" else ""
        table.add_row(row.label + approximate_mark(row), *texts, style=style)
    return table
