"""The table: ``python -m training.semiseg.table --data DIR --runs RUNS --out REPORT``.

Scores the published maps and those of our runs on the 48 test slices with the same evaluator, and
writes REPORT.json and REPORT.md. A run has a row if ``python -m training.semiseg.predict`` has
written its maps to ``RUNS/<run>/test``. The mean over thresholds depends on how sharp maps are
(`training.semiseg.sharpness`), so all maps of infection are scored as they are and sharpened.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from training.command_line import command
from training.metrics import bootstrap_interval
from training.semiseg_evaluation import ImageScores, score_folder, summarise
from training.tables import number_text

from .maps import NOTE, read_note
from .sharpness import sharpened

_LOG = logging.getLogger("training")
_TRUTHS = {
    "infection": "LungInfection-Test/GT",
    "ground glass": "MultiClassInfection-Test/GT-1",
    "consolidation": "MultiClassInfection-Test/GT-2",
}
_COLUMNS = {
    "published_protocol": ("mean_dice", "max_dice", "mean_sensitivity", "mean_specificity"),
    "threshold_0.5": ("dice", "sensitivity", "precision"),
}
_HEADER = (
    "model | mean Dice [95% interval] | max Dice | mean sensitivity | mean specificity "
    "| mean Dice, sharpened | Dice at 0.5 [95% interval] | sensitivity | precision"
)
_SHARPNESS = Path(__file__).parents[1] / "reports" / "semiseg-sharpness-sizes.json"


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        label: What the row is called.
        target: ``"infection"``, ``"ground glass"`` or ``"consolidation"``.
        maps: Folder of the maps.
        about: What `training.semiseg.predict` noted beside them.
    """

    label: str
    target: str
    maps: Path
    about: dict[str, Any]


def published_rows(data_dir: Path) -> list[Row]:
    """Return the rows whose maps the authors of Inf-Net have published."""
    folder = data_dir / "covid_semiseg" / "published_predictions"
    classes = folder / "multi_class"
    found = [
        ("Inf-Net (published)", "infection", folder / "Inf-Net"),
        ("Semi-Inf-Net (published)", "infection", folder / "Semi-Inf-Net"),
        (
            "Semi-Inf-Net & MC (published)",
            "ground glass",
            classes / "Ground-glass opacities" / "Semi-Inf-Net_UNet",
        ),
        (
            "Semi-Inf-Net & MC (published)",
            "consolidation",
            classes / "Consolidation" / "Semi-Inf-Net_UNet",
        ),
    ]
    return [Row(label, target, maps, {}) for label, target, maps in found]


def own_rows(runs: Path) -> list[Row]:
    """Return a row for every run that has maps of the test slices, two for a class stage.

    Sharpened maps of `training.semiseg.combine`, which the class stage is given, have none: those
    that they were made from are scored both ways.
    """
    rows = []
    for note in sorted(runs.glob(f"*/test*/{NOTE}")):
        about = read_note(note.parent)
        if about.get("temperature", 1.0) != 1.0:
            continue
        folders = {
            "infection": note.parent,
            "ground glass": note.parent / "ground_glass",
            "consolidation": note.parent / "consolidation",
        }
        staged = folders["ground glass"].is_dir()
        targets = ("ground glass", "consolidation") if staged else ("infection",)
        label = _label(about)
        rows += [Row(label, target, folders[target], about) for target in targets]
    return rows


def _label(about: dict[str, Any]) -> str:
    """Return what a row is called: the network or the members, and over how many sizes."""
    members = about.get("members", [about])
    if "members" in about:
        name = "consensus of " + ", ".join(member["run"] for member in members)
    else:
        name = f"{about['run']}, {about['steps']} steps" if "steps" in about else about["run"]
    sized = [len(member.get("sizes", [])) for member in members]
    if max(sized) < 2:
        return name
    part = "" if min(sized) > 1 else f" for {sum(count > 1 for count in sized)} of {len(sized)}"
    return f"{name}; mean of {max(sized)} sizes{part}"


def score_row(row: Row, data_dir: Path, temperature: float) -> dict[str, Any]:
    """Score the maps of a row.

    Args:
        row: The row.
        data_dir: Folder with ``covid_semiseg``.
        temperature: How to sharpen maps of infection; classes have binary ones.

    Raises:
        InputError: ``training-data-mismatch``.
    """
    truth = data_dir / "covid_semiseg" / "TestingSet" / _TRUTHS[row.target]
    images = score_folder(row.maps, truth)
    scores = list(images.values())
    mean_dice = [float(image.dice.mean()) for image in scores]
    half_dice = [image.half["dice"] for image in scores]
    # Patients of the slices are not published: the interval takes each slice for one.
    return {
        "label": row.label,
        "target": row.target,
        "maps": row.about,
        "images": len(images),
        "summary": summarise(scores),
        "mean_dice_sharpened": _sharpened_mean(row.maps, truth, temperature)
        if row.target == "infection"
        else None,
        "interval_mean_dice": bootstrap_interval(mean_dice, list(images))[1:],
        "interval_half_dice": bootstrap_interval(half_dice, list(images))[1:],
        "without_target": sum(_is_empty(image) for image in scores),
    }


def _sharpened_mean(maps: Path, truth: Path, temperature: float) -> float:
    images = score_folder(maps, truth, partial(sharpened, temperature=temperature))
    return float(np.mean([image.dice.mean() for image in images.values()]))


def _is_empty(image: ImageScores) -> bool:
    # Taking everything for lesion finds some, unless there is none.
    return bool(image.dice[-1] == 0.0)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Return the results as one table per target."""
    lines: list[str] = []
    for target in _TRUTHS:
        chosen = [result for result in results if result["target"] == target]
        if not chosen:
            continue
        columns = _HEADER.count("|") + 1
        lines += [f"### {target.capitalize()}", "", f"| {_HEADER} |", "|---" * columns + "|"]
        lines += [_line(result) for result in chosen]
        lines += ["", f"{chosen[0]['images']} slices, {chosen[0]['without_target']} without.", ""]
    return "\n".join(lines)


def _line(result: dict[str, Any]) -> str:
    cells = [result["label"]]
    for protocol, names in _COLUMNS.items():
        values = [f"{result['summary'][protocol][name]:.3f}" for name in names]
        key = "interval_mean_dice" if protocol == "published_protocol" else "interval_half_dice"
        low, high = result[key]
        values[0] += f" [{low:.3f}, {high:.3f}]"
        cells += values
        if protocol == "published_protocol":
            cells.append(number_text(result["mean_dice_sharpened"]))
    return f"| {' | '.join(cells)} |"


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, score and write."""
    parser = argparse.ArgumentParser(prog="python -m training.semiseg.table", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with covid_semiseg")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--out", type=Path, required=True, help="report, without suffix")
    parser.add_argument(
        "--sharpness", type=Path, default=_SHARPNESS, help="report of training.semiseg.sharpness"
    )
    options = parser.parse_args(arguments)
    temperature = json.loads(options.sharpness.read_text(encoding="utf-8"))["temperature"]
    rows = [*published_rows(options.data), *own_rows(options.runs)]
    results = [score_row(row, options.data, temperature) for row in rows]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "command": "python -m training.semiseg.table",
        "temperature": temperature,
        "rows": results,
    }
    text = json.dumps(report, indent=1) + "\n"
    options.out.with_suffix(".json").write_text(text, encoding="utf-8")
    options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
