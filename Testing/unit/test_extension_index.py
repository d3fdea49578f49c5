"""What the Extensions Index checks, and that each check can fail."""

from __future__ import annotations

import json
import random
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
    _git(tmp_path, "init", "-q")
    _commit_all(tmp_path)
    return tmp_path


def _git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True)


def _commit_all(root: Path) -> None:
    _git(root, "add", "--all")
    author = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    _git(root, *author, "-c", "commit.gpgsign=false", "commit", "-qm", "Everything")


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


def test_a_file_that_only_the_history_holds_counts(
    small_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension_index, "MAXIMUM_MEGABYTES", 2)
    big = small_checkout / "big.bin"
    big.write_bytes(random.Random(1).randbytes(2_000_000))
    _commit_all(small_checkout)
    big.unlink()
    _commit_all(small_checkout)
    (found,) = problems(small_checkout, small_checkout / ENTRY)
    assert "MB" in found


def test_objects_kept_twice_or_needed_by_no_commit_do_not_count(
    small_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension_index, "MAXIMUM_MEGABYTES", 2)
    stray = small_checkout / "stray.bin"
    stray.write_bytes(random.Random(1).randbytes(2_000_000))
    _git(small_checkout, "hash-object", "-w", "stray.bin")
    stray.unlink()
    _git(small_checkout, "repack", "-a")  # packs and keeps the loose objects
    assert problems(small_checkout, small_checkout / ENTRY) == []
