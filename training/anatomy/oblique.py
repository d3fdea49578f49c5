"""The oblique fissures of real CTs, as the engine sets out to look for them."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.fissure_search import Region
from CovidLesionSegLib.engine.lobe_atlas import (
    LEFT_OBLIQUE,
    RIGHT_OBLIQUE,
    Array,
    FissureModel,
    bundled_atlas,
)
from CovidLesionSegLib.engine.lobe_registration import lung_surfaces, register
from CovidLesionSegLib.engine.lobes_atlas import cut_ends, inside_of
from CovidLesionSegLib.engine.lungs import segment_lungs
from CovidLesionSegLib.engine.masks import Mask
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.engine.result import Lung
from CovidLesionSegLib.engine.volume import CtVolume

_LOG = logging.getLogger("training.anatomy")
_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
_FISSURES = {LEFT_OBLIQUE: Lung.LEFT, RIGHT_OBLIQUE: Lung.RIGHT}


@dataclass(frozen=True, eq=False)
class ObliqueFissure:
    """One oblique fissure before it is searched.

    Attributes:
        name: Of the fissure.
        ct: The CT.
        lungs: uint8 ``[z, y, x]``, labels of `Lung`.
        side: The lung that it parts.
        model: The atlas' model of it.
        expected: Coefficients of the surface that the atlas expects.
        region: Where it can be.
        to_reference: 3 x 4, LPS to reference LPS in mm.
    """

    name: str
    ct: CtVolume
    lungs: NDArray[np.uint8]
    side: Lung
    model: FissureModel
    expected: Array
    region: Region
    to_reference: Array

    @property
    def lung(self) -> Mask:
        """Boolean ``[z, y, x]``."""
        mask: Mask = self.lungs == self.side
        return mask


def oblique_fissures(path: Path) -> Iterator[ObliqueFissure]:
    """Find the lungs of a CT and yield both fissures as the atlas expects them."""
    atlas, ct = bundled_atlas(), read_ct(path)
    lungs = segment_lungs(ct).labels
    to_reference = register(lung_surfaces(lungs, ct), atlas, cut_ends(lungs, ct))
    features = atlas.features(to_reference)
    for name, side in _FISSURES.items():
        model, region = atlas.fissures[name], inside_of(ct, lungs == side, to_reference)
        expected = model.mean(features)
        yield ObliqueFissure(name, ct, lungs, side, model, expected, region, to_reference)


def table_over_thin_cts(
    description: str | None,
    arguments: Sequence[str] | None,
    evaluate: Callable[[Path], dict[str, Any]],
) -> dict[str, Any]:
    """Read a command line and evaluate all CTs with thin slices, by name."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=_DATA)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    table: dict[str, Any] = {}
    for path in sorted((options.data / "coronacases").glob("*_ct.nii.gz")):
        name = path.name.removesuffix("_ct.nii.gz")
        table[name] = evaluate(path)
        _LOG.info("%s: %s", name, table[name])
    return table
