"""VTK reports errors on stderr and goes on; tests must not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def no_vtk_errors() -> Iterator[None]:
    """Fail when VTK or MRML writes an error or a warning inside the block."""
    import vtk

    messages: list[str] = []

    def record(_caller: Any, event: str, text: str | None = None) -> None:
        messages.append(f"{event}: {text}")

    # Tells VTK's Python wrapping to hand over the message.
    record.CallDataType = "string0"  # type: ignore[attr-defined]
    window = vtk.vtkOutputWindow()
    for event in ("ErrorEvent", "WarningEvent"):
        window.AddObserver(event, record)
    previous = vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(window)
    try:
        yield
    finally:
        vtk.vtkOutputWindow.SetInstance(previous)
    if messages:
        raise AssertionError("VTK reported:\n" + "\n".join(messages))
