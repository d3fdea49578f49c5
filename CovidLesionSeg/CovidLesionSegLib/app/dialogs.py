"""The few questions and messages that need a window of their own."""

from __future__ import annotations

from typing import Any

import slicer

TITLE = "CovidLesionSeg"
_HELP_SIZE = (620, 720)


class Dialogs:
    """Asks and tells through Slicer, which shows no window while it is being tested."""

    def __init__(self) -> None:
        self._help: Any = None

    def showHelp(self, html: str, section: str) -> None:
        """Show the help beside the application, which goes on; one window, used again.

        Args:
            html: The page.
            section: Anchor of the section to begin with.
        """
        import qt

        if self._help is None:
            # A window of the application, which would not end while another is open.
            self._help = qt.QTextBrowser(slicer.util.mainWindow())
            self._help.setWindowFlags(qt.Qt.Window)
            self._help.setWindowTitle(TITLE)
            self._help.setOpenExternalLinks(True)
            self._help.resize(*_HELP_SIZE)
        self._help.setHtml(html)
        self._help.show()
        self._help.activateWindow()
        self._help.scrollToAnchor(section)

    def close(self) -> None:
        """Close the help: the module is unloaded."""
        if self._help is not None:
            self._help.close()
            self._help.deleteLater()
            self._help = None

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
