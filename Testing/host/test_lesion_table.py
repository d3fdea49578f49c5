"""The lists: order, small lesions, and columns that can be read in a narrow panel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from Testing.host.application import Host
from Testing.support.review_result import reviewable_result

NARROW, WIDE = 400, 600


@pytest.fixture
def result(host: Host, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A result in review whose smallest lesion counts as small."""
    from CovidLesionSegLib.app import lesionTable
    from CovidLesionSegLib.engine import review_values

    volumes = sorted(lesion.volume_ml for lesion in reviewable_result().lesions)
    for module in (lesionTable, review_values):
        monkeypatch.setattr(module, "SMALL_LESION_ML", (volumes[0] + volumes[1]) / 2)
    host.addCt(reviewable_result().ct)
    return host.segment()


def column(host: Host, name: str) -> list[str]:
    from CovidLesionSegLib.app.lesionTable import COLUMNS

    table = host.ui.lesionTable
    return [table.item(row, COLUMNS.index(name)).text() for row in range(table.rowCount)]


def sizes_of(host: Host) -> list[int]:
    """Widths of the columns of the table by lobe."""
    header = host.ui.lobesTable.horizontalHeader()
    return [header.sectionSize(number) for number in range(host.ui.lobesTable.columnCount)]


@pytest.mark.usefixtures("result")
def test_the_volume_in_doubt_decides_and_small_lesions_are_last(host: Host) -> None:
    doubts = [float(text) for text in column(host, "doubt_ml")]
    assert doubts[:-1] == sorted(doubts[:-1], reverse=True)
    volumes = [float(text) for text in column(host, "volume_ml")]
    assert volumes[-1] == min(volumes)
    assert set(column(host, "lesion_class")) <= {"GGO", "Mixed", "Cons."}


@pytest.mark.usefixtures("result")
def test_small_lesions_can_be_hidden_and_are_skipped(host: Host) -> None:
    ui, table = host.ui, host.ui.lesionTable
    assert ui.smallCheckBox.text.startswith("Show 1 lesion below")
    last = table.rowCount - 1
    ui.smallCheckBox.setChecked(False)
    assert [table.isRowHidden(row) for row in range(last + 1)] == [False] * last + [True]
    for _ in range(last + 1):
        ui.nextButton.click()
    first = host.panel.review.session.lesions[0].id
    assert host.panel.review.selectedIds == [first]
    assert not ui.finishButton.enabled


@pytest.mark.usefixtures("result")
def test_what_is_hidden_is_not_decided(host: Host) -> None:
    ui, last = host.ui, host.ui.lesionTable.rowCount - 1
    ui.smallCheckBox.setChecked(True)
    ui.lesionTable.selectRow(last)
    assert ui.rejectButton.enabled
    ui.smallCheckBox.setChecked(False)
    assert not ui.rejectButton.enabled
    ui.lesionTable.selectAll()
    ui.rejectButton.click()
    assert column(host, "state") == ["rejected"] * last + ["to review"]


@pytest.mark.usefixtures("result")
def test_small_lesions_are_accepted_at_once(host: Host) -> None:
    ui = host.ui
    ui.acceptSmallButton.click()
    assert column(host, "state")[-1] == "accepted"
    assert set(column(host, "state")[:-1]) == {"to review"}
    assert not ui.acceptSmallButton.enabled
    assert ui.acceptSmallButton.toolTip == "All of them are decided"
    assert [entry.action for entry in host.panel.review.session.log] == ["accept"]


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_nothing_is_cut_off(host: Host, result: Any, width: int, tmp_path: Any) -> None:
    session = host.panel.review.session
    # The widest values of real CTs.
    wide = [
        replace(lesion, volume_ml=1234.56, mean_hu=-888.0, doubt_ml=123.45, id=88)
        for lesion in session.lesions
    ]
    # Small lesions have a row of widgets of their own.
    wide[-1] = replace(wide[-1], volume_ml=0.01)
    host.panel.review._table.show(wide)
    host.grab(tmp_path / "panel.png", width)
    panel = host.ui.segmentButton.parentWidget()
    needed = panel.layout().minimumSize().width()
    assert needed <= NARROW, "something is wider than the panel"
    for table in (host.ui.lobesTable, host.ui.lesionTable):
        header = table.horizontalHeader()
        for number in range(table.columnCount):
            needed = max(table.sizeHintForColumn(number), header.sectionSizeHint(number))
            assert header.sectionSize(number) >= needed, (table.name, number)
        assert header.length() <= table.viewport().size().width()
    for button in ("addButton", "acceptSmallButton", "intendedUseButton", "undoButton"):
        widget = getattr(host.ui, button)
        assert widget.width >= widget.minimumSizeHint().width(), button
    assert result is session.node


@pytest.mark.usefixtures("result")
def test_however_narrow_the_panel_is_the_rows_can_be_told_from_each_other(
    host: Host, tmp_path: Path
) -> None:
    host.grab(tmp_path / "panel.png", NARROW)
    for table in (host.ui.lobesTable, host.ui.lesionTable):
        table.resize(200, table.height)
        header = table.horizontalHeader()
        sizes = [header.sectionSize(number) for number in range(table.columnCount)]
        needed = [table.sizeHintForColumn(number) for number in range(table.columnCount)]
        cut = [number for number in range(len(sizes)) if sizes[number] < needed[number]]
        assert cut in ([], [int(table.property("elasticColumn"))]), table.name
        assert header.length() <= table.viewport().size().width(), table.name
    name = host.ui.lobesTable.item(0, 0).text()
    assert host.ui.lobesTable.fontMetrics().horizontalAdvance(name) < sizes_of(host)[0] - 6


@pytest.mark.usefixtures("result")
def test_one_lesion_is_no_plural(host: Host) -> None:
    assert " 3 lesions " in host.ui.summaryLabel.text
    for row in (0, 1):
        host.ui.lesionTable.selectRow(row)
        host.ui.rejectButton.click()
    assert " 1 lesion " in host.ui.summaryLabel.text


@pytest.mark.usefixtures("result")
def test_cells_tell_the_value_in_full(host: Host) -> None:
    lesion = host.panel.review.session.lesions[0]
    tips = [host.ui.lesionTable.item(0, number).toolTip() for number in range(7)]
    assert f"{lesion.volume_ml:.3f} ml" in tips[3]
    assert "may be none" in tips[5]
    assert tips[2] in ("Ground-glass opacity", "Ground glass with consolidation", "Consolidation")
