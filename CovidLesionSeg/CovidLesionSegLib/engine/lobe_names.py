"""Which lobe a segment is: by its DICOM codes, else by its name; never by its number."""

from __future__ import annotations

import re
import unicodedata

from .result import Lobe

_RIGHT_CODE = "24028007"
_LEFT_CODE = "7771000"
_UPPER_CODE = "45653009"
_LOWER_CODE = "90572001"
_WHOLE_CODES = {
    "42400003": Lobe.RUL,
    "72481006": Lobe.RML,
    "266005": Lobe.RLL,
    "44714003": Lobe.LUL,
    "41224006": Lobe.LLL,
}
"""SNOMED CT codes that name lobe and side at once."""

_SIDES = {
    "right": "right re rechter rechte rechts droit droite derecho derecha destro destra direito "
    "direita dexter dextri dextra 右",
    "left": "left li linker linke links gauche izquierdo izquierda sinistro sinistra sinister "
    "sinistri esquerdo esquerda 左",
}
_LEVELS = {
    "upper": "upper superior superieur superieure superiore oberlappen ober haut 上",
    "middle": "middle medius medio moyen mid mittellappen mittel 中",
    "lower": "lower inferior inferieur inferieure inferiore unterlappen unter 下",
}
_OTHER = (
    "lobe lobo lobus lobulo lobi lung lungs lunge lungen pulmon pulmonis poumon pulmao polmone "
    "pulmonary of the der des du de do del della dello la le l lappen anatomy label 肺 叶 葉 の"
)
_LINGULA = "lingula"
_ABBREVIATIONS = {
    **{lobe.name.lower(): lobe for lobe in Lobe},
    # Radiology German: Ober-, Mittel-, Unterlappen.
    "rol": Lobe.RUL,
    "rul": Lobe.RUL,
    "rml": Lobe.RML,
    "lol": Lobe.LUL,
}

_WORDS: dict[str, str] = {
    **{word: side for side, words in _SIDES.items() for word in words.split()},
    **{word: level for level, words in _LEVELS.items() for word in words.split()},
    **dict.fromkeys(_OTHER.split(), ""),
    _LINGULA: _LINGULA,
}
_LONGEST_WORD = max(map(len, _WORDS))

LUNGMASK_LTRC = {1: Lobe.LUL, 2: Lobe.LLL, 3: Lobe.RUL, 4: Lobe.RML, 5: Lobe.RLL}
"""Label order of lungmask's LTRCLobes models; used only for files that say they are such."""


def lobe_of_name(name: str) -> Lobe | None:
    """Recognise a lobe by name, whatever the case, word order, separators or language.

    Knows the names of TotalSegmentator, MONAI Auto3DSeg, LungCTAnalyzer and the
    ChestImagingPlatform, English, German, French, Spanish, Italian, Portuguese, Latin,
    Chinese and Japanese words, and the abbreviations RUL, RML, RLL, LUL, LLL. A name with
    any other word in it ("left upper lobe vessels") is no lobe. The lingula counts as left
    upper lobe.
    """
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(c for c in plain if not unicodedata.combining(c)).lower()
    letters = re.sub(r"[\W\d_]+", "", plain)
    tokens = [part for part in re.split(r"[\W\d_]+", plain) if part]
    abbreviated = [part for part in tokens if part in _ABBREVIATIONS]
    rest = "".join(part for part in tokens if part not in _ABBREVIATIONS)
    if len(abbreviated) == 1 and _words_of(rest) is not None:
        return _ABBREVIATIONS[abbreviated[0]]
    words = _words_of(letters)
    if words is None:
        return None
    return _lobe_of_meanings({_WORDS[word] for word in words} - {""})


def _words_of(letters: str) -> list[str] | None:
    """Part letters without gaps into known words, long ones first; None if it can't be."""
    if not letters:
        return []
    for length in range(min(_LONGEST_WORD, len(letters)), 0, -1):
        if letters[:length] in _WORDS:
            rest = _words_of(letters[length:])
            if rest is not None:
                return [letters[:length], *rest]
    return None


def _lobe_of_meanings(meanings: set[str]) -> Lobe | None:
    if meanings in ({_LINGULA}, {_LINGULA, "left"}):
        return Lobe.LUL
    if meanings in ({"middle"}, {"middle", "right"}):
        return Lobe.RML
    table = {
        frozenset({"right", "upper"}): Lobe.RUL,
        frozenset({"right", "lower"}): Lobe.RLL,
        frozenset({"left", "upper"}): Lobe.LUL,
        frozenset({"left", "lower"}): Lobe.LLL,
    }
    return table.get(frozenset(meanings))


def lobe_of_terminology(entry: str) -> Lobe | None:
    """Recognise a lobe by a terminology entry of 3D Slicer.

    Args:
        entry: Fields joined by ``~``, codes ``scheme^value^meaning``; the type, its modifier
            and the anatomic region are looked at, in SNOMED CT.
    """
    fields = entry.split("~")
    codes = [field.split("^")[1] for field in fields if field.count("^") >= 2]
    for code in codes:
        if code in _WHOLE_CODES:
            return _WHOLE_CODES[code]
    right, left = _RIGHT_CODE in codes, _LEFT_CODE in codes
    upper, lower = _UPPER_CODE in codes, _LOWER_CODE in codes
    if right == left or upper == lower:
        return None
    if right:
        return Lobe.RUL if upper else Lobe.RLL
    return Lobe.LUL if upper else Lobe.LLL
