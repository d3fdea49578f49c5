"""Importing an installed file defines things and does nothing: no work, no window, no network."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "CovidLesionSeg"
FILES = sorted(path for path in MODULE.rglob("*.py") if "__pycache__" not in path.parts)
DEFINES = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
WORKS = {
    "slicer",
    "qt",
    "ctk",
    "vtk",
    "torch",
    "sitk",
    "subprocess",
    "socket",
    "requests",
    "urllib",
    "open",
    "exec",
    "eval",
    "print",
}
"""What a value at file scope must not be made with."""


def work_at_file_scope(source: str) -> list[int]:
    """Lines of a file that do something when it is imported."""
    lines = []
    for node in ast.parse(source).body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or (isinstance(node, ast.If) and _is_guard(node)):
            continue
        if not isinstance(node, DEFINES) or (
            isinstance(node, ast.Assign | ast.AnnAssign) and _calls(node) & WORKS
        ):
            lines.append(node.lineno)
    return lines


def _is_guard(node: ast.If) -> bool:
    """Return whether a block is for type checkers, or for the file run as a program."""
    return "TYPE_CHECKING" in ast.unparse(node.test) or "__name__" in ast.unparse(node.test)


def _calls(node: ast.AST) -> set[str]:
    """Return the first name of everything that is called."""
    names = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            function: ast.expr = part.func
            while isinstance(function, ast.Attribute):
                function = function.value
            if isinstance(function, ast.Name):
                names.add(function.id)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(MODULE).as_posix())
def test_no_work_at_file_scope(path: Path) -> None:
    assert work_at_file_scope(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "slicer.util.pip_install('torch')",
        "for name in names:\n    load(name)",
        "WEIGHTS = open('weights.bin').read()",
        "NODE: object = slicer.mrmlScene.AddNode(None)",
    ],
)
def test_work_at_file_scope_would_be_noticed(line: str) -> None:
    source = f'"""A file."""\nimport os\nLIMIT = 3\nif __name__ == "__main__":\n    run()\n{line}\n'
    assert work_at_file_scope(source) == [6]
