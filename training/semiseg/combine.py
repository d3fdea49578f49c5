"""Average and sharpen maps: ``python -m training.semiseg.combine MAPS [MAPS ...] --out OUT``.

Several folders of `training.semiseg.predict` become one: the consensus of their networks. With
``--labels`` it is laid out as pseudo labels, as `training.semiseg.propagation` does: where
networks err differently, their mean is a better teacher than any of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError
from training.command_line import command, read_report

from .maps import read_map, read_note, write_label, write_map, write_note
from .sharpness import sharpened


def combine(folders: Sequence[Path], out: Path, temperature: float = 1.0) -> None:
    """Write the mean of some folders of maps, and beside them what they are.

    Args:
        folders: Folders of maps of the same slices.
        out: Where the means go.
        temperature: What logits are divided by, see `sharpness.sharpened`.

    Raises:
        InputError: ``training-data-mismatch``.
    """
    for key, levels in _means(folders):
        write_map(sharpened(levels, temperature), out, key)
    write_note(out, {**_about(folders), "temperature": temperature})


def combine_labels(folders: Sequence[Path], out: Path) -> None:
    """Write the mean of some folders of maps as pseudo labels.

    Args:
        folders: Folders of maps of the same slices.
        out: Where ``GT`` and ``Edge`` go.

    Raises:
        InputError: ``training-data-mismatch``.
    """
    for key, levels in _means(folders):
        write_label(levels, out, key)
    text = json.dumps(_about(folders), indent=1) + "\n"
    (out / "labels.json").write_text(text, encoding="utf-8")


def _means(folders: Sequence[Path]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield name and mean map of every slice."""
    names = [{path.stem for path in folder.glob("*.png")} for folder in folders]
    if not names[0] or any(other != names[0] for other in names):
        raise InputError(
            "training-data-mismatch",
            f"{', '.join(map(str, folders))}: no maps, or maps of different slices.",
            "Predict the same slices with every run.",
        )
    for key in sorted(names[0]):
        maps = [read_map(folder, key) for folder in folders]
        yield key, np.mean(maps, axis=0).round().astype(np.uint8)


def _about(folders: Sequence[Path]) -> dict[str, Any]:
    """Return what `predict` noted of one network, or of all members of a consensus."""
    members = [read_note(folder) for folder in folders]
    return members[0] if len(members) == 1 else {"run": "consensus", "members": members}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and combine."""
    parser = argparse.ArgumentParser(prog="python -m training.semiseg.combine", description=__doc__)
    parser.add_argument("maps", type=Path, nargs="+", help="folders of maps")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--labels", action="store_true", help="write pseudo labels with edges")
    kind.add_argument("--sharpen", type=Path, help="report of training.semiseg.sharpness")
    options = parser.parse_args(arguments)
    if options.labels:
        combine_labels(options.maps, options.out)
        return 0
    temperature = 1.0
    if options.sharpen is not None:
        report = read_report(options.sharpen, "training.semiseg.sharpness", "temperature")
        temperature = float(report["temperature"])
    combine(options.maps, options.out, temperature)
    return 0


if __name__ == "__main__":
    sys.exit(main())
