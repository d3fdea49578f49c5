"""What every number and column of the panel means: the definitions that travel with the result.

The texts of `engine.definitions` have no home besides that one; what exists in the panel only is
defined here. A translation takes the English text for its key.
"""

from __future__ import annotations

from slicer.i18n import tr as _

from CovidLesionSegLib.engine.definitions import CONVENTIONS
from CovidLesionSegLib.export.tables import measure_title

_UNITS = {"_ml": "ml", "_percent": "%", "_hu": "HU"}


def panelDefinitions() -> dict[str, tuple[str, str]]:
    """Return title and definition of what the panel shows besides the numbers of a table."""
    return {
        "region": (
            _("Region"),
            _("A lobe, a lung, or both. A ~ marks lobes that are approximate."),
        ),
        "lesion": (
            _("Lesion"),
            _("Number of the lesion: 1 is the largest of the computed result. It stays."),
        ),
        "lobe": (_("Lobe"), _("The lobe that holds the most of the lesion.")),
        "state": (_("State"), _("What a person decided: to review, accepted, rejected, edited.")),
        "interval": (
            _("Interval"),
            _(
                "In brackets behind a number: from the least to the most that fits the doubt of "
                "the networks and of the lobes. It is no statistical confidence interval."
            ),
        ),
        "boundary": (
            _("Boundary map"),
            _("How likely the network finds the border of a lesion at a place, 0 to 1."),
        ),
        "agreement": (
            _("Model agreement"),
            _(
                "1 where all networks of a consensus give the same probability of infection, "
                "lower by the difference between the highest and the lowest."
            ),
        ),
        "threshold": (
            _("Threshold"),
            _("Probability from which a place counts as infected; calibrated for each model."),
        ),
        "time": (
            _("Time"),
            _("From the click to the result; beforehand from the last run, or as measured once."),
        ),
    }


def definitionTitle(key: str) -> str:
    """Return what a number or column is called."""
    own = panelDefinitions()
    return own[key][0] if key in own else _(measure_title(key, _unit(key)))


def _unit(key: str) -> str:
    return next((unit for end, unit in _UNITS.items() if key.endswith(end)), "")


def definitionText(key: str) -> str:
    """Return what a number or column means; KeyError for one that nobody has defined."""
    own = panelDefinitions()
    return own[key][1] if key in own else _(CONVENTIONS[key])


def allDefinitions() -> list[tuple[str, str]]:
    """Return title and definition of everything, what the panel shows first."""
    keys = [*panelDefinitions(), *CONVENTIONS]
    return [(definitionTitle(key), definitionText(key)) for key in keys]
