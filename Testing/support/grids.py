"""Input grids on which a result must come back exactly."""

from __future__ import annotations

from typing import Any

from CovidLesionSegLib.engine.geometry import AxisOrientation

GRIDS: dict[str, dict[str, Any]] = {
    "lps": {},
    "oblique": {"degrees": 12.0},
    "flipped": {"orientation": AxisOrientation((0, 1, 2), (True, False, True))},
    "sagittal-oblique": {
        "orientation": AxisOrientation((1, 2, 0), (False, True, True)),
        "degrees": -9.0,
    },
}
"""Arguments of `make_result` by name."""
