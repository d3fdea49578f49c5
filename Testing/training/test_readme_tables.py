"""The README's scores are those of the reports."""

from __future__ import annotations

import pytest

from training.readme_tables import README, SECTION, replace_section, scores_text


def test_the_readme_says_what_the_reports_say() -> None:
    # Otherwise: python -m training.readme_tables
    text = README.read_text(encoding="utf-8")
    assert replace_section(text, SECTION, scores_text()) == text


def test_a_section_is_replaced_between_its_markers_only() -> None:
    text = "a\n<!-- x: make -->\nold\n<!-- /x -->\nb\n"
    assert replace_section(text, "x", "new\n") == "a\n<!-- x: make -->\nnew\n<!-- /x -->\nb\n"
    with pytest.raises(ValueError, match="no section"):
        replace_section(text, "y", "new")
