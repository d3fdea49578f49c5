#!/usr/bin/env python3
"""Set up the project and run it: demo, test, lint, bench.

Standard library only; works on Linux, macOS and Windows with Python 3.10 to 3.13. The
environment lives in ``.venv`` and is made again only when its inputs change.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
CONSTRAINTS = ROOT / "constraints.txt"
SOURCES = ["CovidLesionSeg", "Testing", "training", "dev.py"]
OLDEST, NEWEST = (3, 10), (3, 13)
# The layers that must be type-clean without Slicer, VTK or Qt.
TYPED = ["CovidLesionSeg/CovidLesionSegLib", "training", "dev.py"]


def environment_python() -> Path:
    """Return the interpreter inside the environment."""
    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return ENVIRONMENT / folder / name


def run(*command: str | Path, folder: Path = ROOT) -> None:
    """Run a command in a folder and stop with its exit code if it fails."""
    environment = dict(os.environ)
    data = ROOT.parent / "shared" / "data"
    if data.is_dir():
        environment.setdefault("COVID_LESION_SEG_DATA", str(data))
    words = [str(part) for part in command]
    code = subprocess.run(words, cwd=folder, env=environment, check=False).returncode
    if code:
        raise SystemExit(code)


def _fingerprint(extra: str) -> str:
    sha = hashlib.sha256()
    for file in (ROOT / "pyproject.toml", CONSTRAINTS):
        sha.update(file.read_bytes())
    return f"{extra} {sys.version_info[0]}.{sys.version_info[1]} {sha.hexdigest()}"


def prepare(extra: str) -> Path:
    """Make or reuse the environment with an extra of `pyproject.toml`.

    Args:
        extra: ``"mrml"`` for the demo, ``"tests"`` (which contains it) for everything else.

    Returns:
        The environment's interpreter.
    """
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise SystemExit(
            f"Python {sys.version_info[0]}.{sys.version_info[1]} is not supported: "
            "please run this with Python 3.10 to 3.13."
        )
    python = environment_python()
    stamp = ENVIRONMENT / "covid-lesion-seg.stamp"
    done = stamp.read_text(encoding="utf-8") if stamp.is_file() else ""
    if python.is_file() and done in (_fingerprint(extra), _fingerprint("tests")):
        return python
    print(f"Setting up {ENVIRONMENT.name} (once, a few minutes) ...", flush=True)
    # Without a stamp of this Python the folder may be half made, or another Python's.
    fresh = done.split()[1:2] != _fingerprint(extra).split()[1:2] or not python.is_file()
    stamp.unlink(missing_ok=True)
    if fresh:
        _make_environment()
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    # torch first and alone: its pin decides which build the others find already there.
    run(*pip, "-c", CONSTRAINTS, "torch")
    run(*pip, "-c", CONSTRAINTS, "-e", f".[{extra}]")
    stamp.write_text(_fingerprint(extra), encoding="utf-8")
    return python


def _make_environment() -> None:
    try:
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
    except subprocess.CalledProcessError:
        raise SystemExit(
            "This Python can't make environments with pip. On Debian and Ubuntu install "
            "python3-venv, then run this again."
        ) from None


def demo(arguments: list[str]) -> None:
    """Run the main job on a real CT where there is one, else on the phantom."""
    python = prepare("mrml")
    run(python, "-m", "CovidLesionSegLib.cli", "demo", *arguments, folder=Path.cwd())


def test(arguments: list[str]) -> None:
    """Run all tests; further arguments go to pytest."""
    python = prepare("tests")
    # Two processes are what the smallest supported machine has; each file stays together,
    # because slow fixtures (the phantom, MRML) are per module.
    run(python, "-m", "pytest", "-n", "2", "--dist", "loadfile", *arguments)


def lint(arguments: list[str]) -> None:
    """Check style, formatting and types."""
    python = prepare("tests")
    run(python, "-m", "ruff", "check", *SOURCES, *arguments)
    run(python, "-m", "ruff", "format", "--check", *SOURCES)
    run(python, "-m", "mypy", *TYPED)


def bench(arguments: list[str]) -> None:
    """Measure the pipeline on this machine."""
    python = prepare("mrml")
    run(python, "-m", "CovidLesionSegLib.cli", "benchmark", *arguments, folder=Path.cwd())


def main() -> None:
    """Read the command line and run the command."""
    commands = {"demo": demo, "test": test, "lint": lint, "bench": bench}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "command",
        choices=sorted(commands),
        help="; ".join(f"{name}: {function.__doc__}" for name, function in commands.items()),
    )
    namespace, rest = parser.parse_known_args()
    commands[namespace.command](rest)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
