"""The card of a model, or of all models of a consensus, as text for a person."""

from __future__ import annotations

from collections.abc import Mapping

from slicer.i18n import tr as _

from CovidLesionSegLib.engine.models import CONSENSUS
from CovidLesionSegLib.weights.catalogue import RESEARCH, CatalogueEntry

from .choices import consensusMembers, infectionModels

_SHOWN_SCORES = {
    "dice_diseased": "Dice (scans with disease)",
    "sensitivity": "sensitivity (all scans)",
    "precision": "precision (all scans)",
    "lesion_f1": "lesion F1 (all scans)",
}


def modelCardText(model: str) -> str:
    """Return the card of a model; what the models of a consensus share is said once."""
    ids = consensusMembers() if model == CONSENSUS else (model,)
    entries = [entry for entry in infectionModels() if entry.id in ids]
    if not entries:
        return _("The model {model} is not installed.").format(model=model)
    facts = {
        _("Model"): [_titled(entry) for entry in entries],
        _("Intended use"): [entry.card.intended_use for entry in entries],
        _("Not for"): [entry.card.not_for for entry in entries],
        _("Training data"): [entry.card.training_data for entry in entries],
        _("Split"): [entry.card.split for entry in entries],
        _("Scores"): [_scores(entry) for entry in entries],
        _("Licence"): [entry.card.licence for entry in entries],
        _("Cite"): [entry.card.citation for entry in entries],
    }
    texts = {key: "\n".join(dict.fromkeys(filter(None, facts[key]))) for key in facts}
    return "\n\n".join(f"{key}: {text}" for key, text in texts.items() if text)


def _titled(entry: CatalogueEntry) -> str:
    return _("{model} (research)").format(model=entry.id) if entry.role == RESEARCH else entry.id


def _scores(entry: CatalogueEntry) -> str:
    """Return mean and interval of the whole pipeline on the validation cases."""
    found = {name: entry.card.pipeline_score(key) for key, name in _SHOWN_SCORES.items()}
    parts = [f"{name} {_number(score)}" for name, score in found.items() if score is not None]
    return f"{entry.id}: " + ", ".join(parts) if parts else ""


def _number(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.2f} ({value['low']:.2f}-{value['high']:.2f})"
