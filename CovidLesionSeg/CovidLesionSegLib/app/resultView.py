"""The result in numbers and maps: summary, per-lobe table, map toggles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.engine.flags import warnings_for
from CovidLesionSegLib.engine.result import Lobe, Measure, Quantification, RegionRow
from CovidLesionSegLib.mrml.display import hideMap, setMapOpacity, showInSliceViews
from CovidLesionSegLib.mrml.run_nodes import flagsOfRun, isResult, nodeOfRun

from .definitionTexts import definitionText
from .texts import lesionsText
from .widgets import fitSize, setColumns, setUsable

REGION = "region"
COLUMNS = ("volume_ml", "infected_ml", "infected_percent", "involvement_score")
_EDITED = "edited"


def measureText(measure: Measure | None, digits: int, interval: bool = False) -> str:
    """Return a number as text; an absent one is "n/a" and never 0."""
    if measure is None:
        return ""
    if measure.value is None:
        return _("n/a")
    text = f"{measure.value:.{digits}f}"
    if interval and measure.low is not None and measure.high is not None:
        text += f" ({measure.low:.{digits}f}-{measure.high:.{digits}f})"
    return text


class ResultView:
    """Shows one result.

    Args:
        ui: The panel's widgets.
        opacity: Returns the opacity of the maps, 0..1.
    """

    def __init__(self, ui: Any, opacity: Any) -> None:
        self._ui = ui
        self._opacity = opacity
        self._node: Any = None
        self._boxes = {"boundary": ui.boundaryCheckBox, "agreement": ui.agreementCheckBox}
        headings = (_("Region"), _("ml"), _("Infected\nml"), _("Infected\n%"), _("Score\n0-5"))
        tips = (definitionText(key) for key in (REGION, *COLUMNS))
        setColumns(ui.lobesTable, list(zip(headings, tips, strict=True)), 0)
        ui.boundaryCheckBox.connect("toggled(bool)", lambda on: self._onToggled("boundary", on))
        ui.agreementCheckBox.connect("toggled(bool)", lambda on: self._onToggled("agreement", on))
        ui.chartButton.connect("clicked(bool)", self._onChart)

    def show(self, node: Any, quantification: Quantification | None) -> None:
        """Show a result, or nothing for None."""
        if node is not self._node:
            # Its maps belong to what was shown before.
            for box in self._boxes.values():
                box.setChecked(False)
        self._node = node if quantification is not None else None
        ui = self._ui
        ui.resultSection.setVisible(quantification is not None)
        if quantification is None:
            return
        ui.summaryLabel.setText(summaryText(quantification))
        flags = flagsOfRun(node)
        ui.remarksLabel.setText("\n".join(warnings_for(flags)))
        ui.remarksLabel.setVisible(bool(flags))
        self._fill(quantification)
        for role, box in self._boxes.items():
            isThere = nodeOfRun(node, role) is not None
            setUsable(box, "" if isThere else _("The model of this result has none"))

    def showMap(self, role: str) -> None:
        """Lay a map over the CT in all slice views; ``""`` for none."""
        if self._node is None:
            return
        ctNode = nodeOfRun(self._node, "ct")
        mapNode = nodeOfRun(self._node, role) if role else None
        if ctNode is not None:
            showInSliceViews(slicer.mrmlScene, ctNode, mapNode, self._opacity() if mapNode else 0.0)

    def updateOpacity(self) -> None:
        """Follow the slider in the views that show the map; the others are the user's."""
        for role, box in self._boxes.items():
            mapNode = nodeOfRun(self._node, role) if box.checked and self._node else None
            if mapNode is not None:
                setMapOpacity(slicer.mrmlScene, mapNode, self._opacity())

    def _fill(self, quantification: Quantification) -> None:
        table = self._ui.lobesTable
        table.setRowCount(len(quantification.rows))
        for number, row in enumerate(quantification.rows):
            for column, text in enumerate(_cells(row)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(f"{_tooltip(row)}: {text}" if text else _tooltip(row))
                if column == len(COLUMNS):
                    item.setTextAlignment(qt.Qt.AlignHCenter | qt.Qt.AlignVCenter)
                elif column:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                if row.region == "total":
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                table.setItem(number, column, item)
        fitSize(table, range(len(quantification.rows)))

    def _onToggled(self, role: str, checked: bool) -> None:
        if not checked:
            mapNode = nodeOfRun(self._node, role) if self._node is not None else None
            if mapNode is not None:
                hideMap(slicer.mrmlScene, mapNode)
            return
        for other, box in self._boxes.items():
            if other != role:
                box.setChecked(False)
        self.showMap(role)

    def _onChart(self, _checked: bool = False) -> None:
        chart = nodeOfRun(self._node, "chart") if self._node is not None else None
        if chart is None:
            return
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetActivePlotChartID(chart.GetID())
        manager = slicer.app.layoutManager()
        if manager is not None:
            manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
        slicer.app.applicationLogic().PropagatePlotChartSelection()


def resultsIn(scene: Any) -> Iterator[Any]:
    """Yield the segmentation nodes of a scene that are results of ours."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSegmentationNode")
        if isResult(node):
            yield node


def showAlone(resultNode: Any) -> None:
    """Show a result and hide the others of its CT: two outlines on one lesion are unreadable."""
    ctNode = nodeOfRun(resultNode, "ct")
    for node in resultsIn(resultNode.GetScene()):
        if nodeOfRun(node, "ct") is ctNode and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(node is resultNode)


def summaryText(quantification: Quantification) -> str:
    """Return the result in one or two lines."""
    total = quantification.row("total")
    percent = measureText(total.measures.get("infected_percent"), 1, interval=True)
    lesions = measureText(total.measures.get("lesion_count"), 0)
    parts = [
        _("Infected: {percent} % of both lungs").format(percent=percent),
        lesionsText(lesions),
    ]
    score = quantification.scores.get("ctss_0_25")
    if score is not None and score.value is not None:
        parts.append(_("severity score {score} of 25").format(score=measureText(score, 0)))
    if _EDITED in total.flags:
        parts.append(_("edited"))
    return " · ".join(parts)


def _cells(row: RegionRow) -> list[str]:
    isLobe = row.region in Lobe.__members__
    label = row.region if isLobe else row.label[:1].upper() + row.label[1:]
    if any(flag.startswith("approximate") for flag in row.flags):
        label += " ~"
    digits = {"volume_ml": 0, "infected_ml": 1, "infected_percent": 1, "involvement_score": 0}
    return [
        label,
        *(
            measureText(row.measures.get(name), digits[name], name == "infected_percent")
            for name in COLUMNS
        ),
    ]


def _tooltip(row: RegionRow) -> str:
    reasons = dict.fromkeys(m.reason for m in row.measures.values() if m.value is None and m.reason)
    return "; ".join([row.label, *reasons, *row.flags])
