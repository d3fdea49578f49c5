"""COVID-19 lesion segmentation in chest CT.

Nothing heavy is imported here: Slicer imports this package at start-up, and
numpy-, SimpleITK- and torch-based parts load when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import CancelledError, CovidLesionSegError
from .version import __version__

if TYPE_CHECKING:
    from .engine.pipeline import segment
    from .engine.result import SegmentationResult

__all__ = [
    "CancelledError",
    "CovidLesionSegError",
    "SegmentationResult",
    "__version__",
    "segment",
]


def __getattr__(name: str) -> Any:
    """Load the engine on first use (PEP 562)."""
    if name == "segment":
        from .engine.pipeline import segment

        return segment
    if name == "SegmentationResult":
        from .engine.result import SegmentationResult

        return SegmentationResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
