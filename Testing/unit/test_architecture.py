"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "CovidLesionSeg" / "CovidLesionSegLib"
PYTHON_FOLDERS = ("CovidLesionSeg", "Testing", "training")

# A room may import from rooms of lower rank and from itself.
RANK = {
    "nets": 0,
    "weights": 1,
    "engine": 2,
    "jobs": 3,
    "export": 4,
    "mrml": 5,
    "batch": 5,
    "app": 6,
    "commands": 6,
}


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (REPOSITORY / folder).rglob("*.py")


def package_imports(tree: ast.AST, file: Path) -> Iterator[str]:
    """Yield the rooms a file imports from, at any depth."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        elif isinstance(node, ast.ImportFrom):
            here = file.relative_to(PACKAGE.parent).parts[: -node.level]
            names = [".".join((*here, node.module or ""))]
        for name in names:
            parts = name.split(".")
            if parts[0] == "CovidLesionSegLib" and len(parts) > 1:
                yield parts[1]


def test_imports_point_down() -> None:
    wrong = []
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0]
        if room not in RANK:
            continue
        for other in package_imports(ast.parse(file.read_text(encoding="utf-8")), file):
            if other in RANK and RANK[other] > RANK[room]:
                wrong.append(f"{file.relative_to(REPOSITORY)} imports {other}")
    assert not wrong


def file_scope_imports(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


def test_torch_is_imported_inside_functions_except_in_nets() -> None:
    wrong = [
        str(file.relative_to(REPOSITORY))
        for file in PACKAGE.rglob("*.py")
        if file.relative_to(PACKAGE).parts[0] != "nets" and "torch" in file_scope_imports(file)
    ]
    assert not wrong


def test_app_does_no_image_arithmetic() -> None:
    wrong = [
        str(file.relative_to(REPOSITORY))
        for file in (PACKAGE / "app").rglob("*.py")
        if {"numpy", "scipy", "SimpleITK", "torch"} & set(file_scope_imports(file))
    ]
    assert not wrong


def modules_of(*rooms: str) -> list[str]:
    names = []
    for room in rooms:
        for file in (
            sorted((PACKAGE / room).rglob("*.py"))
            if (PACKAGE / room).is_dir()
            else [PACKAGE / f"{room}.py"]
        ):
            parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


@pytest.mark.parametrize(
    ("rooms", "forbidden"),
    [
        (
            ("engine", "weights", "jobs", "batch", "commands", "cli"),
            {"slicer", "vtk", "vtkmodules", "qt", "PySide6", "torch"},
        ),
        (("nets",), {"slicer", "vtk", "vtkmodules", "qt", "PySide6"}),
        (("export", "mrml"), {"qt", "PySide6", "torch"}),
    ],
)
def test_rooms_import_without_what_they_must_not_need(
    rooms: tuple[str, ...], forbidden: set[str]
) -> None:
    code = (
        f"import importlib, sys\n"
        f"for name in {modules_of(*rooms)!r}: importlib.import_module(name)\n"
        f"print(sorted({forbidden!r} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_cmake_lists_exactly_the_installed_files() -> None:
    module = REPOSITORY / "CovidLesionSeg"
    text = (module / "CMakeLists.txt").read_text(encoding="utf-8")
    listed: set[str] = set()
    for block in re.findall(
        r"set\(MODULE_PYTHON_(?:SCRIPTS|RESOURCES)\n(.*?)\n\s*\)", text, re.DOTALL
    ):
        listed |= {line.strip() for line in block.splitlines() if line.strip()}
    listed = {entry.replace("${MODULE_NAME}", "CovidLesionSeg") for entry in listed}
    present = {
        str(file.relative_to(module).as_posix())
        for file in module.rglob("*")
        if file.is_file()
        and file.name != "CMakeLists.txt"
        and not {"__pycache__"} & set(file.parts)
        and not any(part.endswith(".egg-info") for part in file.parts)
    }
    assert listed == present


def test_files_and_functions_stay_short() -> None:
    long = []
    for file in (*python_files(*PYTHON_FOLDERS), REPOSITORY / "dev.py"):
        text = file.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long.append(f"{file.relative_to(REPOSITORY)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 70:
                    long.append(f"{file.relative_to(REPOSITORY)}:{node.name}: {lines} lines")
    assert not long


def test_public_functions_and_classes_are_documented() -> None:
    bare = []
    for file in PACKAGE.rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if (
                isinstance(node, ast.FunctionDef | ast.ClassDef)
                and not node.name.startswith("_")
                and ast.get_docstring(node) is None
            ):
                bare.append(f"{file.relative_to(REPOSITORY)}:{node.name}")
    assert not bare
