"""Lungs against expert masks: ``python -m training.anatomy.evaluate_lungs --data DIR``.

Per case: Dice of the lungs (on labelled slices), share of the expert infection voxels inside
the lung mask, and the infected percentage of the lung from the expert's and from our lungs;
for the classical lungs alone and, with ``--network``, for the bundled network's labels joined
with them. Writes ``results/lungs.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lungs import segment_lungs
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.engine.volume import CtVolume

_LOG = logging.getLogger("training.anatomy")
_ROOT = Path(__file__).resolve().parents[2]
_UNLABELLED = 255


def _read_mask(path: Path, ct: CtVolume) -> NDArray[np.uint8]:
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.uint8)
    return ct.orientation.to_lps(array)


def _network_labels(ct: CtVolume) -> NDArray[np.uint8]:
    from CovidLesionSegLib.engine.inference import predict_lungs
    from CovidLesionSegLib.engine.models import open_lung_model
    from CovidLesionSegLib.engine.progress import Reporter

    return predict_lungs(ct, open_lung_model("cpu"), Reporter())


def score(
    found: NDArray[np.uint8], expert: NDArray[np.uint8], infection: NDArray[np.uint8]
) -> dict[str, float]:
    """Compare one lung mask with the expert's.

    Args:
        found: Non-zero in our lungs.
        expert: 1 in the expert's lungs; slices that hold 255 are not labelled.
        infection: Non-zero in the expert's infection.
    """
    labelled = ~(expert == _UNLABELLED).any(axis=(1, 2))
    ours, theirs, infected = found > 0, expert == 1, infection > 0

    def count(mask: NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(mask[labelled]))

    inside = int(np.count_nonzero(infected & ours)) / max(int(np.count_nonzero(infected)), 1)
    in_theirs = 100.0 * count(infected & theirs) / max(count(theirs), 1)
    in_ours = 100.0 * count(infected & ours) / max(count(ours), 1)
    return {
        "lung_dice": round(2.0 * count(ours & theirs) / (count(ours) + count(theirs)), 4),
        "infection_inside": round(inside, 4),
        "infected_percent_expert_lung": round(in_theirs, 2),
        "infected_percent_our_lung": round(in_ours, 2),
    }


def evaluate_case(path: Path, *, network: bool) -> dict[str, Any]:
    """Evaluate the case of one ``_ct.nii.gz``."""
    ct = read_ct(path)
    expert, infection = (
        _read_mask(path.with_name(path.name.replace("_ct.", f"_{kind}.")), ct)
        for kind in ("lung", "infection")
    )
    classical = segment_lungs(ct)
    row: dict[str, Any] = {
        "flags": list(classical.flags),
        "classical": score(classical.labels, expert, infection),
    }
    if network:
        joined = segment_lungs(ct, _network_labels(ct))
        row["with_network"] = score(joined.labels, expert, infection)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    parser.add_argument("--network", action="store_true", help="also with the lung network")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    table: dict[str, Any] = {}
    for folder in ("medseg_p9", "coronacases"):
        for path in sorted((options.data / folder).glob("*_ct.nii.gz")):
            name = path.name.removesuffix("_ct.nii.gz")
            table[name] = evaluate_case(path, network=options.network)
            _LOG.info("%s: %s", name, table[name])
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "lungs.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
