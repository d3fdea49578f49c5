"""Lungs of real CTs against the experts, as the table of `training/anatomy/results` says.

The CTs are thinned out in the slice and cut to every second slice at most, so that the test
stays quick: figures may differ from the table's by a small tolerance, not more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lungs import ORIENTATION, SIDES, segment_lungs
from CovidLesionSegLib.engine.lungs_inflation import EXPIRATION
from CovidLesionSegLib.engine.result import Lung
from CovidLesionSegLib.engine.volume import CtVolume
from training.anatomy.evaluate_lungs import RESULTS, read_case, score

pytestmark = pytest.mark.data

# Consolidation at the pleura, disease everywhere, and next to none.
CASES = ("coronacases_003", "p9_9", "p9_6")
DICE_TOLERANCE = 0.012
INSIDE_TOLERANCE = 0.03
HELD_OUT_DICE = 0.97
INSIDE = 0.99
# The experts' own lungs leave out 1.9 percent of the infection they drew in this case, most of
# it along the spine, and ours follow them there in part only.
KNOWN_MISS = {"p9_1": 0.95}

Thin = tuple[CtVolume, NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    content = json.loads((RESULTS / "lungs.json").read_text(encoding="utf-8"))
    cases: dict[str, Any] = content["cases"]
    return cases


def _thin(data_dir: Path, name: str) -> Thin:
    """Return CT, expert lungs and infection on every second row and column (and thin slice)."""
    folder = "coronacases" if name.startswith("corona") else "medseg_p9"
    ct, lung, infection = read_case(data_dir / folder / f"{name}_ct.nii.gz")
    steps = (2 if ct.spacing_mm_zyx[0] < 2 else 1, 2, 2)
    part = tuple(slice(None, None, step) for step in steps)
    affine = ct.affine_lps.copy()
    affine[:3, :3] *= steps[::-1]
    return CtVolume.from_array(ct.hu[part].copy(), affine), lung[part], infection[part]


@pytest.mark.parametrize("name", CASES)
def test_the_ct_alone(data_dir: Path, table: dict[str, Any], name: str) -> None:
    ct, expert, infection = _thin(data_dir, name)
    found = segment_lungs(ct)
    measured, noted = score(found.labels, expert, infection), table[name]["classical"]
    assert measured["lung_dice"] >= noted["lung_dice"] - DICE_TOLERANCE
    assert measured["infection_inside"] >= noted["infection_inside"] - INSIDE_TOLERANCE
    assert not {ORIENTATION, SIDES} & set(found.flags)
    # Of these, p9_6 was taken in expiration.
    assert (EXPIRATION in found.flags) == (name == "p9_6")


@pytest.mark.parametrize("name", ["coronacases_003", "p9_9"])
def test_a_mirrored_chest_is_noticed_and_not_swapped(data_dir: Path, name: str) -> None:
    ct, _, _ = _thin(data_dir, name)
    mirrored = CtVolume.from_array(np.flip(ct.hu, 2).copy(), ct.affine_lps)
    found = segment_lungs(mirrored)
    assert SIDES in found.flags
    assert ORIENTATION not in found.flags
    centre = [float(np.nonzero(found.labels == side)[2].mean()) for side in Lung]
    assert centre[0] < centre[1]  # still by the header, the right lung at small x


@pytest.mark.parametrize("axis", [0, 1], ids=["upside down", "back to front"])
def test_a_turned_patient_is_noticed(data_dir: Path, axis: int) -> None:
    ct, _, _ = _thin(data_dir, "p9_6")
    turned = CtVolume.from_array(np.flip(ct.hu, axis).copy(), ct.affine_lps)
    assert ORIENTATION in segment_lungs(turned).flags


def test_the_table_holds_what_is_promised(table: dict[str, Any], data_dir: Path) -> None:
    """Every case is in the table, and none is worse than it may be."""
    cases = {path.name[: -len("_ct.nii.gz")] for path in data_dir.glob("*/*_ct.nii.gz")}
    assert set(table) == cases
    for name, row in table.items():
        shipped = row["with_infection"]
        assert shipped["infection_inside"] >= KNOWN_MISS.get(name, INSIDE), name
        if name.startswith("p9"):
            assert shipped["lung_dice"] >= HELD_OUT_DICE, name
        # What the infection network adds must not cost the lungs.
        assert shipped["lung_dice"] >= row["with_network"]["lung_dice"] - 0.002, name
