"""dRAM on whole CTs: ``python -m training.severity_volumes evaluate|pseudo RUN --data DIR ...``.

``evaluate`` compares the maps of a run with the expert's masks of its validation cases and with
what the tissue's density alone would find. ``pseudo`` writes the training cases with the maps in
place of the expert's masks: the data of the final segmentation network, which is an ordinary
slice model (version 1 of the paper).
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from CovidLesionSegLib.engine.postprocess import find_infection
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.severity import lobe_involvement_score
from CovidLesionSegLib.engine.tissue_model import TissueModel, predict_tissue
from CovidLesionSegLib.engine.windowing import SliceRecipe, slice_stack
from CovidLesionSegLib.engine.writers import write_map
from CovidLesionSegLib.nets.losses.dram import COVID_INTERVALS

from .command_line import command
from .config import TrainingConfig, load_config
from .data.lobes import LobeCase, lobe_labels
from .data.store import wanted_volumes
from .data.volumes import LabelledVolume, VolumeFiles, load_volume
from .evaluate import patients_by_case
from .export_weights import load_average
from .lessons import open_severity
from .metrics import Mask
from .prediction import predict_stack
from .run_folder import RunFolder, sha256_of
from .severity import case_probability
from .severity_text import COMMAND, LEAST_INFECTED_ML, report_table
from .splits import split_of
from .volume_evaluation import summarise

_LOG = logging.getLogger("training")


def paste(
    maps: NDArray[np.float32], case: LobeCase, labels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Bring the maps of a case's lobes back onto the CT's grid.

    Args:
        maps: float32 ``[lobe, z, y, x]`` on the grid of the lobes.
        case: Where they were cut out.
        labels: uint8 lobes on the CT's grid.

    Returns:
        float32 on the CT's grid, 0 outside the lobes.
    """
    pasted = np.zeros(labels.shape, dtype=np.float32)
    for lobe, box, values in zip(case.lobes, case.boxes, maps, strict=True):
        inside = labels[box] == lobe
        tensor = torch.from_numpy(np.ascontiguousarray(values))[None, None]
        resized = F.interpolate(tensor, size=inside.shape, mode="trilinear")[0, 0].numpy()
        pasted[box][inside] = resized[inside]
    return pasted


def dense_tissue(case: LobeCase, labels: NDArray[np.uint8]) -> Mask:
    """Return the candidates of every lobe on the CT's grid.

    They come from the lobes' grid, which has averaged noise and thin vessels away. On the CT's
    own grid these would leave holes and specks that nobody draws.
    """
    return paste(case.candidates.astype(np.float32), case, labels) >= 0.5


def final_mask(
    model: nn.Module, recipe: SliceRecipe, volume: LabelledVolume, labels: NDArray[np.uint8]
) -> Mask:
    """Return what the final segmentation network finds in the lobes, at 0.5 and uncalibrated.

    Choosing a threshold takes expert masks, which weak supervision does not have.
    """
    ct, device = volume.ct, torch.device("cpu")
    stack = slice_stack(ct.hu, ct.spacing_mm_zyx, recipe)
    indices = np.flatnonzero((labels > 0).any(axis=(1, 2)))
    logits = predict_stack(model, stack, ct.spacing_mm_zyx[0], recipe, device, indices)
    found = np.zeros(labels.shape, dtype=bool)
    for index, plane in zip(indices, logits, strict=True):
        resized = F.interpolate(
            torch.from_numpy(plane)[None], size=labels.shape[1:], mode="bilinear"
        )
        found[index] = (resized[0, 0].numpy() > 0.0) & (labels[index] > 0)
    return found


def case_scores(
    masks: Mapping[str, Mask], volume: LabelledVolume, case: LobeCase, labels: NDArray[np.uint8]
) -> dict[str, dict[str, float]]:
    """Return IoU, Dice and agreement of the severity scores, by what made the mask."""
    truth, voxel_ml = volume.infection == 1, volume.ct.voxel_volume_ml
    diseased = int(truth.sum()) * voxel_ml >= LEAST_INFECTED_ML
    result = {}
    for name, mask in masks.items():
        both, either = int((mask & truth).sum()), int((mask | truth).sum())
        iou = both / either if diseased else math.nan
        found = [
            lobe_involvement_score(100.0 * float(mask[labels == lobe].mean()))
            for lobe in case.lobes
        ]
        result[name] = {
            "iou": iou,
            "dice": 2.0 * iou / (1.0 + iou),
            "infected_ml": int(mask.sum()) * voxel_ml,
            "expert_ml": int(truth.sum()) * voxel_ml,
            "same_scores": float(np.mean(np.equal(found, case.scores))),
            "score_error": float(np.mean(np.abs(np.subtract(found, case.scores)))),
        }
    return result


def evaluate(
    run: RunFolder, data_dir: Path, cache_dir: Path, final: RunFolder | None = None
) -> dict[str, Any]:
    """Score the averaged network of a run on its validation cases.

    Args:
        run: A run of the task ``"severity"``.
        data_dir: Folder with the volume sets.
        cache_dir: Folder of the prepared lobes.
        final: A run on the pseudo labels of ``run``, on the same split.
    """
    config = load_config(run.config)
    model, step = load_average(run, config)
    runs = {run.path.name: sha256_of(run.checkpoint)}
    if final is not None:
        final_config = load_config(final.config)
        final_model, _ = load_average(final, final_config)
        runs[final.path.name] = sha256_of(final.checkpoint)
    keys = split_of(config.data).validation
    files = wanted_volumes(data_dir, config.data.sources, keys)
    cases = {}
    for entry, case in zip(files, open_severity(config, data_dir, cache_dir, keys), strict=True):
        probability, volume, labels = _mapped(model, config, entry, case, cache_dir)
        dense = dense_tissue(case, labels)
        masks = {"dram": (probability >= 0.5) & _allowed(config, dense)}
        if _sees_tissue(config):
            found = find_infection(volume.ct, probability.astype(np.float16), labels, 0.5)
            masks["findings"] = found.mask > 0
        masks["density"] = dense
        if final is not None:
            masks["final"] = final_mask(final_model, final_config.recipe, volume, labels)
        cases[entry.key] = case_scores(masks, volume, case, labels)
        _LOG.info("%s: %s", entry.key, {k: round(v["iou"], 3) for k, v in cases[entry.key].items()})
    return {
        "command": f"{COMMAND} evaluate",
        "config": config.name,
        "split": config.data.split,
        "steps": step,
        "checkpoints_sha256": runs,
        "cases": _without_nan(cases),
        "summary": summarise(cases, patients_by_case()),
    }


def _allowed(config: TrainingConfig, dense: Mask) -> Mask:
    """Return where a run's map may call a lesion; one from tissue has weighed density already."""
    return np.ones_like(dense) if _sees_tissue(config) else dense


def _sees_tissue(config: TrainingConfig) -> bool:
    return config.severity is not None and config.severity.inputs == "tissue"


def _mapped(
    model: nn.Module, config: TrainingConfig, files: VolumeFiles, case: LobeCase, cache_dir: Path
) -> tuple[NDArray[np.float32], LabelledVolume, NDArray[np.uint8]]:
    volume = load_volume(files)
    labels = lobe_labels(volume, case.digest, cache_dir)
    if _sees_tissue(config):
        lobes = np.asarray(labels)
        network = TissueModel(config.name, model, "cpu", _odds(config), 0.5, "")
        found = predict_tissue(volume.ct, lobes, lobes, network, Reporter()).infection
        return found.astype(np.float32), volume, labels
    return paste(case_probability(model, case, torch.device("cpu")), case, labels), volume, labels


def _odds(config: TrainingConfig) -> float:
    return 1.0 if config.severity is None else config.severity.candidate_odds


def _without_nan(cases: dict[str, dict[str, dict[str, float]]]) -> dict[str, Any]:
    return {
        key: {
            name: {k: None if math.isnan(v) else round(v, 5) for k, v in figures.items()}
            for name, figures in scores.items()
        }
        for key, scores in cases.items()
    }


def write_pseudo_labels(run: RunFolder, data_dir: Path, cache_dir: Path, out: Path) -> None:
    """Write every case of a run's split for the final segmentation network.

    Training cases get masks made of the run's maps and their own scores, see `within_score`.
    Validation cases keep the expert's, to watch the next run. The expert's lungs are left out.
    """
    config = load_config(run.config)
    model, _ = load_average(run, config)
    split = split_of(config.data)
    for key in (*split.training, *split.validation):
        (files,) = wanted_volumes(data_dir, config.data.sources, (key,))
        _link(files, out, with_infection=key in split.validation)
        if key in split.training:
            mask, volume = _pseudo_mask(model, config, files, data_dir, cache_dir)
            write_map(out / f"{key}_infection.nii.gz", mask, volume.ct)
            _LOG.info("%s: %.0f ml", key, int(mask.sum()) * volume.ct.voxel_volume_ml)


def _pseudo_mask(
    model: nn.Module, config: TrainingConfig, files: VolumeFiles, data_dir: Path, cache_dir: Path
) -> tuple[NDArray[np.uint8], LabelledVolume]:
    (case,) = open_severity(config, data_dir, cache_dir, (files.key,))
    probability, volume, labels = _mapped(model, config, files, case, cache_dir)
    dense = _allowed(config, dense_tissue(case, labels))
    mask = np.zeros(labels.shape, dtype=np.uint8)
    for lobe, score in zip(case.lobes, case.scores, strict=True):
        inside = labels == lobe
        mask[inside] = within_score(probability[inside], dense[inside], score)
    return mask, volume


def within_score(
    probability: NDArray[np.float32], dense: NDArray[np.bool_], score: int
) -> NDArray[np.bool_]:
    """Return the most probable dense voxels of a lobe, as many as its score allows.

    The share is what the map says, limited to the score's interval; none at score 0. See
    `ranked_pseudo_labels`.

    Args:
        probability: Of every voxel of the lobe, ``[voxel]``.
        dense: Which of them are candidates.
        score: Severity 0..5.
    """
    if score == 0:
        return np.zeros_like(dense)
    share = float(np.clip((probability * dense).mean(), *COVID_INTERVALS[score]))
    order = np.argsort(np.where(dense, -probability, np.inf), kind="stable")
    chosen = np.zeros_like(dense)
    chosen[order[: round(share * dense.size)]] = True
    return chosen & dense


def _link(files: VolumeFiles, out: Path, with_infection: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for path in (files.ct, files.infection) if with_infection else (files.ct,):
        target = out / path.name
        target.unlink(missing_ok=True)
        target.symlink_to(path.resolve())


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line; evaluate runs or write pseudo labels."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    measure = tasks.add_parser("evaluate", help="score runs on their validation cases")
    measure.add_argument("runs", type=Path, nargs="+", help="run folders, one per split")
    measure.add_argument("--final", type=Path, nargs="*", help="their final networks' runs")
    measure.add_argument("--json", type=Path, required=True, help="report; a table lies beside it")
    pseudo = tasks.add_parser("pseudo", help="write data for the final segmentation network")
    pseudo.add_argument("run", type=Path, help="run folder")
    pseudo.add_argument("--out", type=Path, required=True, help="folder of the new source")
    for task in (measure, pseudo):
        task.add_argument("--data", type=Path, required=True, help="folder with the volume sets")
        task.add_argument("--cache", type=Path, default=Path("cache"), help="prepared lobes")
    options = parser.parse_args(arguments)
    if options.task == "pseudo":
        write_pseudo_labels(RunFolder(options.run), options.data, options.cache, options.out)
        return 0
    finals = options.final or [None] * len(options.runs)
    reports = [
        evaluate(RunFolder(run), options.data, options.cache, final and RunFolder(final))
        for run, final in zip(options.runs, finals, strict=True)
    ]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
    options.json.with_suffix(".md").write_text(report_table(reports), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
