"""Every number that the panel shows is defined one click away, and every text can be translated."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.engine.definitions import CONVENTIONS
from Testing.host.application import MODULE_FOLDER, Host
from Testing.support.review_result import reviewable_result

APP = sorted((MODULE_FOLDER / "CovidLesionSegLib" / "app").glob("*.py"))
BUTTONS = {
    "helpButton": "steps",
    "numbersButton": "numbers",
    "modelCardButton": "models",
    "intendedUseButton": "use",
    "licenceButton": "licence",
}
IN_THE_SUMMARY = ("infected_percent", "lesion_count", "ctss_0_25", "interval", "time")


def page(host: Host) -> str:
    return str(host.panel._dialogs._help.toPlainText())


def test_every_column_and_number_is_defined(host: Host) -> None:
    from CovidLesionSegLib.app import lesionTable, resultView
    from CovidLesionSegLib.app.definitionTexts import definitionText

    host.ui.numbersButton.click()
    shown = page(host)
    assert shown.count("\n") > 20
    for table, keys in (
        (host.ui.lesionTable, lesionTable.COLUMNS),
        (host.ui.lobesTable, (resultView.REGION, *resultView.COLUMNS)),
    ):
        assert table.columnCount == len(keys)
        for column, key in enumerate(keys):
            assert table.horizontalHeaderItem(column).toolTip() == definitionText(key)
            assert definitionText(key) in shown
    for key in (*IN_THE_SUMMARY, "boundary", "agreement", "threshold", *CONVENTIONS):
        assert definitionText(key) in shown, key


def test_a_number_without_a_definition_would_be_noticed() -> None:
    from CovidLesionSegLib.app.definitionTexts import definitionText

    with pytest.raises(KeyError):
        definitionText("volume_of_nothing")


def test_every_measure_of_a_result_is_defined() -> None:
    numbers = reviewable_result().quantification
    for row in numbers.rows:
        assert set(row.measures) <= set(CONVENTIONS)
    assert set(numbers.scores) <= set(CONVENTIONS)


@pytest.mark.parametrize("button", sorted(BUTTONS))
def test_each_part_of_the_help_is_one_click_away(
    host: Host, button: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CovidLesionSegLib.app.dialogs import Dialogs

    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(Dialogs, "showHelp", lambda _self, html, name: asked.append((html, name)))
    getattr(host.ui, button).click()
    ((html, section),) = asked
    assert section == BUTTONS[button]
    assert f'<a name="{section}">' in html
    assert f'href="#{section}"' in html


def test_the_page_holds_cards_use_and_licence(host: Host) -> None:
    host.ui.modelCardButton.click()
    text = page(host)
    for expected in (
        *("Training data", "Not for", "Apache License", "research", "Shift+N"),
        "Dice (scans with disease) 0.",
    ):
        assert expected in text
    # Colours come from the palette, light or dark.
    assert not re.search(r"color\s*[:=]", help_html(host))
    first = host.panel._dialogs._help
    host.ui.helpButton.click()
    assert host.panel._dialogs._help is first


def help_html(host: Host) -> str:
    from CovidLesionSegLib.app.help import helpHtml

    return str(helpHtml(str(host.ui.modelComboBox.currentData)))


NOT_SHOWN = {"_", "tr", "translate", "exception", "warning", "info", "error", "debug"}
"""Calls whose texts are translated, or are read in the log only."""


def sentences(path: Path) -> list[str]:
    """Texts for people in a file that are not handed to the translator."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    done: set[int] = set()
    for node in ast.walk(tree):
        function = getattr(node, "func", None)
        name = getattr(function, "id", getattr(function, "attr", ""))
        if name in NOT_SHOWN or (isinstance(node, ast.Raise) and _raises_for_programmers(node)):
            done |= {id(part) for part in ast.walk(node)}
        body: Any = getattr(node, "body", None)
        for part in body if isinstance(body, list) else ():
            if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
                done.add(id(part.value))
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in done
        and re.match(r"[A-Z][a-z]+ [a-z]+ ", node.value)
    ]


def _raises_for_programmers(node: ast.Raise) -> bool:
    function = getattr(node.exc, "func", None)
    return getattr(function, "id", "") in {"RuntimeError", "ValueError", "KeyError"}


@pytest.mark.parametrize("path", APP, ids=lambda path: path.name)
def test_texts_can_be_translated(path: Path) -> None:
    if path.name == "selfTest.py":
        pytest.skip("its sentences are for developers")
    assert sentences(path) == []


def test_an_untranslated_text_would_be_noticed(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text('label.setText("The disk is full.")\nlabel.setText(_("The disk is full."))\n')
    assert sentences(file) == ["The disk is full."]
