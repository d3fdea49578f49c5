"""Which findings to drop? ``python -m training.finding_rules RUN... --data DIR``.

In expiration, and where the lung is dependent, tissue grows denser without any disease, and the
networks call some of it infected. This measures, on the held-out scans of `training.k_fold`,
what simple rules over connected findings would change: keep a finding only if it is denser than
the lung around it by so many HU or by such a factor, or if its highest or its mean probability
exceeds a value. The value that a patient is scored with is the strictest one that is next to the
best for the others.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from CovidLesionSegLib.engine.masks import TOUCHING, Mask
from CovidLesionSegLib.engine.models import LUNG_MODEL, open_lung_model, open_slice_model
from CovidLesionSegLib.engine.postprocess import LARGE_SHARE
from CovidLesionSegLib.engine.surroundings import densities, density_ratio
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.weights.locations import user_model_dir
from CovidLesionSegLib.weights.store import WeightsStore

from .command_line import command
from .config import TrainingConfig, load_config
from .data.volumes import load_volume
from .evaluate import patients_by_case, select_cases
from .finding_rules_text import FREE_DICE, report_text
from .k_fold import WORK
from .predictions import CasePrediction, PredictionFolder
from .run_folder import RunFolder
from .splits import split_of

_LOG = logging.getLogger("training")
_COMMAND = "python -m training.finding_rules"
REPORT = Path(__file__).parent / "reports" / "finding-rules.json"

_LEAST_DISEASE_ML = 1.0

_RATIOS = (0.0, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4, 1.45, 1.5, 1.6)

RULES: dict[str, tuple[float, ...]] = {
    "contrast_hu": tuple(float(value) for value in range(0, 201, 10)),
    "density_ratio": _RATIOS,
    "density_ratio_unless_large": _RATIOS,
    "peak_probability": (0.0, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99),
    "mean_probability": (0.0, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85),
}
"""Values to try for every property of a finding; the first keeps everything."""


@dataclass(frozen=True)
class Finding:
    """One 26-connected component of what a model calls infected.

    Attributes:
        volume_ml: Its volume.
        drawn_ml: What of it experts drew as well.
        mean_hu: Its mean density.
        contrast_hu: The same less the median of the lung around it that is not called; infinite
            without any such lung.
        density_ratio: Its mean density over that of this lung, both counted from air, which is
            how much more tissue it holds; infinite without any such lung.
        density_ratio_unless_large: The same, but infinite for a finding that fills a large
            share of the lungs.
        peak_probability: Highest probability in it.
        mean_probability: Mean probability in it.
    """

    volume_ml: float
    drawn_ml: float
    mean_hu: float
    contrast_hu: float
    density_ratio: float
    density_ratio_unless_large: float
    peak_probability: float
    mean_probability: float


@dataclass(frozen=True, eq=False)
class Scan:
    """The findings of one scan.

    Attributes:
        findings: All of them.
        drawn_ml: What experts drew.
        lung_ml: Volume of the lungs.
    """

    findings: list[Finding]
    drawn_ml: float
    lung_ml: float

    def kept(self, rule: str, value: float) -> list[Finding]:
        """Return the findings that a rule keeps."""
        return [
            finding for finding in self.findings if getattr(finding, rule) >= value or not value
        ]

    def dice(self, rule: str, value: float) -> float:
        """Return the Dice of what a rule keeps."""
        kept = self.kept(rule, value)
        both, found = sum(f.drawn_ml for f in kept), sum(f.volume_ml for f in kept)
        return 2.0 * both / (found + self.drawn_ml) if found + self.drawn_ml else 1.0

    def percent(self, rule: str, value: float) -> float:
        """Return what of the lungs a rule leaves infected, in percent."""
        return 100.0 * sum(f.volume_ml for f in self.kept(rule, value)) / self.lung_ml


def findings_of(ct: CtVolume, prediction: CasePrediction, drawn: Mask) -> list[Finding]:
    """Measure every finding of a prediction.

    Args:
        ct: The CT.
        prediction: The engine's answer.
        drawn: bool ``[z, y, x]``, the expert's mask.
    """
    called = prediction.candidates()
    labels, _ = ndimage.label(called, structure=TOUCHING)
    free = (prediction.lungs > 0) & ~called
    large = LARGE_SHARE * int((prediction.lungs > 0).sum())
    result = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        finding = labels[box] == label
        voxels = int(finding.sum())
        mean_hu, around = densities(label, box, labels, free.__getitem__, ct.hu, ct.spacing_mm_zyx)
        ratio = density_ratio(mean_hu, around)
        probability = prediction.probability[box][finding].astype(np.float32)
        result.append(
            Finding(
                volume_ml=voxels * ct.voxel_volume_ml,
                drawn_ml=int((finding & drawn[box]).sum()) * ct.voxel_volume_ml,
                mean_hu=mean_hu,
                contrast_hu=mean_hu - around,
                density_ratio=ratio,
                density_ratio_unless_large=np.inf if voxels > large else ratio,
                peak_probability=float(probability.max()),
                mean_probability=float(probability.mean()),
            )
        )
    return result


def choose(scans: Mapping[str, Scan], rule: str) -> float:
    """Return the strictest value that is next to the best in mean Dice of scans with disease."""
    diseased = [scan for scan in scans.values() if scan.drawn_ml >= _LEAST_DISEASE_ML]
    means = {v: np.mean([scan.dice(rule, v) for scan in diseased]) for v in RULES[rule]}
    return max(value for value, mean in means.items() if mean >= max(means.values()) - FREE_DICE)


def left_out(scans: Mapping[str, Scan], rule: str) -> dict[str, float]:
    """Return for every scan the value that was chosen without its patient."""
    patient = patients_by_case()
    return {
        key: choose(
            {k: s for k, s in scans.items() if patient.get(k, k) != patient.get(key, key)}, rule
        )
        for key in scans
    }


def rule_report(scans: Mapping[str, Scan], rule: str) -> dict[str, Any]:
    """Say what a rule changes, for every value and with the value chosen without the patient.

    Returns:
        ``values``: mean Dice over scans with disease, the largest loss of Dice among them and the
        scan that loses it, and the percentage of lung called infected in the others.
        ``left_out``: per scan, the value chosen on other patients and what it makes of Dice and
        percentage.
    """
    diseased = [key for key, scan in scans.items() if scan.drawn_ml >= _LEAST_DISEASE_ML]
    values = []
    for value in RULES[rule]:
        dice = {key: scans[key].dice(rule, value) for key in diseased}
        losses = {key: scans[key].dice(rule, 0.0) - dice[key] for key in diseased}
        loser = max(losses, key=losses.__getitem__)
        healthy = [scan.percent(rule, value) for key, scan in scans.items() if key not in diseased]
        values.append(
            {
                "value": value,
                "dice": round(float(np.mean(list(dice.values()))), 5),
                "largest_loss": round(losses[loser], 5),
                "loses_most": loser,
                "healthy_percent": [round(percent, 4) for percent in healthy],
            }
        )
    chosen = left_out(scans, rule)
    cases = {
        key: {
            "value": value,
            "dice_before": round(scans[key].dice(rule, 0.0), 5),
            "dice": round(scans[key].dice(rule, value), 5),
            "percent_before": round(scans[key].percent(rule, 0.0), 4),
            "percent": round(scans[key].percent(rule, value), 4),
        }
        for key, value in chosen.items()
    }
    return {"values": values, "left_out": cases, "diseased": diseased}


def _scans_of(config: TrainingConfig, data_dir: Path, work: Path) -> dict[str, Scan]:
    """Measure the held-out scans of a run with the model that `training.k_fold` made of it."""
    store = _store(work)
    model, lungs = (
        open_slice_model(config.name, "cpu", store=store),
        open_lung_model("cpu", store),
    )
    scans = {}
    for key in split_of(config.data).validation:
        volume = load_volume(select_cases(data_dir, "bundled", [key])[0])
        prediction = PredictionFolder(work / "predictions").predict(volume.ct, model, lungs)
        drawn, voxel_ml = volume.infection == 1, volume.ct.voxel_volume_ml
        scans[key] = Scan(
            findings_of(volume.ct, prediction, drawn),
            int(drawn.sum()) * voxel_ml,
            int((prediction.lungs > 0).sum()) * voxel_ml,
        )
        _LOG.info("%s: %d findings", key, len(scans[key].findings))
    return scans


def _store(work: Path) -> WeightsStore:
    return WeightsStore(work / "models", user_model_dir())


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure every rule, write the report."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="the runs that training.k_fold scored")
    parser.add_argument("--data", type=Path, required=True, help="folder of the volume sets")
    parser.add_argument("--work", type=Path, default=WORK, help="work folder of training.k_fold")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: open")
    parser.add_argument("--json", type=Path, default=REPORT, help="where to write the report")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    configs = [load_config(RunFolder(run).config) for run in options.runs]
    scans: dict[str, Scan] = {}
    for config in configs:
        scans.update(_scans_of(config, options.data, options.work))
    names = " ".join(run.as_posix() for run in options.runs)
    models = {config.data.split: config.name for config in configs} | {"lungs": LUNG_MODEL}
    store = _store(options.work)
    report = {
        "command": f"{_COMMAND} {names}",
        "weights_sha256": {what: store.find(name).entry.sha256 for what, name in models.items()},
        "rules": {rule: rule_report(scans, rule) for rule in RULES},
    }
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    options.json.with_suffix(".md").write_text(report_text(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
