"""The list of lesions: which come first, which are shown, which are selected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from CovidLesionSegLib.engine.definitions import SMALL_LESION_ML
from CovidLesionSegLib.engine.result import Lesion
from CovidLesionSegLib.engine.review_values import UNREVIEWED, is_small, volume_in_doubt_ml

from .definitionTexts import definitionText
from .texts import classText, lesionsText, stateText
from .widgets import fitSize, setColumns, setUsable

COLUMNS = ("lesion", "lobe", "lesion_class", "volume_ml", "mean_hu", "doubt_ml", "state")
_NUMBERS = ("volume_ml", "mean_hu", "doubt_ml")


class LesionTable:
    """Shows lesions in the order of the review.

    Args:
        ui: The panel's widgets.
        onSelected: Called when the user, or `select`, has selected something.
    """

    def __init__(self, ui: Any, onSelected: Callable[[], None]) -> None:
        self._ui, self._onSelected = ui, onSelected
        self._filling = False
        self._lesions: Sequence[Lesion] = ()
        headings = {
            "lesion": "#",
            "lobe": _("Lobe"),
            "lesion_class": _("Class"),
            "volume_ml": _("ml"),
            "mean_hu": _("HU"),
            "doubt_ml": _("Doubt\nml"),
            "state": _("State"),
        }
        texts = [(headings[key], definitionText(key)) for key in COLUMNS]
        setColumns(ui.lesionTable, texts, COLUMNS.index("state"))
        ui.lesionTable.connect("itemSelectionChanged()", self._selectionChanged)
        ui.smallCheckBox.setChecked(True)
        ui.smallCheckBox.connect("toggled(bool)", self._onShowSmall)

    @property
    def selectedIds(self) -> list[int]:
        """Ids of the selected lesions that are shown, in the order of the list."""
        table = self._ui.lesionTable
        # Selecting all takes hidden rows along; nobody decides what isn't seen.
        rows = sorted(
            index.row()
            for index in table.selectionModel().selectedRows()
            if not table.isRowHidden(index.row())
        )
        return [self._lesions[row].id for row in rows if row < len(self._lesions)]

    @property
    def smallIds(self) -> list[int]:
        """Ids of the small lesions that nobody has decided yet."""
        return [
            lesion.id for lesion in self._lesions if is_small(lesion) and lesion.state == UNREVIEWED
        ]

    def show(self, lesions: Sequence[Lesion]) -> None:
        """Show lesions in their order; the selection stays."""
        selected = self.selectedIds
        self._lesions = lesions
        table = self._ui.lesionTable
        self._filling = True
        table.setRowCount(len(lesions))
        for row, lesion in enumerate(lesions):
            self._showRow(row, lesion)
        self._showSmall()
        table.clearSelection()
        ids = [lesion.id for lesion in lesions]
        for lesionId in selected:
            if lesionId in ids:
                table.selectRow(ids.index(lesionId))
        self._filling = False

    def clear(self) -> None:
        """Show nothing."""
        self._filling = True
        self._lesions = ()
        self._ui.lesionTable.setRowCount(0)
        self._filling = False

    def step(self, by: int, onlyOpen: bool = False) -> None:
        """Select the next or previous lesion of those shown; at the ends it goes round."""
        lesions, selected = self._lesions, self.selectedIds
        if not lesions:
            return
        ids = [lesion.id for lesion in lesions]
        start = ids.index(selected[0]) if selected else -1 if by > 0 else 0
        for distance in range(1, len(ids) + 1):
            row = (start + by * distance) % len(ids)
            if onlyOpen and lesions[row].state != UNREVIEWED:
                continue
            if not self._ui.lesionTable.isRowHidden(row):
                self._ui.lesionTable.clearSelection()
                self._ui.lesionTable.selectRow(row)
                self._ui.lesionTable.scrollToItem(self._ui.lesionTable.item(row, 0))
                return

    def _showRow(self, row: int, lesion: Lesion) -> None:
        for column, (text, tip) in enumerate(_cells(lesion)):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(tip)
            if COLUMNS[column] in _NUMBERS:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            if lesion.state != UNREVIEWED:
                item.setForeground(qt.QBrush(qt.QColor("#7f7f7f")))
            self._ui.lesionTable.setItem(row, column, item)

    def _showSmall(self) -> None:
        ui = self._ui
        small = [is_small(lesion) for lesion in self._lesions]
        hide = not ui.smallCheckBox.checked
        for row, isSmall in enumerate(small):
            ui.lesionTable.setRowHidden(row, hide and isSmall)
        fitSize(ui.lesionTable, [row for row, isSmall in enumerate(small) if not hide * isSmall])
        ui.smallCheckBox.setVisible(any(small))
        ui.acceptSmallButton.setVisible(any(small))
        lesions, size = lesionsText(str(sum(small))), f"{SMALL_LESION_ML:g}"
        ui.smallCheckBox.setText(
            _("Show {lesions} below {size} ml").format(lesions=lesions, size=size)
        )
        setUsable(ui.acceptSmallButton, "" if self.smallIds else _("All of them are decided"))

    def _onShowSmall(self, _checked: bool = False) -> None:
        before = self.selectedIds
        self._filling = True
        self._showSmall()
        self._filling = False
        if self.selectedIds != before:
            self._onSelected()

    def _selectionChanged(self) -> None:
        if not self._filling:
            self._onSelected()


def _cells(lesion: Lesion) -> list[tuple[str, str]]:
    """Return text and tooltip of every cell; the tooltip is the value in full."""
    lobe = lesion.lobe.name if lesion.lobe else _("n/a")
    short, full = classText(lesion.lesion_class)
    doubt = volume_in_doubt_ml(lesion)
    share = 100.0 * doubt / lesion.volume_ml
    size = _("{volume:.3f} ml, like a sphere of {diameter:.0f} mm").format(
        volume=lesion.volume_ml, diameter=lesion.diameter_mm
    )
    return [
        (str(lesion.id), _("Lesion {id}").format(id=lesion.id)),
        (lobe, _("In {lobe} for the most part").format(lobe=lobe)),
        (short, full),
        (f"{lesion.volume_ml:.2f}", size),
        (f"{lesion.mean_hu:.0f}", _("Mean {hu:.1f} HU").format(hu=lesion.mean_hu)),
        (f"{doubt:.2f}", _("{share:.0f} % of the lesion may be none").format(share=share)),
        (stateText(lesion.state), stateText(lesion.state)),
    ]
