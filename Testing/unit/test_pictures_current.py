"""The pictures in the README are those of the panel as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from Testing.pictures import currency


def test_pictures_are_current() -> None:
    assert not currency.changed(), f"make them again: {currency.COMMAND}"


def test_a_change_of_the_panel_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "Resources" / "panel.ui"
    source.parent.mkdir()
    source.write_bytes(b"<ui/>\n")
    monkeypatch.setattr(currency, "REPOSITORY", tmp_path)
    monkeypatch.setattr(currency, "RECORD", tmp_path / "pictures.json")
    monkeypatch.setattr(currency, "SOURCES", (source,))
    monkeypatch.setattr(currency, "PICTURES", ())
    currency.record()
    assert currency.changed() == []
    source.write_bytes(b"<ui/>\r\n")
    assert currency.changed() == []
    source.write_bytes(b"<ui version='4.0'/>\n")
    assert currency.changed() == ["Resources/panel.ui"]
