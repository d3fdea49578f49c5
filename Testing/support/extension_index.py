"""The hard checks of 3D Slicer's Extensions Index, without a network.

What the index fetches (icon and screenshots) is looked up in the checkout instead: the URLs
must name files on the default branch that exist here.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

MAXIMUM_MEGABYTES = 100
CATEGORY = "Segmentation"
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "COPYING")
REQUIRED = {"$schema", "category", "scm_url"}
OPTIONAL = {
    "build_dependencies",
    "build_subdirectory",
    "dicom_support_rule",
    "enabled",
    "scm_revision",
    "scm_type",
    "tier",
}
_SCHEMA = re.compile(r"slicer-extension-catalog-entry-schema-v1\.0\.2\.json#?$")
_PICTURES = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg"}


def problems(root: Path, entry: Path) -> list[str]:
    """Return a sentence for everything the index would refuse; empty when it would accept.

    Args:
        root: Root of the checkout.
        entry: The catalogue entry, a JSON file named after the extension.
    """
    found = list(_entry_problems(entry))
    found += _cmake_problems(root, entry)
    if not any((root / name).is_file() for name in LICENCE_FILES):
        found.append("There is no licence file in the root.")
    found += _size_problems(root)
    return found


def _entry_problems(entry: Path) -> Iterator[str]:
    raw = entry.read_bytes()
    if b"\r" in raw:
        yield "The entry must have LF line ends."
    values = json.loads(raw)
    if missing := REQUIRED - set(values):
        yield f"The entry lacks {sorted(missing)}."
    if unknown := set(values) - REQUIRED - OPTIONAL:
        yield f"The schema does not know {sorted(unknown)}."
    if not _SCHEMA.search(values.get("$schema", "")):
        yield "The schema is not version 1.0.2."
    if values.get("category") != CATEGORY:
        yield f"The category is not {CATEGORY}."
    if values.get("tier") not in (1, 3, 5):
        yield "The tier is none of 1, 3, 5."
    repository = values.get("scm_url", "").rsplit("/", 1)[-1].removesuffix(".git")
    if not repository.startswith(("Slicer", "SlicerExtension-")):
        yield f"The repository's name {repository!r} does not start with Slicer."
    if entry.stem.startswith("Slicer"):
        yield "The extension's name must not start with Slicer."


def _cmake_problems(root: Path, entry: Path) -> Iterator[str]:
    text = (root / "CMakeLists.txt").read_text(encoding="utf-8")
    project = re.search(r"project\(\s*(\w+)", text)
    if project is None or project.group(1) != entry.stem:
        yield f"The first project() of CMakeLists.txt is not {entry.stem}."
    depends = _variable(text, "EXTENSION_DEPENDS").split()
    if depends != json.loads(entry.read_text(encoding="utf-8")).get("build_dependencies"):
        yield f"EXTENSION_DEPENDS {depends} differs from the entry's build_dependencies."
    icons = _variable(text, "EXTENSION_ICONURL").split()
    if len(icons) != 1:
        yield "There is not exactly one icon."
    screenshots = _variable(text, "EXTENSION_SCREENSHOTURLS").split()
    if not screenshots:
        yield "There is no screenshot."
    for url in (*icons, *screenshots):
        yield from _picture_problems(root, url)


def _variable(text: str, name: str) -> str:
    match = re.search(rf'set\({name}\s+"([^"]*)"\)', text)
    return match.group(1) if match else ""


def _picture_problems(root: Path, url: str) -> Iterator[str]:
    match = re.fullmatch(r"https://raw\.githubusercontent\.com/[\w-]+/[\w-]+/main/(.+)", url)
    if match is None:
        yield f"{url} is not a raw file on the default branch."
        return
    file = root / match.group(1)
    if not file.is_file():
        yield f"There is no {match.group(1)}."
        return
    head = file.read_bytes()[:8]
    if not any(head.startswith(mark) and file.suffix == s for mark, s in _PICTURES.items()):
        yield f"{match.group(1)} is not the PNG or JPEG that its name says."


def _size_problems(root: Path) -> Iterator[str]:
    megabytes = (_tree_bytes(root) + _history_bytes(root)) / 1e6
    if megabytes > MAXIMUM_MEGABYTES:
        yield f"The checkout with its history holds {megabytes:.0f} MB."


def _tree_bytes(root: Path) -> int:
    """Return what the files hold that git tracks or would track."""
    names = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sum((root / name).stat().st_size for name in names if name and (root / name).is_file())


def _history_bytes(root: Path) -> int:
    """Return what a clone of this commit fetches: every object once.

    The folder ``.git`` says less about it: a checkout may keep objects twice, loose and packed,
    and objects that no commit needs any more.
    """
    return int(_git(root, "rev-list", "--disk-usage", "--objects", "HEAD"))


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
    ).stdout
