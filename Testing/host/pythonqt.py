"""Modules `qt` and `ctk` over PySide6 that behave as PythonQt does.

Properties are attributes, signals are connected by signature, an unknown name raises on
reading and on writing, a failing slot is reported and not raised. A name that the inventory of
a real Slicer lacks is refused here as well.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import types
from collections.abc import Callable
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtPrintSupport, QtUiTools, QtWidgets

from . import inventory

# Virtual or static methods of C++ that share a property's name: they must stay methods.
_VIRTUAL = {"sizeHint", "minimumSizeHint"}
_VIRTUAL_OF = {"QProgressBar": {"text"}, "QTimer": {"singleShot"}}
_OURS = {"connect", "disconnect", "name", "className", "staticMetaObject", "objectName"}
# Shiboken itself asks for these.
_OURS |= {"connectNotify", "disconnectNotify", "receivers"}
_MODULE = f"{os.sep}CovidLesionSeg{os.sep}CovidLesionSeg"
_wrapped: dict[type, type] = {}


def raw(self: Any, name: str) -> Any:
    """Return an attribute past the manners of PythonQt; for the host's own classes."""
    return QtCore.QObject.__getattribute__(self, name)


def connect(self: Any, signature: str, slot: Callable[..., Any]) -> bool:
    """Connect a slot by the signal's C++ signature."""
    compact = signature.replace(" ", "")
    known = inventory.signals(type(self).__name__)
    if known is not None and compact not in known:
        raise ValueError(f"{type(self).__name__} has no signal {signature}")
    match = re.fullmatch(r"(\w+)\((.*)\)", compact)
    if match is None:
        raise ValueError(f"{signature} is no signature")
    count = len([part for part in match[2].split(",") if part])
    raw(self, match[1]).connect(lambda *values: slot(*values[:count]))
    return True


def _named_by_module(code: types.CodeType, name: str) -> bool:
    """Return whether the module's own code names an attribute.

    Qt and the host may use all of PySide6, the module only what Slicer offers.
    """
    return _MODULE in code.co_filename and name in code.co_names


def _reader(base: type) -> Callable[[Any, str], Any]:
    def read(self: Any, name: str) -> Any:
        known = inventory.names(type(self).__name__)
        if (
            _named_by_module(sys._getframe(1).f_code, name)
            and known is not None
            and name not in known | _OURS
        ):
            raise AttributeError(f"{type(self).__name__} has no attribute named {name!r}")
        return base.__getattribute__(self, name)

    return read


def _writer(base: type) -> Callable[[Any, str, Any], None]:
    def write(self: Any, name: str, value: Any) -> None:
        known = getattr(type(self), name, None)
        if _named_by_module(sys._getframe(1).f_code, name) and not isinstance(
            known, property | QtCore.Property
        ):
            raise AttributeError(f"{name!r} does not exist on {type(self).__name__}")
        base.__setattr__(self, name, value)

    return write


def _property(name: str) -> property:
    return property(
        lambda self: QtCore.QObject.property(self, name),
        lambda self, value: QtCore.QObject.setProperty(self, name, value),
    )


def wrap(cls: type) -> Any:
    """Return the subclass of a QObject class that behaves as PythonQt's."""
    if cls in _wrapped:
        return _wrapped[cls]
    meta = cls.staticMetaObject  # type: ignore[attr-defined]
    own = {meta.property(index).name() for index in range(meta.propertyCount())}
    members: dict[str, Any] = {
        name: _property(name)
        for name in own - _VIRTUAL - {"objectName"} - _VIRTUAL_OF.get(cls.__name__, set())
        if not isinstance(cls.__dict__.get(name), QtCore.Property)
    }
    members |= {
        "name": property(
            lambda self: QtCore.QObject.objectName(self),
            lambda self, value: QtCore.QObject.setObjectName(self, value),
        ),
        "className": lambda self: type(self).__name__,
        "connect": connect,
        "__getattribute__": _reader(cls),
        "__setattr__": _writer(cls),
    }
    _wrapped[cls] = type(cls.__name__, (cls,), members)
    return _wrapped[cls]


def _keep_none() -> None:
    """Make None as good as immortal before Python 3.12, which made it so.

    PySide6 6.12 relies on that: each of its calls that returns nothing takes a reference of
    None away (measured with Python 3.11), and the interpreter aborts when it ends.
    """
    if sys.version_info < (3, 12):
        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


class _CollapsibleButton(QtWidgets.QGroupBox):
    """Draws a title; the content is there or not."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._collapsed = False

    def _text(self) -> str:
        return str(QtWidgets.QGroupBox.title(self))

    def _setText(self, text: str) -> None:
        QtWidgets.QGroupBox.setTitle(self, text)

    def _isCollapsed(self) -> bool:
        return self._collapsed

    def _setCollapsed(self, collapsed: bool) -> None:
        self._collapsed = collapsed
        QtWidgets.QGroupBox.setMaximumHeight(self, 22 if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    text = QtCore.Property(str, _text, _setText)
    collapsed = QtCore.Property(bool, _isCollapsed, _setCollapsed)


class _SliderWidget(QtWidgets.QDoubleSpinBox):
    """A number within bounds."""


class _PathLineEdit(QtWidgets.QLineEdit):
    """A path."""

    currentPathChanged = QtCore.Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        raw(self, "textChanged").connect(lambda text: self.currentPathChanged.emit(text))

    def _path(self) -> str:
        return str(QtWidgets.QLineEdit.text(self))

    def setCurrentPath(self, path: str) -> None:
        QtWidgets.QLineEdit.setText(self, path)

    currentPath = QtCore.Property(str, _path, setCurrentPath)


class _TextDocument(QtGui.QTextDocument):
    """PySide6 renames what was a keyword of Python 2; PythonQt does not."""

    def print(self, printer: Any) -> None:
        QtGui.QTextDocument.print_(self, printer)


class _Modal:
    """Stands for a window that would wait for a person who is not there."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a modal dialog was opened ({name})")


def _table() -> type:
    base = wrap(QtWidgets.QTableWidget)

    def start(self: Any, parent: Any = None) -> None:
        base.__init__(self, parent)
        for orientation, setter in (
            (QtCore.Qt.Orientation.Horizontal, base.setHorizontalHeader),
            (QtCore.Qt.Orientation.Vertical, base.setVerticalHeader),
        ):
            header = wrap(QtWidgets.QHeaderView)(orientation, self)
            setter(self, header)

    # PySide6 puts its own `connect` before an inherited one.
    return type("QTableWidget", (base,), {"__init__": start, "connect": connect})


def _renamed(cls: type, name: str) -> type:
    cls.__name__ = name
    wrapped: type = wrap(cls)
    return wrapped


class Loader(QtUiTools.QUiLoader):
    """Makes the stand-ins where a `.ui` file names their classes."""

    classes: ClassVar[dict[str, type]] = {}

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        if class_name not in self.classes:
            raise AssertionError(f"the host has no stand-in for {class_name}")
        widget = self.classes[class_name](parent)
        QtCore.QObject.setObjectName(widget, name)
        return widget


def _isOurs(cls: type) -> bool:
    """Return whether a class needs PythonQt's manners: widgets and what has signals."""
    objects = (QtCore.QTimer, QtCore.QProcess, QtGui.QShortcut)
    return issubclass(cls, (QtWidgets.QWidget, *objects))


def build() -> tuple[types.ModuleType, types.ModuleType]:
    """Return the modules `qt` and `ctk`."""
    _keep_none()
    qt, ctk = types.ModuleType("qt"), types.ModuleType("ctk")
    for library in (QtCore, QtGui, QtPrintSupport, QtWidgets):
        for name in dir(library):
            cls = getattr(library, name)
            known = inventory.folder() is None or inventory.widget_class(name) is not None
            if isinstance(cls, type) and name.startswith("Q") and known:
                setattr(qt, name, wrap(cls) if _isOurs(cls) else cls)
    for name in ("QMessageBox", "QFileDialog", "QInputDialog", "QDialog"):
        setattr(qt, name, _Modal())
    qt.Qt = QtCore.Qt  # type: ignore[attr-defined]
    qt.QTableWidget = _table()  # type: ignore[attr-defined]
    qt.QTextDocument = _TextDocument  # type: ignore[attr-defined]
    qt.QUiLoader = Loader  # type: ignore[attr-defined]
    for cls, name in (
        (_CollapsibleButton, "ctkCollapsibleButton"),
        (_SliderWidget, "ctkSliderWidget"),
        (_PathLineEdit, "ctkPathLineEdit"),
    ):
        setattr(ctk, name, _renamed(cls, name))
        Loader.classes[name] = getattr(ctk, name)
    for name in (
        "QWidget",
        "QLabel",
        "QPushButton",
        "QToolButton",
        "QCheckBox",
        "QComboBox",
        "QProgressBar",
        "QTableWidget",
    ):
        Loader.classes[name] = getattr(qt, name)
    return qt, ctk
