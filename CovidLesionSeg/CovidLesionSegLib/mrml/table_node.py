"""The per-lobe table as table node, and its bar chart as plot nodes."""

from __future__ import annotations

import math
from typing import Any

import vtk

from CovidLesionSegLib.engine.result import Quantification
from CovidLesionSegLib.export.segments import segment_definition
from CovidLesionSegLib.export.tables import Column, lobes_columns

CHART_MEASURE = "infected_percent"


def addLobesTable(scene: Any, quantification: Quantification, name: str) -> Any:
    """Add the table of lobes, lungs and total.

    Numbers are double columns with unit and title; an absent value is NaN, and the last
    column says why. The definitions used stand in the node's description.

    Args:
        scene: vtkMRMLScene.
        quantification: The numbers.
        name: Node name; made unique.

    Returns:
        vtkMRMLTableNode.
    """
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(name))
    node.SetUseColumnTitleAsColumnHeader(True)
    fillLobesTable(node, quantification)
    return node


def fillLobesTable(node: Any, quantification: Quantification) -> None:
    """Replace the content of a table node, for example after an edit.

    Args:
        node: vtkMRMLTableNode.
        quantification: The numbers.
    """
    wasModifying = node.StartModify()
    node.RemoveAllColumns()
    for column in lobes_columns(quantification):
        node.AddColumn(_vtkArray(column))
        node.SetColumnTitle(column.name, column.title)
        node.SetColumnUnitLabel(column.name, column.unit)
        if column.description:
            node.SetColumnDescription(column.name, column.description)
    node.SetDescription(_description(quantification))
    node.SetLocked(True)
    node.EndModify(wasModifying)


def addLobesChart(scene: Any, tableNode: Any, name: str) -> Any:
    """Add a bar chart of the infected percentage per lobe, lung and total.

    Args:
        scene: vtkMRMLScene.
        tableNode: vtkMRMLTableNode of `addLobesTable`; the chart follows its changes.
        name: Name of the chart node; made unique.

    Returns:
        vtkMRMLPlotChartNode.
    """
    series = scene.AddNewNodeByClass(
        "vtkMRMLPlotSeriesNode", scene.GenerateUniqueName("Infected [%]")
    )
    series.SetPlotType(series.PlotTypeBar)
    series.SetAndObserveTableNodeID(tableNode.GetID())
    series.SetLabelColumnName("region")
    series.SetYColumnName(CHART_MEASURE)
    series.SetColor(*segment_definition("infection").color)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GenerateUniqueName(name))
    chart.SetTitle("Infected volume")
    chart.SetXAxisTitle("Region")
    chart.SetYAxisTitle("Infected [%]")
    chart.SetLegendVisibility(False)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return chart


def _vtkArray(column: Column) -> Any:
    array = vtk.vtkStringArray() if column.is_text else vtk.vtkDoubleArray()
    array.SetName(column.name)
    for cell in column.cells:
        array.InsertNextValue(math.nan if cell is None else cell)
    return array


def _description(quantification: Quantification) -> str:
    return "\n".join(
        f"{name}: {definition}" for name, definition in quantification.conventions.items()
    )
