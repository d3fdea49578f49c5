"""DICOM codes of the numbers, and codes as highdicom's values."""

from __future__ import annotations

from typing import Any

from .segments import Code
from .tables import measure_title

SCHEME = "99COVIDLESIONSEG"
"""Designator of the codes that no public scheme has; their values are the stable names of the
table, shortened where DICOM's 16 characters are too few."""

_SHORTENED = {
    "consolidation_percent": "consol_percent",
    "involvement_score": "lobe_score",
    "uncertainty_percent": "doubt_percent",
    "agreement_percent": "agree_percent",
}
_ATTENUATION = Code("DCM", "112031", "Attenuation Coefficient")
_PUBLIC = {
    "volume_ml": Code("SCT", "118565006", "Volume"),
    "lesion_count": Code("SCT", "246206008", "Number of lesions"),
    "mean_hu": Code("DCM", "112181", "Mean Attenuation Coefficient"),
    "hu_p10": _ATTENUATION,
    "hu_p50": Code("DCM", "112182", "Median Attenuation Coefficient"),
    "hu_p90": _ATTENUATION,
}
_DERIVATIONS = {
    "hu_p10": Code("SCT", "371890005", "Tenth percentile"),
    "hu_p90": Code("SCT", "371887004", "Ninetieth percentile"),
}
_UNITS = {
    "ml": Code("UCUM", "mL", "milliliter"),
    "%": Code("UCUM", "%", "Percent"),
    "HU": Code("UCUM", "[hnsf'U]", "Hounsfield unit"),
    "score": Code("UCUM", "{score}", "score"),
    "count": Code("UCUM", "1", "no units"),
    "mm": Code("UCUM", "mm", "millimeter"),
}

CT_CHEST = Code("LN", "24627-2", "CT Chest")
LUNG = Code("SCT", "39607008", "Lung")
VALUE_UNKNOWN = Code("DCM", "114010", "Value unknown")


def measure_code(name: str, unit: str) -> Code:
    """Return what a measure of the table is, for example ``"infected_percent"`` in ``"%"``."""
    if name in _PUBLIC:
        return _PUBLIC[name]
    return Code(SCHEME, _SHORTENED.get(name, name), measure_title(name, unit))


def derivation_code(name: str) -> Code | None:
    """Return how a measure follows from what its code says; None when the code says it all."""
    return _DERIVATIONS.get(name)


def unit_code(unit: str) -> Code:
    """Return the unit of a measure; KeyError for one that the table does not have."""
    return _UNITS[unit]


def concept(code: Code) -> Any:
    """Return a code as highdicom's value."""
    import highdicom as hd

    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)
