"""The README's scores are those of the reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import readme_tables
from training.readme_tables import renewed, replace_section, sections


@pytest.mark.parametrize("path", sections(), ids=lambda path: path.parent.name)
def test_the_readmes_say_what_the_reports_say(path: Path) -> None:
    # Otherwise: python -m training.readme_tables
    assert renewed(path, sections()[path]) == path.read_text(encoding="utf-8")


def test_help_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme_tables, "sections", lambda: pytest.fail("written"))
    with pytest.raises(SystemExit) as ended:
        readme_tables.main(["--help"])
    assert ended.value.code == 0


def test_a_section_is_replaced_between_its_markers_only() -> None:
    text = "a\n<!-- x: make -->\nold\n<!-- /x -->\nb\n"
    assert replace_section(text, "x", "new\n") == "a\n<!-- x: make -->\nnew\n<!-- /x -->\nb\n"
    with pytest.raises(ValueError, match="no section"):
        replace_section(text, "y", "new")
