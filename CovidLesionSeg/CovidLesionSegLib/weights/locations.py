"""Where models are looked for: bundled, shared by the hospital, and the user's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SHARED_VARIABLE = "COVID_LESION_SEG_MODELS"
_APPLICATION = "CovidLesionSeg"


def shared_model_dirs(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the folders named in the environment variable ``COVID_LESION_SEG_MODELS``.

    Several are separated as in ``PATH``; the first one wins. They are only ever read, so a
    hospital can offer a read-only network folder.
    """
    folders = environment.get(SHARED_VARIABLE, "").split(os.pathsep)
    return tuple(Path(folder).expanduser() for folder in folders if folder.strip())


def user_model_dir() -> Path:
    """Return the user's own model folder; it need not exist.

    It is the folder ``models`` in the platform's data folder of the user. Slicer does not
    ship platformdirs; `standard_data_dir` then names the same place, so that a model
    imported in a terminal is found in Slicer.
    """
    try:
        from platformdirs import user_data_path
    except ImportError:
        return standard_data_dir() / "models"
    return user_data_path(_APPLICATION, appauthor=False) / "models"


def standard_data_dir(
    platform: str = sys.platform, environment: Mapping[str, str] = os.environ
) -> Path:
    """Return the data folder by the rules that platformdirs follows, without it.

    Args:
        platform: As ``sys.platform``.
        environment: As ``os.environ``.
    """
    home = Path.home()
    if platform == "win32":
        base = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif environment.get("XDG_DATA_HOME", "").startswith("/"):
        base = Path(environment["XDG_DATA_HOME"])
    elif platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = home / ".local" / "share"
    return base / _APPLICATION
