"""Where the files that are installed beside the code lie."""

from __future__ import annotations

from pathlib import Path

from .errors import CovidLesionSegError

_PACKAGE = Path(__file__).resolve().parent
_OURS = "segments.json"


def resources_dir(package: Path = _PACKAGE) -> Path:
    """Return the folder of bundled models, terminologies and icons.

    A wheel carries it inside the package; in the checkout and in Slicer's installed tree
    it lies beside the package. A stranger's folder of that name is never taken for ours.

    Args:
        package: Folder of the package; other than the default only in tests.

    Raises:
        CovidLesionSegError: ``resources-missing``.
    """
    for folder in (package / "Resources", package.parent / "Resources"):
        if (folder / _OURS).is_file():
            return folder
    raise CovidLesionSegError(
        "resources-missing",
        "The files that belong to CovidLesionSeg are missing from this installation.",
        "Install it again.",
    )
