"""The extension configures, packages and installs with stand-ins for Slicer's macros."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = Path("qt-scripted-modules")

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")


def configure(source: Path, build: Path) -> subprocess.CompletedProcess[str]:
    """Configure a checkout against the stand-in for a build tree of Slicer."""
    build.mkdir()
    stub = source / "Testing" / "cmake_stub"
    command = ["cmake", "-S", source, "-B", build, f"-DSlicer_DIR={stub}", "-Wno-dev"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=build)


def package(build: Path) -> Path:
    """Run cpack and return the folder of the unpacked archive."""
    subprocess.run(["cpack", "-G", "TGZ"], cwd=build, capture_output=True, check=True)
    (archive,) = build.glob("*.tar.gz")
    assert archive.name.startswith("CovidLesionSeg-")
    shutil.unpack_archive(archive, build / "unpacked", filter="data")
    (folder,) = (build / "unpacked").iterdir()
    return folder


def module_files(folder: Path) -> set[Path]:
    """Return every file of the module's source folder, relative to it."""
    return {
        file.relative_to(folder)
        for file in folder.rglob("*")
        if file.is_file()
        and file.name != "CMakeLists.txt"
        and "__pycache__" not in file.parts
        and not any(part.endswith(".egg-info") for part in file.parts)
    }


def packaged_files(folder: Path) -> set[Path]:
    """Return every file of an unpacked package, relative to where Slicer puts modules."""
    return {f.relative_to(folder / MODULES) for f in folder.rglob("*") if f.is_file()}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cmake") / "build"
    done = configure(REPOSITORY, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def packaged(build: Path) -> Path:
    return package(build)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of what CMake reads, to be damaged."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("CovidLesionSeg", "Testing"):
        shutil.copytree(REPOSITORY / name, tmp_path / "source" / name, ignore=ignore)
    shutil.copy(REPOSITORY / "CMakeLists.txt", tmp_path / "source")
    return tmp_path / "source"


def test_the_tests_for_slicer_are_registered(build: Path) -> None:
    command = ["ctest", "-N"]
    listed = subprocess.run(command, cwd=build, capture_output=True, text=True, check=True).stdout
    assert "generic_CovidLesionSeg" in listed
    assert "py_CovidLesionSegScenarioTest" in listed


def test_the_package_is_complete_and_nothing_else(packaged: Path) -> None:
    assert packaged_files(packaged) == module_files(REPOSITORY / "CovidLesionSeg")


def test_an_unlisted_file_is_noticed(checkout: Path, tmp_path: Path) -> None:
    (checkout / "CovidLesionSeg/CovidLesionSegLib/engine/new.py").write_text("", encoding="utf-8")
    assert configure(checkout, tmp_path / "build").returncode == 0
    missing = module_files(checkout / "CovidLesionSeg") - packaged_files(
        package(tmp_path / "build")
    )
    assert missing == {Path("CovidLesionSegLib/engine/new.py")}


def test_a_listed_file_that_is_gone_stops_the_build(checkout: Path, tmp_path: Path) -> None:
    (checkout / "CovidLesionSeg/Resources/models.json").unlink()
    done = configure(checkout, tmp_path / "build")
    assert done.returncode != 0
    assert "models.json" in done.stderr


_SEGMENT = """
import sys
from pathlib import Path
sys.path.insert(0, {modules!r})
import CovidLesionSegLib.worker
from CovidLesionSegLib.cli import main
from CovidLesionSegLib.engine.phantom import PhantomSpec, make_phantom, write_phantom
assert CovidLesionSegLib.__file__.startswith({modules!r}), CovidLesionSegLib.__file__
coarse = PhantomSpec(spacing_mm_zyx=(8.0, 4.0, 4.0), noise_hu=0.0)
write_phantom(make_phantom(coarse), Path("chest.nii.gz"))
assert main(["segment", "chest.nii.gz", "-o", "out", "--quiet"]) == 0
assert not {{"slicer", "qt"}} & set(sys.modules)
"""


def test_the_package_segments_in_a_clean_interpreter(packaged: Path, tmp_path: Path) -> None:
    code = _SEGMENT.format(modules=str(packaged / MODULES))
    # Isolated: neither this folder, nor the user's packages, nor PYTHON* variables.
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "result.json").is_file()
    assert (tmp_path / "out" / "segmentation.seg.nrrd").is_file()
