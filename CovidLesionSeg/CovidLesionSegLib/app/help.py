"""The help: how to use the panel, what every number means, model cards, intended use, licence."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from slicer.i18n import tr as _

from .choices import infectionModels
from .definitionTexts import allDefinitions
from .modelCard import modelCardText
from .texts import intendedUse, licenceText, reviewText, stepsText

SECTIONS = ("steps", "review", "numbers", "models", "use", "licence")
"""Anchors of the page."""


def helpHtml(model: str) -> str:
    """Return the page, in the colours of whoever shows it.

    Args:
        model: The chosen model; its card, or those of its consensus, come first.
    """
    others = [entry.id for entry in infectionModels() if entry.id != model]
    contents = {
        "steps": (_("How to use it"), _list(stepsText())),
        "review": (_("The review"), _paragraphs(reviewText())),
        "numbers": (_("What the numbers mean"), _definitions(allDefinitions())),
        "models": (
            _("Model cards"),
            "<hr>".join(
                _paragraphs(modelCardText(name).split("\n\n")) for name in (model, *others)
            ),
        ),
        "use": (_("Intended use"), _paragraphs([intendedUse()])),
        "licence": (_("Licence"), _paragraphs([licenceText()])),
    }
    index = " · ".join(f'<a href="#{key}">{escape(contents[key][0])}</a>' for key in SECTIONS)
    parts = [
        f'<h2><a name="{key}"></a>{escape(contents[key][0])}</h2>{contents[key][1]}'
        for key in SECTIONS
    ]
    return f"<p>{index}</p>{''.join(parts)}"


def _paragraphs(texts: Iterable[str]) -> str:
    lines = (escape(text).replace("\n", "<br>") for text in texts)
    return "".join(f"<p>{line}</p>" for line in lines)


def _list(texts: Iterable[str]) -> str:
    return "<ol>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ol>"


def _definitions(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<p><b>{escape(title)}</b><br>{escape(text)}</p>" for title, text in pairs)
