"""torch, the only thing that Slicer does not bring: asked for once, at the first click."""

from __future__ import annotations

import importlib.util
import inspect
import os
import platform
import shutil
import sys
import sysconfig
from typing import Any

from slicer.i18n import tr as _

from CovidLesionSegLib.errors import CancelledError, CovidLesionSegError

from .texts import termsText

TORCH_VERSION = ">=2.4"
NEEDED_GB = 8.0
"""Largest download, unpacked, with room for pip's temporary files."""

LONGEST_WINDOWS_FOLDER = 80
"""torch brings paths of up to 180 characters, and Windows ends them at 260."""


def torchIsInstalled() -> bool:
    """Return whether torch is there, without importing it."""
    return importlib.util.find_spec("torch") is not None


def requireTorch() -> None:
    """Refuse to start a run without torch; for scripts, which can't be asked.

    Raises:
        CovidLesionSegError: ``torch-missing``.
    """
    if not torchIsInstalled():
        raise CovidLesionSegError(
            "torch-missing",
            _("PyTorch is not installed in this Slicer."),
            _("Open the module CovidLesionSeg once and press Segment infection to install it."),
        )


def ensureTorch(dialogs: Any) -> None:
    """Install torch through the PyTorch extension after one question, if it is missing.

    Args:
        dialogs: `Dialogs`.

    Raises:
        CancelledError: When the user declined.
        CovidLesionSegError: ``pytorch-extension-missing``, ``torch-not-installable`` or
            ``torch-not-installed``.
    """
    if torchIsInstalled():
        return
    try:
        import PyTorchUtils
    except ModuleNotFoundError as error:
        raise CovidLesionSegError(
            "pytorch-extension-missing",
            _("The extension PyTorch is not installed in this Slicer."),
            _(
                "Open View > Extensions Manager, search for PyTorch, press Install, restart "
                "Slicer, then press Segment infection again."
            ),
        ) from error
    checkPlace(sysconfig.get_paths()["purelib"])
    question = _(
        "Segmenting needs PyTorch, which is not installed yet. It is downloaded once, about "
        "200 MB for computers without and up to 3 GB with an NVIDIA GPU, and installed into "
        "Slicer. Nothing else is installed, and no image leaves this computer.\n\n{terms}\n\n"
        "Install it now?"
    ).format(terms=termsText())
    if not dialogs.confirm(question):
        raise CancelledError("torch declined")
    _install(PyTorchUtils.PyTorchUtilsLogic())


def checkPlace(folder: str) -> None:
    """Find out before a long download what would make it fail.

    Args:
        folder: Where Slicer's Python keeps its packages.

    Raises:
        CovidLesionSegError: ``torch-not-installable``.
    """
    free_gb = shutil.disk_usage(folder).free / 1e9
    if not os.access(folder, os.W_OK):
        raise _notInstallable(
            _("The folder of this Slicer can't be written to."),
            _("Install Slicer for your own account, or ask who administers this computer."),
        )
    if free_gb < NEEDED_GB:
        raise _notInstallable(
            _("PyTorch needs up to {needed:.0f} GB; {free:.1f} GB are free.").format(
                needed=NEEDED_GB, free=free_gb
            ),
            _("Free some space on the disk that Slicer is installed on, then try again."),
        )
    if platform.system() == "Windows" and len(folder) > LONGEST_WINDOWS_FOLDER:
        raise _notInstallable(
            _("Slicer is installed in a folder whose name is too long for PyTorch."),
            _("Install Slicer in a short folder, for example C:\\Slicer, then try again."),
        )


def _install(logic: Any) -> None:
    # The extension's keywords have changed over its versions.
    offered = inspect.signature(logic.installTorch).parameters
    wanted = {"askConfirmation": False, "torchVersionRequirement": TORCH_VERSION}
    try:
        torch = logic.installTorch(**{key: wanted[key] for key in wanted if key in offered})
    except Exception as error:  # pip fails in many ways; the user needs the next step in all
        raise _notInstalled(str(error)) from error
    importlib.invalidate_caches()
    if torch is None and not torchIsInstalled():
        raise _notInstalled("")


def _nextStep(reason: str) -> str:
    """Return what to do about a failure of pip, by the words it uses."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    steps = {
        "no matching distribution": _(
            "There is no PyTorch for Python {version} on this computer yet: use the official "
            "Slicer 5.12, or install it with the module PyTorch Util."
        ).format(version=version),
        "certificate": _(
            "The connection is not trusted. Ask who runs the network for its certificate, or "
            "install PyTorch from another network."
        ),
        "no space left": _("Free some space on the disk, then press Segment infection again."),
        "winerror 206": _("Install Slicer in a short folder, for example C:\\Slicer."),
        "permission denied": _("Start Slicer from an account that may change its folder."),
        "dll load failed": _("Install the Visual C++ Redistributable of Microsoft, then restart."),
        "driver": _(
            "Update the driver of the NVIDIA card, or choose the processor in the module PyTorch "
            "Util (computation backend cpu)."
        ),
        "timed out": _("Look at the connection to the internet, then try again."),
    }
    for words, step in steps.items():
        if words in reason.lower():
            return step
    return _(
        "Look at the message in the Python console; behind a firewall install PyTorch with the "
        "module PyTorch Util and a local package, then press Segment infection again."
    )


def _notInstalled(reason: str) -> CovidLesionSegError:
    return CovidLesionSegError(
        "torch-not-installed",
        _("PyTorch could not be installed. {reason}").format(reason=reason).strip(),
        _nextStep(reason),
    )


def _notInstallable(message: str, hint: str) -> CovidLesionSegError:
    return CovidLesionSegError("torch-not-installable", message, hint)
