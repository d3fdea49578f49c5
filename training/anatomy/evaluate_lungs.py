"""Lungs and infected share against experts: ``python -m training.anatomy.evaluate_lungs``.

Per case: Dice of the lungs (on labelled slices) and share of the expert infection voxels that
lie inside the lung mask, for the expert's own lungs (the ceiling: experts put some infection
outside them), for the lungs from the CT alone and, with ``--network``, for those joined with
the lung network's and those widened by the infection network's findings, which is what a user
gets. Writes ``results/lungs.json``; with ``--network`` also ``results/infected_percent.json``
and ``.md``, the infected percentage of the lung from the expert and from the model.

Both tables name the weights of the networks. ``--cases`` measures some cases anew and keeps the
other rows, as long as they are of the same weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)
from numpy.typing import NDArray

from CovidLesionSegLib.engine.inference import predict_lungs
from CovidLesionSegLib.engine.lungs import segment_lungs
from CovidLesionSegLib.engine.lungs_infection import predict_with_lungs
from CovidLesionSegLib.engine.postprocess import find_infection
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.engine.result import Anatomy, LobeSource
from CovidLesionSegLib.engine.slice_model import SliceModel
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.errors import InputError
from training.command_line import command

from .infected_percent import markdown, percent_row

_LOG = logging.getLogger("training.anatomy")
_ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
_UNLABELLED = 255
_COMMAND = "python -m training.anatomy.evaluate_lungs"

Labels = NDArray[np.uint8]


def read_case(path: Path) -> tuple[CtVolume, Labels, Labels]:
    """Return the CT of a ``_ct.nii.gz``, and the expert's lungs and infection on its grid."""
    ct = read_ct(path)
    lung, infection = (
        _read_mask(path.with_name(path.name.replace("_ct.", f"_{kind}.")), ct)
        for kind in ("lung", "infection")
    )
    return ct, lung, infection


def _read_mask(path: Path, ct: CtVolume) -> Labels:
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.uint8)
    return ct.orientation.to_lps(array)


def labelled_slices(expert: Labels) -> NDArray[np.bool_]:
    """Return, per slice, whether the expert's lungs are given there (255 where they are not)."""
    labelled: NDArray[np.bool_] = ~(expert == _UNLABELLED).any(axis=(1, 2))
    return labelled


def score(found: Labels, expert: Labels, infection: Labels) -> dict[str, float]:
    """Compare one lung mask with the expert's.

    Args:
        found: Non-zero in our lungs.
        expert: 1 in the expert's lungs; slices that hold 255 are not labelled.
        infection: Non-zero in the expert's infection.
    """
    slices = labelled_slices(expert)
    ours, theirs = found[slices] > 0, expert[slices] == 1
    both = int(np.count_nonzero(ours & theirs))
    dice = 2.0 * both / (int(np.count_nonzero(ours)) + int(np.count_nonzero(theirs)))
    return {
        "lung_dice": round(dice, 4),
        "infection_inside": _share_inside(infection > 0, found > 0),
    }


def _share_inside(infected: NDArray[np.bool_], lung: NDArray[np.bool_]) -> float:
    inside = int(np.count_nonzero(infected & lung))
    return round(inside / max(int(np.count_nonzero(infected)), 1), 4)


def evaluate_case(
    path: Path, networks: tuple[SliceModel, SliceModel] | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Evaluate the case of one ``_ct.nii.gz``.

    Args:
        path: The CT.
        networks: Lung and infection network; None for the classical lungs only.

    Returns:
        The row about lungs, and the row about the infected percentage (with networks).
    """
    ct, expert, infection = read_case(path)
    slices = labelled_slices(expert)
    classical = segment_lungs(ct)
    row: dict[str, Any] = {
        "flags": list(classical.flags),
        "expert_lungs": {
            "infection_inside": _share_inside(infection[slices] > 0, expert[slices] == 1)
        },
        "classical": score(classical.labels, expert, infection),
    }
    if networks is None:
        return row, None
    lung_model, model = networks
    joined = segment_lungs(ct, predict_lungs(ct, lung_model, Reporter()))
    row["with_network"] = score(joined.labels, expert, infection)
    anatomy = Anatomy(joined.labels, None, LobeSource.NONE)
    prediction, anatomy = predict_with_lungs(ct, anatomy, model, Reporter())
    row["with_infection"] = score(anatomy.lungs, expert, infection)
    found = find_infection(ct, prediction.infection, anatomy.lungs, model.threshold).mask
    return row, percent_row(expert == 1, infection > 0, anatomy.lungs > 0, found > 0, slices)


def _open_networks() -> tuple[SliceModel, SliceModel]:
    from CovidLesionSegLib.engine.models import DEFAULT_MODEL, open_lung_model, open_slice_model

    return open_lung_model("cpu"), open_slice_model(DEFAULT_MODEL, "cpu")


def kept_rows(path: Path, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the rows of an earlier table, none without one.

    Args:
        path: The table.
        digests: SHA-256 of the weights of the networks in use, by model.

    Raises:
        InputError: ``scores-of-other-weights``.
    """
    if not path.is_file():
        return {}
    table = json.loads(path.read_text(encoding="utf-8"))
    if table["weights_sha256"] != digests:
        raise InputError(
            "scores-of-other-weights",
            f"The rows in {path.name} are of other networks than these.",
            "Measure all cases: leave out --cases.",
        )
    cases: dict[str, Any] = table["cases"]
    return cases


def write_rows(path: Path, rows: Mapping[str, Any], digests: Mapping[str, str]) -> None:
    """Write a table: command, weights of the networks, and rows by case."""
    network = " --network" if digests else ""
    table = {"command": f"{_COMMAND}{network}", "weights_sha256": dict(digests), "cases": rows}
    path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate the cases and write the tables."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    parser.add_argument("--network", action="store_true", help="also with the networks")
    parser.add_argument("--cases", nargs="*", default=[], help="only these, for example p9_1")
    options = parser.parse_args(arguments)
    networks = _open_networks() if options.network else None
    digests = {model.id: model.sha256 for model in networks or ()}
    paths = RESULTS / "lungs.json", RESULTS / "infected_percent.json"
    lungs, percents = (kept_rows(path, digests) if options.cases else {} for path in paths)
    for folder in ("medseg_p9", "coronacases"):
        for path in sorted((options.data / folder).glob("*_ct.nii.gz")):
            name = path.name.removesuffix("_ct.nii.gz")
            if options.cases and name not in options.cases:
                continue
            lungs[name], percent = evaluate_case(path, networks)
            _LOG.info("%s: %s %s", name, lungs[name], percent)
            write_rows(paths[0], lungs, digests)
            if percent is not None:
                percents[name] = percent
                write_rows(paths[1], percents, digests)
                paths[1].with_suffix(".md").write_text(markdown(percents), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
