"""The few questions and messages that need a window of their own."""

from __future__ import annotations

import slicer

TITLE = "CovidLesionSeg"


class Dialogs:
    """Asks and tells through Slicer, which shows no window while it is being tested."""

    def confirm(self, text: str) -> bool:
        """Ask for consent."""
        return bool(slicer.util.confirmOkCancelDisplay(text, windowTitle=TITLE))

    def tell(self, text: str) -> None:
        """Show a text to be read."""
        slicer.util.infoDisplay(text, windowTitle=TITLE)

    def chooseFolder(self, caption: str, start: str = "") -> str:
        """Let the user choose a folder, beginning at one; empty when they think better of it."""
        import qt

        if slicer.app.testingEnabled():
            return ""
        return str(qt.QFileDialog.getExistingDirectory(None, caption, start) or "")
