"""The catalogue of models: what each one is, where its file is, and what it is good for.

A catalogue is a JSON file ``{"schema": 1, "models": [...]}``. Every entry is checked
strictly when it is read: an unknown name, a wrong type or a file name that leaves its folder
is an error that names the entry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.nets.config import SCALES, ModelConfig, OptionValue

SCHEMA = 1
TASKS = ("infection", "lungs", "lesion-classes", "severity", "pretraining")
"""What a model is for; ``severity`` finds infection too, taught by scores of lobes,
``lesion-classes`` tells ground glass from consolidation, and ``pretraining`` marks a
start for training that can't segment."""
DTYPES = ("float16", "float32")
CLINICAL = "clinical"
RESEARCH = "research"
ROLES = (CLINICAL, RESEARCH)
"""``research`` marks a model that is offered last, takes no part in a consensus, and warns
whoever uses it; `CLINICAL` is what an entry without a role is."""

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelCard:
    """What a person must know before using a model.

    Attributes:
        licence: Licence of the weights.
        training_data: What it was trained on, with licences.
        split: How training, validation and test cases were separated.
        citation: What to cite.
        intended_use: What it is meant for.
        not_for: What it must not be used for.
        scores: Measured results: numbers, text, or tables of them, by name.
        source: Where an imported model came from: file name, digest, published format.
    """

    licence: str
    training_data: str
    split: str
    citation: str
    intended_use: str
    not_for: str
    scores: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def pipeline_score(self, name: str) -> Mapping[str, float] | None:
        """Return mean and interval of a score of the whole pipeline; None if not measured.

        Args:
            name: For example ``"dice_diseased"``, the Dice over the scans with disease: one
                without any has no meaningful Dice.

        Returns:
            Numbers under ``"mean"``, ``"low"`` and ``"high"``.
        """
        table = self.scores.get("pipeline")
        score = table.get(name) if isinstance(table, Mapping) else None
        if not isinstance(score, Mapping) or not {"mean", "low", "high"} <= set(score):
            return None
        return score


@dataclass(frozen=True)
class CatalogueEntry:
    """One model.

    Attributes:
        id: Stable identifier: lower case letters, digits, ``.``, ``_`` and ``-``.
        version: Version of the weights.
        task: One of `TASKS`.
        family, scale, encoder, options: The network; see `config`.
        recipe: Preprocessing that the weights were trained with, as
            ``engine.windowing.SliceRecipe.to_dict``, ``engine.tissue_model.TissueRecipe.to_dict``
            or ``engine.lesion_classes.density_recipe`` writes it; empty where the engine has
            none that fits.
        file: Name of the weights file, in the folder ``Weights`` beside the catalogue.
        sha256: Digest of the file, lower case hexadecimal.
        bytes: Size of the file.
        dtype: Type of the stored floating-point numbers, one of `DTYPES`.
        threshold: Probability from which a voxel counts as positive.
        temperature: Logits are divided by this before the sigmoid (calibration).
        card: What a person must know.
        role: One of `ROLES`.
    """

    id: str
    version: str
    task: str
    family: str
    scale: str
    encoder: str | None
    options: Mapping[str, OptionValue]
    recipe: Mapping[str, Any]
    file: str
    sha256: str
    bytes: int
    dtype: str
    threshold: float
    temperature: float
    card: ModelCard
    role: str = CLINICAL

    @property
    def config(self) -> ModelConfig:
        """Recipe of the network."""
        return ModelConfig(self.family, self.scale, self.encoder, self.options)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready entry; `from_dict` is the inverse."""
        network = self.config.to_dict()
        values = {name: getattr(self, name) for name in _ENTRY_FIELDS}
        card = {name: getattr(self.card, name) for name in _CARD_FIELDS}
        return {**values, **network, "recipe": dict(self.recipe), **card}

    @classmethod
    def from_dict(cls, values: object) -> CatalogueEntry:
        """Read one entry of a catalogue.

        Raises:
            CovidLesionSegError: ``catalogue-invalid``; the message names the entry and what
                is wrong with it.
        """
        if not isinstance(values, dict):
            raise _invalid("an entry", "it is not a table of names and values")
        label = f"the model {values.get('id')!r}"
        _check_names(values, label)
        for name, rule in _RULES.items():
            if name in values:
                _check_value(name, values[name], rule, label)
        card = ModelCard(**{name: values[name] for name in _CARD_FIELDS if name in values})
        entry = {
            name: values[name] for name in (*_ENTRY_FIELDS, *_NETWORK_FIELDS) if name in values
        }
        numbers = {name: float(values[name]) for name in ("threshold", "temperature")}
        options = ModelConfig(values["family"], options=values["options"]).options
        return cls(**{**entry, **numbers, "options": options}, card=card)


@dataclass(frozen=True)
class _Rule:
    """What one value must be: its JSON types and a condition in words."""

    types: tuple[type, ...]
    words: str
    pattern: re.Pattern[str] | None = None
    choices: tuple[object, ...] = ()
    above: float | None = None
    below: float | None = None

    def allows(self, value: Any) -> bool:
        if type(value) not in self.types:
            return False
        if self.pattern is not None:
            return self.pattern.fullmatch(value) is not None
        if self.choices:
            return value in self.choices
        # Written so that NaN fails.
        return (self.above is None or value > self.above) and (
            self.below is None or value < self.below
        )


_TEXT = _Rule((str,), "text")
_TABLE = _Rule((dict,), "a table")
_RULES: Mapping[str, _Rule] = {
    "id": _Rule((str,), "lower case letters, digits and . _ - (64 at most)", pattern=_ID),
    "version": _TEXT,
    "task": _Rule((str,), f"one of: {', '.join(TASKS)}", choices=TASKS),
    "role": _Rule((str,), f"one of: {', '.join(ROLES)}", choices=ROLES),
    "family": _TEXT,
    "scale": _Rule((str,), f"one of: {', '.join(SCALES)}", choices=SCALES),
    "encoder": _Rule((str, type(None)), "text or null"),
    "options": _TABLE,
    "recipe": _TABLE,
    "file": _Rule((str,), "the plain name of a .safetensors file", pattern=_FILE),
    "sha256": _Rule((str,), "64 lower case hexadecimal digits", pattern=_SHA256),
    "bytes": _Rule((int,), "a positive whole number", above=0),
    "dtype": _Rule((str,), f"one of: {', '.join(DTYPES)}", choices=DTYPES),
    "threshold": _Rule((int, float), "a number between 0 and 1", above=0, below=1),
    "temperature": _Rule((int, float), "a positive number", above=0, below=float("inf")),
    "licence": _TEXT,
    "training_data": _TEXT,
    "split": _TEXT,
    "citation": _TEXT,
    "intended_use": _TEXT,
    "not_for": _TEXT,
    "scores": _TABLE,
    "source": _TABLE,
}
_NETWORK_FIELDS = ("family", "scale", "encoder", "options")
_ENTRY_FIELDS = (
    *("id", "version", "task", "role", "recipe", "file", "sha256", "bytes", "dtype"),
    *("threshold", "temperature"),
)
_CARD_FIELDS = tuple(ModelCard.__dataclass_fields__)
_OPTIONAL = {"role", "scores", "source"}


def read_catalogue(path: Path) -> tuple[CatalogueEntry, ...]:
    """Read a catalogue file.

    Raises:
        CovidLesionSegError: ``catalogue-unreadable``, ``catalogue-invalid`` or
            ``catalogue-schema``.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CovidLesionSegError(
            "catalogue-unreadable",
            f"The model catalogue {path} can't be read: {reason}.",
            "Restore the file, or remove its folder if it was left by a broken copy.",
        ) from error
    return parse_catalogue(document)


def parse_catalogue(document: object) -> tuple[CatalogueEntry, ...]:
    """Check and return the entries of a catalogue that was read from JSON.

    Raises:
        CovidLesionSegError: ``catalogue-invalid`` or ``catalogue-schema``.
    """
    if not isinstance(document, dict) or set(document) != {"schema", "models"}:
        raise _invalid("the file", "it must hold 'schema' and 'models' and nothing else")
    if document["schema"] != SCHEMA:
        raise CovidLesionSegError(
            "catalogue-schema",
            f"The model catalogue has the format {document['schema']!r}, not {SCHEMA}.",
            "It may have been written by a newer version of CovidLesionSeg.",
        )
    if not isinstance(document["models"], list):
        raise _invalid("the file", "'models' must be a list")
    entries = tuple(CatalogueEntry.from_dict(values) for values in document["models"])
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise _invalid(f"the model {entry.id!r}", "it is listed twice")
        seen.add(entry.id)
    return entries


def format_catalogue(entries: tuple[CatalogueEntry, ...]) -> str:
    """Return the text of a catalogue file with these entries."""
    document = {"schema": SCHEMA, "models": [entry.to_dict() for entry in entries]}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def is_valid_id(text: str) -> bool:
    """Say whether ``text`` can be the id of a model."""
    return _ID.fullmatch(text) is not None


def _check_names(values: Mapping[str, object], label: str) -> None:
    unknown = sorted(map(repr, set(values) - set(_RULES)))
    if unknown:
        raise _invalid(label, f"it has unknown entries: {', '.join(unknown)}")
    missing = sorted(set(_RULES) - set(values) - _OPTIONAL)
    if missing:
        raise _invalid(label, f"it lacks: {', '.join(missing)}")


def _check_value(name: str, value: object, rule: _Rule, label: str) -> None:
    if not rule.allows(value):
        raise _invalid(label, f"{name!r} must be {rule.words}, not {value!r}")


def _invalid(label: str, reason: str) -> CovidLesionSegError:
    return CovidLesionSegError(
        "catalogue-invalid",
        f"The model catalogue can't be used because of {label}: {reason}.",
        "The file is damaged or was written by another version of CovidLesionSeg.",
    )
