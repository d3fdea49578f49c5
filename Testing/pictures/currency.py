"""Whether the pictures of the panel still show it: a digest of what they are made from.

``python -m Testing.pictures.tutorial`` makes the pictures and records the digest beside them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RECORD = REPOSITORY / "Resources" / "pictures.json"
COMMAND = "python -m Testing.pictures.tutorial"

_PANEL = REPOSITORY / "CovidLesionSeg" / "CovidLesionSegLib" / "app"
SOURCES = (
    REPOSITORY / "CovidLesionSeg" / "Resources" / "UI" / "CovidLesionSeg.ui",
    *(_PANEL / f"{name}.py" for name in ("texts", "widgets", "resultView", "lesionTable")),
    REPOSITORY / "Testing" / "pictures" / "tutorial.py",
    REPOSITORY / "Testing" / "host" / "slice_picture.py",
)
"""What decides how the panel looks: its form, its texts and lists, and who takes the pictures."""

PICTURES = ("overview", "tutorial-run", "tutorial-review", "tutorial-export")


def digests() -> dict[str, str]:
    """Return the digest of every source and picture, by its path in the repository."""
    pictures = [REPOSITORY / "Resources" / f"{name}.png" for name in PICTURES]
    return {
        path.relative_to(REPOSITORY).as_posix(): _digest(path) for path in (*SOURCES, *pictures)
    }


def record() -> None:
    """Write down what the pictures were made from; called by who makes them."""
    RECORD.write_text(json.dumps(digests(), indent=2) + "\n", encoding="utf-8", newline="\n")


def changed() -> list[str]:
    """Return what is no longer as it was when the pictures were made."""
    recorded: dict[str, str] = json.loads(RECORD.read_text(encoding="utf-8"))
    now = digests()
    return sorted(
        path for path in recorded.keys() | now.keys() if recorded.get(path) != now.get(path)
    )


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix != ".png":
        # Git may check out texts with other line ends.
        content = content.replace(b"\r\n", b"\n")
    return hashlib.sha256(content).hexdigest()
