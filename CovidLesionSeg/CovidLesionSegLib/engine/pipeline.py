"""The whole job: a CT in, a result out."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.version import __version__

from .devices import check_device_name, resolve_device, use_all_cores
from .flags import warnings_for
from .inference import predict_lungs
from .lesions import find_lesions
from .lobes import find_lobes
from .lobes_file import check_lobes_file
from .lobes_lungmask import LUNGMASK, require_lungmask
from .lungs import segment_lungs
from .lungs_infection import predict_with_lungs
from .memory import memory_told
from .models import DEFAULT_MODEL, open_infection_model, open_lung_model
from .opacity import split_opacity
from .postprocess import MINIMUM_LESION_ML, find_infection
from .progress import Reporter
from .quantify import quantify
from .readers import read_ct
from .result import RunInfo, SegmentationResult
from .slice_model import InfectionModel, SliceModel
from .tissue_model import TissueModel
from .volume import CtVolume

THRESHOLD_RANGE = (0.01, 0.99)
"""Beyond it a probability in half precision says nothing."""


@dataclass(frozen=True)
class SegmentOptions:
    """What a user can choose; the defaults need no thought.

    Attributes:
        model: Id of a model in the catalogue, ids of several joined by ``+``, or
            ``"consensus"`` for all installed ones for infection in volumes together.
        weights: A weight file to use instead of the catalogue's.
        device: ``"auto"``, ``"cpu"``, ``"cuda:N"`` or ``"mps"``.
        lobes: A file with lobes, or ``"lungmask"`` to run that program, which must be
            installed; None for the built-in atlas.
        threshold: Probability at which a voxel counts as infected, 0..1; None takes the
            model's calibrated one, for several models the mean of theirs.
        seed: Seed of everything random; the networks themselves use none.
    """

    model: str = DEFAULT_MODEL
    weights: Path | None = None
    device: str = "auto"
    lobes: Path | str | None = None
    threshold: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_device_name(self.device)
        low, high = THRESHOLD_RANGE
        if self.threshold is not None and not low <= self.threshold <= high:
            raise InputError(
                "threshold-out-of-range",
                f"The threshold must lie between {low:g} and {high:g}, not at {self.threshold:g}.",
                "Leave it out to use the model's own.",
            )
        # Paths may come as text, from a notebook as from a job.
        for name, code in (("weights", "weights-unreadable"), ("lobes", "lobes-not-readable")):
            path = getattr(self, name)
            if path is None:
                continue
            if name == "lobes" and str(path) == LUNGMASK:
                require_lungmask()
                object.__setattr__(self, name, LUNGMASK)
                continue
            object.__setattr__(self, name, Path(path))
            if not Path(path).exists():
                raise InputError(code, f"There is no file {path} with {name}.", "Check the path.")


@dataclass(frozen=True, eq=False)
class Networks:
    """The networks of a run, opened.

    Attributes:
        infection: Finds the infection.
        lungs: Finds the lungs.
    """

    infection: InfectionModel | TissueModel
    lungs: SliceModel


def open_networks(options: SegmentOptions) -> Networks:
    """Open the networks that `segment` needs, to use them for many CTs.

    Args:
        options: Says which, and on what device.

    Raises:
        InputError: A model or the device is not there.
        CovidLesionSegError: A weight file is missing or damaged.
    """
    device = resolve_device(options.device)
    use_all_cores()
    return Networks(
        open_infection_model(options.model, options.weights, device), open_lung_model(device)
    )


def segment(
    source: str | Path | CtVolume,
    options: SegmentOptions | None = None,
    *,
    reporter: Reporter | None = None,
    networks: Networks | None = None,
    **choices: Any,
) -> SegmentationResult:
    """Segment the infection in a chest CT and measure it.

    Args:
        source: A NIfTI, NRRD or MetaImage file, a DICOM folder, or a CT already read.
        options: What to use; or give the fields of `SegmentOptions` by name.
        reporter: Follows the progress and can cancel.
        networks: What `open_networks` has opened with the same options; opened anew by default.
        **choices: Fields of `SegmentOptions`, for example ``device="cuda:0"``.

    Raises:
        InputError: The input or an option can't be used.
        CovidLesionSegError: The run failed; ``too-little-memory`` if that was the reason.
        CancelledError: The reporter was told to stop.

    Example:
        >>> from CovidLesionSegLib import segment
        >>> result = segment("ct.nii.gz")
        >>> result.quantification.row("total").measures["infected_percent"].value
    """
    options = replace(options or SegmentOptions(), **choices)
    reporter = reporter or Reporter()
    with memory_told():
        with reporter.stage("read"):
            if isinstance(options.lobes, Path):
                check_lobes_file(options.lobes)
            ct, opened = _read_and_open(source, networks, options)
        return _run(ct, opened, options, reporter)


def _read_and_open(
    source: str | Path | CtVolume, networks: Networks | None, options: SegmentOptions
) -> tuple[CtVolume, Networks]:
    """Read the CT, and meanwhile load torch and open the networks where that is to be done."""
    if isinstance(source, CtVolume):
        return source, networks or open_networks(options)
    if networks is not None:
        return read_ct(source), networks
    opening: list[Future[Networks]] = []
    with ThreadPoolExecutor(1, "networks") as background:
        # Not before the header has passed: most wrong files are refused without torch.
        ct = read_ct(
            source, accepted=lambda: opening.append(background.submit(open_networks, options))
        )
        opened = opening[0].result()
    use_all_cores()  # torch counts threads for each thread that asks
    return ct, opened


def _run(
    ct: CtVolume,
    networks: Networks,
    options: SegmentOptions,
    reporter: Reporter,
) -> SegmentationResult:
    model, lung_model = networks.infection, networks.lungs
    threshold = model.threshold if options.threshold is None else options.threshold
    with reporter.stage("lungs"):
        lungs = segment_lungs(ct, lambda: predict_lungs(ct, lung_model, reporter))
    with reporter.stage("lobes"):
        anatomy = find_lobes(ct, lungs, options.lobes)
    with reporter.stage("infection"):
        prediction, anatomy = predict_with_lungs(ct, anatomy, model, reporter)
        findings = find_infection(ct, prediction.infection, anatomy.lungs, threshold)
        infection = findings.mask
        anatomy = replace(anatomy, flags=(*anatomy.flags, *findings.flags, *model.flags))
    with reporter.stage("lesions"):
        lesions, _ = find_lesions(infection, prediction, ct, anatomy, MINIMUM_LESION_ML)
    with reporter.stage("numbers"):
        quantification = quantify(ct, infection, anatomy, prediction, lesions)
    run = RunInfo(
        model_id=model.id,
        weights_sha256={**model.weights_sha256, **lung_model.weights_sha256},
        device=model.device,
        threshold=threshold,
        seed=options.seed,
        versions=_versions(),
        timings_s=reporter.timings_s,
    )
    return SegmentationResult(
        ct=ct,
        prediction=prediction,
        infection=infection,
        anatomy=anatomy,
        lesions=lesions,
        quantification=quantification,
        run=run,
        warnings=warnings_for((*ct.flags, *anatomy.flags)),
        opacity=split_opacity(ct.hu, infection),
    )


def _versions() -> dict[str, str]:
    import platform

    import scipy
    import SimpleITK
    import torch

    return {
        "CovidLesionSeg": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "SimpleITK": SimpleITK.Version.VersionString(),
    }
