"""The extension configures and installs with stand-ins for Slicer's macros."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build, target = (tmp_path_factory.mktemp(name) for name in ("build", "installed"))
    stub = REPOSITORY / "Testing" / "cmake_stub"
    for command in (
        ["-S", str(REPOSITORY), "-B", str(build), f"-DSlicer_DIR={stub}", "-Wno-dev"],
        ["--install", str(build), "--prefix", str(target)],
    ):
        done = subprocess.run(
            ["cmake", *command], capture_output=True, text=True, check=False, cwd=build
        )
        assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        ["ctest", "-N"], cwd=build, capture_output=True, text=True, check=True
    ).stdout
    assert "generic_CovidLesionSeg" in listed
    assert "py_CovidLesionSegScenarioTest" in listed
    return target / "qt-scripted-modules"


def test_the_installed_tree_is_complete_and_imports(installed: Path) -> None:
    folder = REPOSITORY / "CovidLesionSeg"
    expected = {
        file.relative_to(folder)
        for file in folder.rglob("*")
        if file.is_file()
        and file.name != "CMakeLists.txt"
        and "__pycache__" not in file.parts
        and not any(part.endswith(".egg-info") for part in file.parts)
    }
    assert {f.relative_to(installed) for f in installed.rglob("*") if f.is_file()} == expected
    code = (
        "import CovidLesionSegLib.worker, CovidLesionSegLib.engine.pipeline\n"
        "from CovidLesionSegLib.resources import resources_dir\n"
        "import CovidLesionSegLib, pathlib\n"
        "assert pathlib.Path.cwd() in resources_dir().parents, resources_dir()\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import sys; sys.path.insert(0, '.')\n" + code],
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
