"""torch, the only thing that Slicer does not bring: asked for once, at the first click."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

from slicer.i18n import tr as _

from CovidLesionSegLib.errors import CancelledError, CovidLesionSegError

TORCH_VERSION = ">=2.4"


def torchIsInstalled() -> bool:
    """Return whether torch is there, without importing it."""
    return importlib.util.find_spec("torch") is not None


def ensureTorch(dialogs: Any) -> None:
    """Install torch through the PyTorch extension after one question, if it is missing.

    Args:
        dialogs: `Dialogs`.

    Raises:
        CancelledError: When the user declined.
        CovidLesionSegError: ``pytorch-extension-missing`` or ``torch-not-installed``.
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
    question = _(
        "Segmenting needs PyTorch, which is not installed yet. It is downloaded once, about "
        "200 MB for computers without and up to 3 GB with an NVIDIA GPU, and installed into "
        "Slicer. Nothing else is installed, and no image leaves this computer.\n\nInstall it now?"
    )
    if not dialogs.confirm(question):
        raise CancelledError("torch declined")
    _install(PyTorchUtils.PyTorchUtilsLogic())


def _install(logic: Any) -> None:
    # The extension's keywords have changed over its versions.
    offered = inspect.signature(logic.installTorch).parameters
    wanted = {"askConfirmation": False, "torchVersionRequirement": TORCH_VERSION}
    try:
        torch = logic.installTorch(**{key: wanted[key] for key in wanted if key in offered})
    except Exception as error:  # pip fails in many ways; the user needs the same advice in all
        raise _notInstalled(str(error)) from error
    importlib.invalidate_caches()
    if torch is None and not torchIsInstalled():
        raise _notInstalled("")


def _notInstalled(reason: str) -> CovidLesionSegError:
    return CovidLesionSegError(
        "torch-not-installed",
        _("PyTorch could not be installed. {reason}").format(reason=reason).strip(),
        _(
            "Look at the message in the Python console; behind a firewall install PyTorch with "
            "the module PyTorch Util and a local package, then press Segment infection again."
        ),
    )
