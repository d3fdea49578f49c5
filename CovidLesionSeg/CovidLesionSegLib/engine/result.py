"""The values that flow through the pipeline and leave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np
from numpy.typing import NDArray

from .volume import CtVolume


class Lung(IntEnum):
    """Labels of `Anatomy.lungs`."""

    RIGHT = 1
    LEFT = 2


class Lobe(IntEnum):
    """Labels of `Anatomy.lobes`, with the abbreviations radiologists use."""

    RUL = 1
    RML = 2
    RLL = 3
    LUL = 4
    LLL = 5

    @property
    def lung(self) -> Lung:
        """The lung this lobe belongs to."""
        return Lung.RIGHT if self in (Lobe.RUL, Lobe.RML, Lobe.RLL) else Lung.LEFT

    @property
    def long_name(self) -> str:
        """English name, for example ``"right upper lobe"``."""
        side = "right" if self.lung is Lung.RIGHT else "left"
        level = {"U": "upper", "M": "middle", "L": "lower"}[self.name[1]]
        return f"{side} {level} lobe"


class Opacity(IntEnum):
    """Labels of `SegmentationResult.opacity`."""

    GROUND_GLASS = 1
    CONSOLIDATION = 2


class LobeSource(str, Enum):
    """Where the lobes came from; shown in the table."""

    SCENE = "scene"
    FILE = "file"
    LUNGMASK = "lungmask"
    ATLAS = "built-in atlas"
    NONE = "none"

    @property
    def is_approximate(self) -> bool:
        """Whether the table must call the lobes approximate."""
        return self is LobeSource.ATLAS


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the networks say, on the CT's grid in LPS axis order.

    Attributes:
        infection: float16 ``[z, y, x]``, probability of infection, 0 outside the searched
            region.
        boundary: float16 ``[z, y, x]``, probability of a lesion boundary; None for a model
            without a boundary head.
        agreement: float16 ``[z, y, x]``, 1 where all models of a consensus agree; None for a
            single model.
    """

    infection: NDArray[np.float16]
    boundary: NDArray[np.float16] | None = None
    agreement: NDArray[np.float16] | None = None


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Lungs and lobes on the CT's grid in LPS axis order.

    Attributes:
        lungs: uint8 ``[z, y, x]`` with the labels of `Lung`.
        lobes: uint8 ``[z, y, x]`` with the labels of `Lobe`; None when there are none.
        lobe_source: Where the lobes came from.
        missing: Lobes that a complete set would have and this one has not.
        flags: For example ``"partial-lung"``, ``"single-lung"``.
        lobe_uncertainty_mm: Typical distance between the lobes' boundary and the true
            fissure; 0 for lobes that were given.
    """

    lungs: NDArray[np.uint8]
    lobes: NDArray[np.uint8] | None
    lobe_source: LobeSource
    missing: tuple[Lobe, ...] = ()
    flags: tuple[str, ...] = ()
    lobe_uncertainty_mm: float = 0.0


def missing_lobes(lobes: NDArray[np.uint8] | None) -> tuple[Lobe, ...]:
    """Return the lobes that a label map has no voxel of; all of them without one."""
    present = set() if lobes is None else set(np.unique(lobes).tolist())
    return tuple(lobe for lobe in Lobe if lobe not in present)


@dataclass(frozen=True)
class Lesion:
    """One 3D connected component of the infection.

    Attributes:
        id: 1 for the largest, counting up; equals its label in the component map.
        lobe: The lobe that holds most of it; None without lobes.
        lung: The lung that holds most of it.
        volume_ml: Volume.
        diameter_mm: Diameter of the sphere of the same volume.
        mean_hu: Mean intensity.
        centroid_lps_mm: Centre of gravity in LPS.
        uncertainty: 0 (certain) to 1, mean binary entropy of the probability.
        agreement: Mean agreement of the models, None for a single model.
        pleural_distance_mm: Smallest distance to the lung's surface.
        state: Review state: ``"unreviewed"``, ``"accepted"``, ``"rejected"`` or ``"edited"``.
        lesion_class: ``"ground-glass"``, ``"mixed"`` or ``"consolidation"``
            (`opacity.lesion_class`); empty in results of versions that had none.
        doubt_ml: Expected volume of the lesion that is none (`uncertainty.doubt` summed over
            its voxels); None in results of versions that had none.
    """

    id: int
    lobe: Lobe | None
    lung: Lung | None
    volume_ml: float
    diameter_mm: float
    mean_hu: float
    centroid_lps_mm: tuple[float, float, float]
    uncertainty: float
    agreement: float | None = None
    pleural_distance_mm: float | None = None
    state: str = "unreviewed"
    lesion_class: str = ""
    doubt_ml: float | None = None


@dataclass(frozen=True)
class Measure:
    """One number with its unit and interval, or the reason why there is none.

    Attributes:
        value: The number; None when it can't be computed, never 0 instead.
        unit: ``"ml"``, ``"%"``, ``"HU"``, ``"score"`` or ``"count"``.
        low, high: Interval, None where none is defined.
        reason: Why `value` is None; empty otherwise.
    """

    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class RegionRow:
    """The numbers of one lobe, one lung or the total.

    Attributes:
        region: Stable key: a `Lobe` name, ``"right-lung"``, ``"left-lung"`` or ``"total"``.
        label: Text for a person.
        measures: By stable name with the unit in it, for example ``"infected_percent"``.
        flags: What to know before trusting the row.
    """

    region: str
    label: str
    measures: Mapping[str, Measure]
    flags: tuple[str, ...] = ()


def _definitions_now() -> str:
    # Not at file scope: what the definitions are made of imports this file.
    from .definitions import DEFINITIONS_VERSION

    return DEFINITIONS_VERSION


@dataclass(frozen=True)
class Quantification:
    """One tidy row per lobe, lung and total, and the scores of the whole patient.

    Attributes:
        rows: Five lobes (present or absent with a reason), two lungs, total.
        scores: Whole-patient scores by stable name.
        conventions: For every score and measure that needs one, the definition used.
        definitions: Version of the definitions by which all numbers were counted; those of an
            older result are not the current ones.
    """

    rows: tuple[RegionRow, ...]
    scores: Mapping[str, Measure] = field(default_factory=dict)
    conventions: Mapping[str, str] = field(default_factory=dict)
    definitions: str = field(default_factory=_definitions_now)

    def row(self, region: str) -> RegionRow:
        """Return the row of a region key; KeyError when there is none."""
        for row in self.rows:
            if row.region == region:
                return row
        raise KeyError(region)


@dataclass(frozen=True)
class RunInfo:
    """How a result was made.

    Attributes:
        model_id: Catalogue id of the model.
        weights_sha256: Digest of every weight file used, by model id.
        device: For example ``"cpu"`` or ``"cuda:0"``.
        threshold: Probability at which a voxel counts as infected.
        seed: Seed of everything random.
        versions: CovidLesionSeg, torch, numpy, SimpleITK.
        timings_s: Seconds by stage.
    """

    model_id: str
    weights_sha256: Mapping[str, str]
    device: str
    threshold: float
    seed: int
    versions: Mapping[str, str]
    timings_s: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """Everything one run found out about one CT.

    Attributes:
        ct: The CT.
        prediction: Maps of the networks.
        infection: uint8 ``[z, y, x]``, 1 where infected, after the 3D step.
        anatomy: Lungs and lobes.
        lesions: Connected components of `infection`, largest first.
        quantification: The table.
        run: How it was made.
        warnings: Sentences the user must see.
        opacity: uint8 ``[z, y, x]`` with the labels of `Opacity` inside `infection`; None
            when ground-glass and consolidation were not told apart.
        opacity_source: What told them apart, if not the border in HU.
    """

    ct: CtVolume
    prediction: Prediction
    infection: NDArray[np.uint8]
    anatomy: Anatomy
    lesions: tuple[Lesion, ...]
    quantification: Quantification
    run: RunInfo
    warnings: tuple[str, ...] = ()
    opacity: NDArray[np.uint8] | None = None
    opacity_source: str = ""

    @property
    def layers(self) -> dict[str, NDArray[np.uint8] | None]:
        """The label maps by name; segments of one layer never overlap."""
        return {
            "infection": self.infection,
            "opacity": self.opacity,
            "lungs": self.anatomy.lungs,
            "lobes": self.anatomy.lobes,
        }
