"""What a user gets of a labelled CT, kept on disk: several measurements share one prediction."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.inference import predict_infection, predict_lungs
from CovidLesionSegLib.engine.lobes import find_lobes
from CovidLesionSegLib.engine.lungs import segment_lungs
from CovidLesionSegLib.engine.lungs_infection import predict_with_lungs
from CovidLesionSegLib.engine.postprocess import find_infection, infection_mask
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.result import Anatomy, LobeSource
from CovidLesionSegLib.engine.slice_model import InfectionModel, SliceModel
from CovidLesionSegLib.engine.tissue_model import TissueModel
from CovidLesionSegLib.engine.volume import CtVolume

from .metrics import Mask


@dataclass(frozen=True, eq=False)
class CasePrediction:
    """The engine's answer for one CT, on its grid.

    Attributes:
        probability: float16 ``[z, y, x]`` of infection, 0 outside the lungs.
        lungs: uint8 ``[z, y, x]``, labels of `Lung`, widened by the infection beside them.
        threshold: Probability from which the model calls infection.
        voxel_volume_ml: Volume of a voxel.
    """

    probability: NDArray[np.float16]
    lungs: NDArray[np.uint8]
    threshold: float
    voxel_volume_ml: float

    def mask(self, ct: CtVolume) -> Mask:
        """Return what a user sees: bool ``[z, y, x]`` after the 3D step."""
        return find_infection(ct, self.probability, self.lungs, self.threshold).mask > 0

    def candidates(self) -> Mask:
        """Return the same before findings hardly denser than the lung around are left out."""
        found = infection_mask(self.probability, self.lungs, self.threshold, self.voxel_volume_ml)
        return found > 0


def predict_case(
    ct: CtVolume, model: InfectionModel | TissueModel, lung_model: SliceModel
) -> CasePrediction:
    """Run lungs and infection of a CT as the pipeline does."""
    reporter = Reporter()
    lungs = segment_lungs(ct, predict_lungs(ct, lung_model, reporter))
    anatomy = Anatomy(lungs.labels, None, LobeSource.NONE)
    if isinstance(model, TissueModel):  # the only one that lobes say something to
        anatomy = find_lobes(ct, lungs, None)
    prediction, anatomy = predict_with_lungs(ct, anatomy, model, reporter)
    return CasePrediction(prediction.infection, anatomy.lungs, model.threshold, ct.voxel_volume_ml)


def predict_bare(ct: CtVolume, model: InfectionModel) -> Mask:
    """Return where the network alone, over whole slices, exceeds its threshold."""
    everywhere = np.ones(ct.shape_zyx, dtype=np.uint8)
    probability = predict_infection(ct, everywhere, model, Reporter()).infection
    bare: Mask = probability >= model.threshold
    return bare


class PredictionFolder:
    """Predictions on disk, one file per CT, models and their weights.

    A kept prediction is used again while CT and weight files are the same. It knows nothing of
    the engine's code: empty the folder after changing that.

    Args:
        path: The folder; made if absent. None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def predict(
        self, ct: CtVolume, model: InfectionModel | TissueModel, lung_model: SliceModel
    ) -> CasePrediction:
        """Return the kept prediction of a CT, or make and keep it."""
        if self._path is None:
            return predict_case(ct, model, lung_model)
        file = self._path / f"{_key(ct, model, lung_model)}.npz"
        if not file.exists():
            made = predict_case(ct, model, lung_model)
            self._path.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial.npz")
            np.savez_compressed(partial, probability=made.probability, lungs=made.lungs)
            partial.replace(file)
        with np.load(file) as kept:
            return CasePrediction(
                kept["probability"], kept["lungs"], model.threshold, ct.voxel_volume_ml
            )


def _key(ct: CtVolume, model: InfectionModel | TissueModel, lung_model: SliceModel) -> str:
    sha = hashlib.sha256(np.ascontiguousarray(ct.hu).tobytes())
    digests = {**model.weights_sha256, **lung_model.weights_sha256}
    sha.update(json.dumps([digests, ct.spacing_mm_zyx], sort_keys=True).encode())
    return f"{ct.provenance.name}-{model.id}-{sha.hexdigest()[:16]}"
