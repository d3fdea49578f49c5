"""What several parts of the panel do to their widgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

_ERROR_ON_LIGHT, _ERROR_ON_DARK = "#b03a2e", "#ff9c8f"
_MOST_ROWS = 12
_ROW_HEIGHT = 20
_HEADING_ROWS = 1.8
"""A heading of two lines, compared with a row."""

_ELASTIC_ROWS = 3.0
"""Least width of the column that gives way, in heights of a row: a lobe's name can be read."""


def setUsable(button: Any, reason: str, tip: str = "") -> None:
    """Enable a button, or disable it and say why in its tooltip.

    Args:
        button: The button.
        reason: Why it can't be used now; empty when it can.
        tip: Its usual tooltip; by default the one of the ``.ui`` file.
    """
    usual = tip or button.property("usualToolTip")
    if not usual:
        usual = button.toolTip
        button.setProperty("usualToolTip", usual)
    button.setEnabled(not reason)
    button.setToolTip(reason or usual)


def showAsError(label: Any, isError: bool) -> None:
    """Let a label stand out as an error, legible on a light and on a dark ground, or not."""
    isDark = label.palette.color(qt.QPalette.Window).lightness() < 128
    color = _ERROR_ON_DARK if isDark else _ERROR_ON_LIGHT
    label.setStyleSheet(f"color: {color}" if isError else "")


def setColumns(table: Any, headings: Sequence[tuple[str, str]], elastic: int) -> None:
    """Make a table a calm list with these columns: rows are selected, nothing is typed.

    Columns are as wide as what is in them; one takes what is left, and gives way where the panel
    is narrow, so that no number is cut off; `fitSize` says how far.

    Args:
        table: QTableWidget.
        headings: Heading and tooltip of each column.
        elastic: Number of the column that takes what is left; it holds text.
    """
    table.setColumnCount(len(headings))
    table.setHorizontalHeaderLabels([text for text, _tip in headings])
    for column, (_text, tip) in enumerate(headings):
        # Items that Qt has made itself: they belong to it, whatever Python lets go of.
        table.horizontalHeaderItem(column).setToolTip(tip)
    table.verticalHeader().setVisible(False)
    table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
    table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    table.setAlternatingRowColors(True)
    table.setShowGrid(False)
    table.setWordWrap(False)
    table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    header = table.horizontalHeader()
    header.setMinimumSectionSize(24)
    header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(elastic, qt.QHeaderView.Stretch)
    table.setProperty("elasticColumn", elastic)


def fitSize(table: Any, rows: Sequence[int]) -> None:
    """Show these rows without a scroll bar, up to a dozen, and let no column become unreadable.

    Args:
        table: QTableWidget.
        rows: Numbers of the rows that are not hidden.
    """
    table.resizeRowsToContents()
    shown = [table.rowHeight(row) for row in list(rows)[:_MOST_ROWS]]
    # Before a table is shown its header has no height of its own yet.
    shown = shown or [_ROW_HEIGHT]
    header = max(table.horizontalHeader().height, round(_HEADING_ROWS * shown[0]))
    height = header + sum(shown) + 6
    table.setMinimumHeight(height)
    table.setMaximumHeight(height)
    table.setMinimumWidth(_leastWidth(table, shown[0]) + 2 * table.frameWidth)


def _leastWidth(table: Any, rowHeight: int) -> int:
    """Return the width below which a number, or most of the elastic column, would be cut off."""
    widths = [
        max(table.sizeHintForColumn(column), table.horizontalHeader().sectionSizeHint(column))
        for column in range(table.columnCount)
    ]
    elastic = int(table.property("elasticColumn"))
    widths[elastic] = min(widths[elastic], round(_ELASTIC_ROWS * rowHeight))
    return sum(widths)
