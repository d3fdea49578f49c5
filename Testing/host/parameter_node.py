"""Own stand-in for `slicer.parameterNodeWrapper`, as far as the panel uses it."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from .pythonqt import QtCore


@dataclass(frozen=True)
class WithinRange:
    """Bounds of a number; a value beyond them raises."""

    minimum: float
    maximum: float


def _field(name: str, hint: Any, default: Any) -> property:
    kind, *notes = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)

    def read(self: Any) -> Any:
        node = self.parameterNode
        if kind not in (str, float, bool):
            return node.GetNodeReference(name)
        text = node.GetParameter(name)
        if not node.HasParameter(name) if hasattr(node, "HasParameter") else text == "":
            return default
        return text == "True" if kind is bool else kind(text)

    def write(self: Any, value: Any) -> None:
        if kind not in (str, float, bool):
            self.parameterNode.SetNodeReferenceID(name, value.GetID() if value else None)
            return
        if not isinstance(value, kind):
            raise TypeError(f"{name} is a {kind.__name__}, not {value!r}")
        for note in notes:
            if not note.minimum <= value <= note.maximum:
                raise ValueError(f"{name} lies outside its bounds")
        self.parameterNode.SetParameter(name, str(value))

    return property(read, write)


def parameterNodeWrapper(cls: type) -> type:
    """Turn annotated fields into typed access to a vtkMRMLScriptedModuleNode."""
    hints = get_type_hints(cls, include_extras=True)
    members: dict[str, Any] = {
        name: _field(name, hint, getattr(cls, name, None)) for name, hint in hints.items()
    }

    def start(self: Any, parameterNode: Any) -> None:
        self.__dict__["parameterNode"] = parameterNode

    def refuse(self: Any, name: str, value: Any) -> None:
        if name not in hints:
            raise AttributeError(f"{cls.__name__} has no parameter {name}")
        object.__setattr__(self, name, value)

    members |= {
        "__init__": start,
        "__setattr__": refuse,
        "connectGui": _connectGui,
        "disconnectGui": lambda _self, connection: connection.close(),
    }
    return type(cls.__name__, (), members)


_ACCESS = {
    "qMRMLNodeComboBox": ("currentNodeChanged(vtkMRMLNode*)", "currentNode", "setCurrentNode"),
    "QCheckBox": ("toggled(bool)", "checked", "setChecked"),
    "ctkSliderWidget": ("valueChanged(double)", "value", "setValue"),
}


class _Connection:
    def __init__(self, wrapper: Any, ui: Any) -> None:
        self._open, self._wrapper = True, wrapper
        self._widgets = {}
        for widget in vars(ui).values():
            name = QtCore.QObject.property(widget, "SlicerParameterName")
            if name:
                self._widgets[name] = widget
                signal = _ACCESS[type(widget).__name__][0]
                widget.connect(signal, lambda *_a, name=name: self._toNode(name))
        self.toGui()
        self._tag = wrapper.parameterNode.AddObserver("ModifiedEvent", lambda *_: self.toGui())

    def toGui(self) -> None:
        for name, widget in self._widgets.items() if self._open else ():
            _, getter, setter = _ACCESS[type(widget).__name__]
            shown = getattr(widget, getter)
            value = getattr(self._wrapper, name)
            if (shown() if callable(shown) else shown) != value:
                getattr(widget, setter)(value)

    def _toNode(self, name: str) -> None:
        if self._open:
            shown = getattr(self._widgets[name], _ACCESS[type(self._widgets[name]).__name__][1])
            setattr(self._wrapper, name, shown() if callable(shown) else shown)

    def close(self) -> None:
        self._open = False
        self._wrapper.parameterNode.RemoveObserver(self._tag)


def _connectGui(self: Any, ui: Any) -> _Connection:
    return _Connection(self, ui)


def module() -> types.ModuleType:
    """Return the module `slicer.parameterNodeWrapper`."""
    stand_in = types.ModuleType("slicer.parameterNodeWrapper")
    stand_in.parameterNodeWrapper = parameterNodeWrapper  # type: ignore[attr-defined]
    stand_in.WithinRange = WithinRange  # type: ignore[attr-defined]
    return stand_in
