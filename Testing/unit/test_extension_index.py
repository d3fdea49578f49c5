"""What the Extensions Index checks, and that each check can fail."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from Testing.support import extension_index
from Testing.support.extension_index import problems

REPOSITORY = Path(__file__).resolve().parents[2]
ENTRY = Path("Resources") / "CovidLesionSeg.json"


@pytest.fixture
def small_checkout(tmp_path: Path) -> Path:
    """Return a repository with what the index looks at, and nothing else."""
    for name in ("CMakeLists.txt", "LICENSE.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "Resources", tmp_path / "Resources")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_the_index_would_accept_this_checkout() -> None:
    assert problems(REPOSITORY, REPOSITORY / ENTRY) == []


def _edit_entry(**changes: object) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        values = json.loads((root / ENTRY).read_text(encoding="utf-8"))
        values = {key: v for key, v in {**values, **changes}.items() if v is not None}
        (root / ENTRY).write_text(json.dumps(values), encoding="utf-8")

    return edit


def _replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8")
        assert old in text
        (root / name).write_text(text.replace(old, new, 1), encoding="utf-8", newline="")

    return edit


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "unknown key": (_edit_entry(colour="blue"), "does not know"),
    "no address": (_edit_entry(scm_url=None), "lacks"),
    "old schema": (_edit_entry(**{"$schema": "schema-v1.0.1.json#"}), "1.0.2"),
    "category": (_edit_entry(category="Lungs"), "category"),
    "tier": (_edit_entry(tier=2), "tier"),
    "repository": (_edit_entry(scm_url="https://github.com/a/CovidLesionSeg.git"), "start with"),
    "dependencies": (_edit_entry(build_dependencies=[]), "EXTENSION_DEPENDS"),
    "line ends": (_replace(str(ENTRY), "\n", "\r\n"), "LF"),
    "project": (_replace("CMakeLists.txt", "project(Covid", "project(Slicer"), "project()"),
    "comment": (_replace("CMakeLists.txt", "project(", "# project(Old)\nproject("), "project()"),
    "no licence": (lambda root: (root / "LICENSE.txt").unlink(), "licence"),
    "no icon": (lambda root: (root / "Resources/CovidLesionSeg.png").unlink(), "There is no"),
    "svg": (_replace("CMakeLists.txt", "CovidLesionSeg.png", "CovidLesionSeg.json"), "PNG"),
    "branch": (_replace("CMakeLists.txt", "/main/", "/dev/"), "default branch"),
    "no screenshot": (_replace("CMakeLists.txt", "SCREENSHOTURLS", "PICTURES"), "screenshot"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_each_check_fails_on_its_damage(small_checkout: Path, name: str) -> None:
    assert problems(small_checkout, small_checkout / ENTRY) == []
    damage, sentence = DAMAGE[name]
    damage(small_checkout)
    found = problems(small_checkout, small_checkout / ENTRY)
    assert any(sentence in one for one in found), found


def test_an_oversize_checkout_is_refused(
    small_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_checkout / "big.bin").write_bytes(bytes(2_000_000))
    monkeypatch.setattr(extension_index, "MAXIMUM_MEGABYTES", 2)
    (found,) = problems(small_checkout, small_checkout / ENTRY)
    assert "MB" in found
