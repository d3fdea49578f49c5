"""Every name of Qt, ctk, qMRML and Slicer that the module uses is one that Slicer 5.12 has."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from Testing.host import inventory

MODULE = Path(__file__).resolve().parents[2] / "CovidLesionSeg"
APP = [MODULE / "CovidLesionSeg.py", *sorted((MODULE / "CovidLesionSegLib" / "app").glob("*.py"))]
# These make a scene file without the application and never run inside it.
OUTSIDE = {"headless.py", "scene_file.py", "scene_child.py", "views.py"}
MRML = [
    path
    for path in sorted((MODULE / "CovidLesionSegLib" / "mrml").glob("*.py"))
    if path.name not in OUTSIDE
]
VTK_CLASSES = (
    "vtkMatrix4x4",
    "vtkImageData",
    "vtkPointData",
    "vtkTable",
    "vtkDoubleArray",
    "vtkPolyData",
    "vtkCellArray",
    "vtkDiscreteFlyingEdges3D",
    "vtkWindowedSincPolyDataFilter",
)
UI = MODULE / "Resources" / "UI" / "CovidLesionSeg.ui"

pytestmark = pytest.mark.skipif(
    inventory.folder() is None,
    reason="no inventory of Slicer beside the checkout; set COVID_LESION_SEG_SLICER_API",
)


def chains(path: Path) -> Iterator[list[str]]:
    """Yield dotted names, the longest ones, as lists; calls in between are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            parts: list[str] = []
            current: ast.expr = node
            while isinstance(current, ast.Attribute | ast.Call):
                if isinstance(current, ast.Attribute):
                    parts.insert(0, current.attr)
                    current = current.value
                else:
                    current = current.func
            if isinstance(current, ast.Name):
                yield [current.id, *parts]


def ui_classes() -> dict[str, str]:
    root = ET.parse(UI).getroot()
    return {w.attrib["name"]: w.attrib["class"] for w in root.iter("widget")}


def aliases(path: Path) -> dict[str, str]:
    """Return local names for a widget, for example ``table = self._ui.lesionTable``."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Attribute)
            and isinstance(node.targets[0], ast.Name)
        ):
            owner = node.value.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if name in ("ui", "_ui"):
                found[node.targets[0].id] = node.value.attr
    return found


@pytest.mark.parametrize("path", APP, ids=lambda path: path.name)
def test_qt_names(path: Path) -> None:
    unknown = []
    for root, *rest in chains(path):
        if root != "qt" or not rest or rest[0] == "Qt":
            continue
        names = inventory.names(rest[0])
        if names is None or (len(rest) > 1 and rest[1] not in names):
            unknown.append(".".join(("qt", *rest)))
    assert not unknown


CALLED = {
    "table": "QTableWidget",
    "header": "QHeaderView",
    "item": "QTableWidgetItem",
    "box": "QComboBox",
    "button": "QPushButton",
    "label": "QLabel",
    "shortcut": "QShortcut",
    "timer": "QTimer",
    "printer": "QPrinter",
    "document": "QTextDocument",
    "_help": "QTextBrowser",
    "_timer": "QTimer",
    "_stepTimer": "QTimer",
    "_process": "QProcess",
}
"""What the module calls its Qt objects, and of which class they are."""

GIVES = {
    "horizontalHeader": "QHeaderView",
    "verticalHeader": "QHeaderView",
    "horizontalHeaderItem": "QTableWidgetItem",
    "selectionModel": "QItemSelectionModel",
    "palette": "QPalette",
    "color": "QColor",
}
"""What Qt's methods and properties return."""


OTHER_THINGS = {
    ("box", "exportPanel.py"),
    ("box", "resultView.py"),
    ("item", "choices.py"),
    ("table", "modelCard.py"),
}
"""Names that stand for something else in a file: check boxes, models, a table of scores."""


def unknown_on_objects(path: Path) -> set[str]:
    """Names used on an object of Qt, or on what it returns, that its class lacks in Slicer."""
    unknown = set()
    for chain in chains(path):
        parts = chain[1:] if chain[0] == "self" else chain
        kind = CALLED.get(parts[0]) if parts else None
        # The runs hold a process of our own class under this name.
        other = (parts[0], path.name) in OTHER_THINGS
        if other or (path.name != "workerProcess.py" and parts[0] == "_process"):
            continue
        for name in parts[1:]:
            names = inventory.names(kind) if kind else None
            if names is None:
                break
            if name not in names | {"connect"}:
                unknown.add(f"{kind}.{name}")
            kind = GIVES.get(name)
    return unknown


@pytest.mark.parametrize("path", APP, ids=lambda path: path.name)
def test_names_on_objects(path: Path) -> None:
    assert not unknown_on_objects(path)


def test_a_name_that_slicer_lacks_would_be_noticed(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text("table.setColumns(1)\ntable.horizontalHeader().stretchAll(2)\n")
    assert unknown_on_objects(file) == {"QTableWidget.setColumns", "QHeaderView.stretchAll"}


@pytest.mark.parametrize("path", APP, ids=lambda path: path.name)
def test_widget_names(path: Path) -> None:
    classes, local, unknown = ui_classes(), aliases(path), []
    for chain in chains(path):
        parts = chain
        if "_ui" in parts[:2] or "ui" in parts[:2]:
            parts = parts[next(i for i, p in enumerate(parts) if p in ("ui", "_ui")) + 1 :]
        elif parts[0] in local:
            parts = [local[parts[0]], *parts[1:]]
        else:
            continue
        if not parts:
            continue
        names = inventory.names(classes.get(parts[0], "")) or frozenset()
        if parts[0] not in classes or (len(parts) > 1 and parts[1] not in names):
            unknown.append(".".join(chain))
    assert not unknown


@pytest.mark.parametrize("path", [*APP, *MRML], ids=lambda path: path.name)
def test_slicer_names(path: Path) -> None:
    unknown = []
    util = inventory.read("python.json")["slicer.util"]["members"]
    modules = {name.lower() for name in inventory.read("python.json")["moduleNames"]}
    for root, *rest in chains(path):
        if root != "slicer" or len(rest) < 2:
            continue
        known = {
            "util": rest[1] in util or rest[1] in ("exit",),
            "app": rest[1] in (inventory.names("slicer.app") or ()),
            "modules": rest[1] in modules | {"covidlesionseg"},
        }
        if not known.get(rest[0], True):
            unknown.append(".".join(("slicer", *rest)))
    assert not unknown


@pytest.mark.parametrize("path", [*APP, *MRML], ids=lambda path: path.name)
def test_methods_of_mrml_and_vtk(path: Path) -> None:
    import vtk

    known = {name for names in inventory.read("mrml.json").values() for name in names}
    for cls in VTK_CLASSES:
        known |= set(dir(getattr(vtk, cls)))
    known |= set(dir(vtk.vtkCommand)) | set(dir(vtk.vtkStringArray))
    known |= _not_in_the_inventory()
    unknown = {
        part
        for root, *rest in chains(path)
        if root not in ("qt", "ctk", "subprocess", "tempfile", "threading", "os", "zipfile")
        and rest[:1] != ["util"]
        for part in rest
        if part[0].isupper() and part not in known and not part.isupper()
    }
    assert not unknown - _classes()


def _not_in_the_inventory() -> set[str]:
    """Classes that the inventory leaves out, taken from the MRML classes of the wheel."""
    import slicer

    names: set[str] = set()
    for cls in (
        "vtkSlicerApplicationLogic",
        "vtkMRMLSelectionNode",
        "vtkMRMLInteractionNode",
        "vtkMRMLSegmentationStorageNode",
        "vtkSlicerTerminologiesModuleLogic",
        "vtkMRMLTransformNode",
        "vtkOrientedImageDataResample",
    ):
        names |= set(dir(getattr(slicer, cls, object)))
    return names


def _classes() -> set[str]:
    """Own classes, and those of modules that the inventory has not."""
    own = set()
    for path in (MODULE / "CovidLesionSegLib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                own.add(node.name)
    return own | {"SampleDataLogic", "PyTorchUtilsLogic", "PackageNotFoundError"}


def test_the_ui_file_uses_what_exists() -> None:
    unknown = []
    for widget in ET.parse(UI).getroot().iter("widget"):
        entry = inventory.widget_class(widget.attrib["class"])
        assert entry is not None, widget.attrib["class"]
        for prop in widget.findall("property"):
            if prop.get("stdset") != "0" and prop.attrib["name"] not in entry["properties"]:
                unknown.append(f"{widget.attrib['class']}.{prop.attrib['name']}")
    assert not unknown


@pytest.mark.parametrize("path", APP, ids=lambda path: path.name)
def test_imports_from_slicer(path: Path) -> None:
    python = inventory.read("python.json")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("slicer."):
            for alias in node.names:
                assert alias.name in python[str(node.module)]["members"], alias.name


def test_signals_are_connected_by_signatures_that_exist() -> None:
    classes, unknown = ui_classes(), []
    for path in APP:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "connect"
                and isinstance(node.func.value, ast.Attribute)
                and node.func.value.attr in classes
            ):
                known = inventory.signals(classes[node.func.value.attr]) or frozenset()
                signature = ast.literal_eval(node.args[0])
                if signature not in known:
                    unknown.append(f"{classes[node.func.value.attr]} {signature}")
    assert not unknown
