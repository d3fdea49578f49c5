"""Commands of the environment that tests compare with."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest


def command(name: str) -> str:
    """Return the path of a command of the environment, or skip the test."""
    folders = (str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    path = shutil.which(name, path=os.pathsep.join(folders))
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path
