"""What a report says, independent of how it is printed: HTML and PDF render the same values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .canvas import Rgb

WIDTH_MM = 168.0
"""Width of the text: fits A4 and Letter with margins of 2 cm."""


@dataclass(frozen=True)
class Paragraph:
    """Running text.

    Attributes:
        text: Plain text.
        style: ``"normal"``, ``"lead"`` (the main number) or ``"quiet"``.
    """

    text: str
    style: str = "normal"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Names and values, one pair a line."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TableColumn:
    """Head of a table's column.

    Attributes:
        title: Its name, with the unit.
        share: Width relative to the other columns.
        is_number: Whether its cells are numbers, which are set flush right.
    """

    title: str
    share: float = 1.0
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: Heads.
        rows: Cells as text, one per column.
        strong: Indices of rows set in bold.
        ruled: Indices of rows with a line above.
    """

    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: tuple[int, ...] = ()
    ruled: tuple[int, ...] = ()


@dataclass(frozen=True)
class Bar:
    """One row of a chart; lengths as a share 0..1 of the axis.

    Attributes:
        label: At its left.
        parts: Lengths and colours, from the axis outwards.
        interval: Ends of the interval; None without one.
        text: At its right.
        strong: Whether it is set in bold.
        starts_group: Whether there is a gap above.
    """

    label: str
    parts: tuple[tuple[float, Rgb], ...]
    interval: tuple[float, float] | None
    text: str
    strong: bool = False
    starts_group: bool = False


@dataclass(frozen=True)
class Legend:
    """Colours and what they mean."""

    entries: tuple[tuple[Rgb, str], ...]


@dataclass(frozen=True)
class Chart:
    """Bars over one axis that starts at 0.

    Attributes:
        bars: From top to bottom.
        ticks: Texts at the start, the middle and the end of the axis.
        alt: What the chart shows, for those who can't see it.
    """

    bars: tuple[Bar, ...]
    ticks: tuple[str, str, str]
    alt: str


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        png: The file.
        width_mm, height_mm: Size on paper.
        caption: Below it.
        alt: What it shows, for those who can't see it.
    """

    png: bytes
    width_mm: float
    height_mm: float
    caption: str
    alt: str


@dataclass(frozen=True)
class PictureRow:
    """Pictures side by side."""

    pictures: tuple[Picture, ...]


Block: TypeAlias = Paragraph | Bullets | Facts | Table | Legend | Chart | PictureRow


@dataclass(frozen=True)
class Section:
    """A headed part.

    Attributes:
        title: Its heading.
        blocks: What it says.
    """

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: Heading of the first page.
        subtitle: Below it.
        notice: What must be seen before any number.
        footer: At the foot of every page.
        sections: In order.
    """

    title: str
    subtitle: str
    notice: str
    footer: str
    sections: tuple[Section, ...]
