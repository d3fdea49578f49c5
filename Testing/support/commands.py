"""Commands of the environment that tests compare with."""

from __future__ import annotations

import os
import shutil
import subprocess
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


def dciodvfy_remarks(path: Path) -> str:
    """Return what the DICOM validator of dicom3tools remarks about a file."""
    done = subprocess.run(
        [command("dciodvfy"), "-new", path],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done.stderr


def dciodvfy_errors(path: Path) -> list[str]:
    """Return the errors that the DICOM validator finds in a file."""
    return [line for line in dciodvfy_remarks(path).splitlines() if line.startswith("Error")]
