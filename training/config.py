"""Everything a training run is, as frozen values that live in one JSON file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.nets.config import ModelConfig

from .config_checks import check_least, check_share, check_types, invalid
from .semiseg.options import SemisegConfig

TASKS = ("infection", "lungs", "severity", "relation", "semiseg")
OPTIMISERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "intended", "released")


@dataclass(frozen=True)
class DataConfig:
    """What is trained on.

    Attributes:
        sources: Folders of the data directory.
        split: Name of a split in the split file.
        split_file: Split file of other data; empty for the committed `splits/volumes.json`.
        foreground_share: Share of drawn slices that show the target at all.
        crop_size: Height and width of the training crops in pixels; a multiple of 32.
        batch_size: Crops per step and process.
        ignore_infection_beyond_lungs: Whether pixels that the expert calls infected but not lung
            count as unlabelled in the task ``"lungs"``; otherwise they are background.
    """

    sources: tuple[str, ...] = ("coronacases", "medseg_p9")
    split: str = "bundled"
    split_file: str = ""
    foreground_share: float = 0.6
    crop_size: int = 224
    batch_size: int = 8
    ignore_infection_beyond_lungs: bool = False

    def __post_init__(self) -> None:
        check_share(self, "foreground_share")
        check_least(self, 1, "batch_size", "crop_size")
        if self.crop_size % 32:
            raise invalid(f"crop_size is {self.crop_size}, and no multiple of 32")


@dataclass(frozen=True)
class AugmentationConfig:
    """How far training slices depart from the scans they come from.

    Ranges are uniform unless said otherwise; probabilities are per sample.

    Attributes:
        scale: Range of the in-plane magnification, log-uniform.
        rotation_degrees: Largest rotation to either side.
        shift_pixels: Largest shift of the crop's centre from the slice's centre.
        flip_x: Probability of a left-right flip; lung classes change sides with it.
        flip_y: Probability of an anterior-posterior flip (prone patients).
        context_max_mm: Largest distance of the neighbouring slices.
        context_none: Probability that all three channels show the same slice.
        slab: Probability of averaging thin slices to a thick one.
        slab_max_mm: Largest thickness of that slab.
        offset_hu: Standard deviation of a shift of all HU.
        contrast: Range of the factor on HU + 1000.
        gamma: Largest absolute log of the exponent on the windowed value.
        noise_hu: Largest standard deviation of added noise.
        filter: Probability each of a softer and of a sharper reconstruction kernel.
        requantise: Probability of a coarser quantisation, as in scans kept as 8-bit images.
        clip: Probability of clipping to another display window.
        rewindow: Probability of stretching another display window to the full range, as in
            pictures whose window nobody has noted.
        consolidation: Probability of filling parts of the lungs with tissue, for the task
            ``"lungs"`` (`training.consolidation`).
        own_stream: Whether slices are augmented by random numbers of their own. Without it, as
            the bundled weights were trained, the numbers that chose a step's slices are used once
            more, so that mirroring goes with what a slice shows. Switch it on for new trainings.
    """

    scale: tuple[float, float] = (0.75, 1.35)
    rotation_degrees: float = 20.0
    shift_pixels: int = 40
    flip_x: float = 0.5
    flip_y: float = 0.1
    context_max_mm: float = 6.0
    context_none: float = 0.1
    slab: float = 0.25
    slab_max_mm: float = 7.0
    offset_hu: float = 20.0
    contrast: tuple[float, float] = (0.92, 1.08)
    gamma: float = 0.2
    noise_hu: float = 45.0
    filter: float = 0.2
    requantise: float = 0.3
    clip: float = 0.3
    rewindow: float = 0.0
    consolidation: float = 0.0
    own_stream: bool = False

    def __post_init__(self) -> None:
        check_share(self, "flip_x", "flip_y", "context_none", "slab", "filter", "requantise")
        check_share(self, "clip", "rewindow", "consolidation")
        if not 0.0 < self.scale[0] <= self.scale[-1]:
            raise invalid(f"scale is {self.scale!r}, and no range")


@dataclass(frozen=True)
class OptimisationConfig:
    """How the weights are fitted.

    Attributes:
        steps: Optimiser steps of the whole run.
        learning_rate: Peak rate of the newly initialised parts.
        encoder_rate_factor: The pretrained encoder's rate relative to it.
        weight_decay: Decoupled weight decay of convolution kernels.
        warmup_steps: Linear warm-up.
        hold_share: Share of the steps before the cosine decay to zero begins.
        ema_decay: Decay of the moving average of the weights, which is what is shipped.
        max_gradient_norm: Gradients are scaled down to this norm.
        max_gradient_value: If not 0, every element is clamped to this instead, as published
            for Inf-Net.
        checkpoint_seconds: Time between resumable checkpoints.
        validate_every: Steps between validations.
        seed: Seed of everything random.
        precision: Lightning Fabric's name, for example ``"32-true"`` or ``"bf16-mixed"``.
        optimiser: ``"adamw"``, ``"adam"`` or ``"sgd"``.
        momentum: Of ``"sgd"``.
        schedule: ``"cosine"`` after warm-up and plateau; ``"intended"``, a tenth of the rate
            from epoch 50 on; ``"released"``, a further tenth every epoch from 50 on, which is
            what the published Inf-Net trainer does.
        epoch_steps: Optimiser steps of an epoch, for the two schedules that count epochs.
    """

    steps: int = 3000
    learning_rate: float = 1e-3
    encoder_rate_factor: float = 0.3
    weight_decay: float = 0.02
    warmup_steps: int = 100
    hold_share: float = 0.3
    ema_decay: float = 0.998
    max_gradient_norm: float = 2.0
    checkpoint_seconds: float = 180.0
    validate_every: int = 300
    seed: int = 7
    precision: str = "32-true"
    max_gradient_value: float = 0.0
    optimiser: str = "adamw"
    momentum: float = 0.0
    schedule: str = "cosine"
    epoch_steps: int = 0

    def __post_init__(self) -> None:
        check_least(self, 1, "steps", "validate_every")
        check_least(self, 0, "warmup_steps", "learning_rate", "checkpoint_seconds", "seed")
        check_share(self, "hold_share", "ema_decay")
        if self.optimiser not in OPTIMISERS or self.schedule not in SCHEDULES:
            raise invalid(f"optimiser {self.optimiser!r} with schedule {self.schedule!r}")
        if self.schedule != "cosine" and self.epoch_steps < 1:
            raise invalid(f"the schedule {self.schedule!r} needs epoch_steps")


PSEUDO_RULES = ("threshold", "ranked")
SEVERITY_INPUTS = ("lobe", "tissue")


@dataclass(frozen=True)
class SeverityConfig:
    """Weak training of dRAM from one severity score per lobe.

    Attributes:
        size_zyx: Every lobe is resized to this grid; multiples of 8, at least 16.
        inputs: ``"lobe"``, the windowed CT as published, with the published losses; or
            ``"tissue"`` (ours), the channels of `CovidLesionSegLib.engine.tissue` for a voxelwise
            network, with `share_interval_loss` and `indecision` alone, without candidates.
        window_hu: Lower and upper end of the linear window.
        margin_mm: Border around the lobe's bounding box.
        candidates_only: Whether the regressed mean counts candidate voxels only, and the others
            are known negatives (ours), see `candidate_logits`; the published code counts all.
        pseudo_rule: ``"threshold"`` as published, or ``"ranked"`` (ours), see
            `ranked_pseudo_labels`.
        regression_weight: Weight of the interval regression.
        pseudo_weight: Weight of the pseudo labels, which train the attention.
        pseudo_ramp_steps: Steps over which that weight grows; before the dense map means
            anything, so do its pseudo labels not.
        crf_weight: Weight of the dense CRF on the dense map, the regulariser of the paper's
            version 1; 0 leaves it out, as version 2 does.
        offset_hu: Standard deviation of a shift of all HU.
        noise_hu: Largest standard deviation of added noise.
        blocks_per_lobe: For the input ``"tissue"``, as what follows: blocks of every lobe in a
            step.
        expiration: Standard deviation of the logarithm of a factor on all densities, which
            leaves the relative channels as they are.
        share_margin: See `share_interval_loss`.
        candidate_odds: How many times more likely than the map says a lesion is where tissue is
            dense, and how many times less likely where it is not. The published code,
            and the input ``"lobe"``, cut the map to dense tissue instead.
        indecision_weight: Weight of `indecision`; it grows over ``pseudo_ramp_steps``.
    """

    size_zyx: tuple[int, int, int] = (80, 80, 80)
    inputs: str = "lobe"
    window_hu: tuple[float, float] = (-1000.0, -300.0)
    margin_mm: float = 5.0
    candidates_only: bool = False
    pseudo_rule: str = "threshold"
    regression_weight: float = 2.0
    pseudo_weight: float = 1.0
    pseudo_ramp_steps: int = 200
    crf_weight: float = 0.0
    offset_hu: float = 15.0
    noise_hu: float = 25.0
    blocks_per_lobe: int = 400
    expiration: float = 0.05
    share_margin: float = 0.03
    candidate_odds: float = 9.0
    indecision_weight: float = 0.05

    def __post_init__(self) -> None:
        if self.inputs not in SEVERITY_INPUTS:
            raise invalid(f"the input {self.inputs!r} is none of {', '.join(SEVERITY_INPUTS)}")
        if self.pseudo_rule not in PSEUDO_RULES:
            raise invalid(
                f"the pseudo rule {self.pseudo_rule!r} is none of {', '.join(PSEUDO_RULES)}"
            )


RELATIONS = ("none", "sample", "voxel")


@dataclass(frozen=True)
class RelationConfig:
    """Collaborative training with lesions of other sources.

    Attributes:
        general_sources: Folders of the data directory whose lesions teach the general
            encoder, except for the cases that the split names; the cases that the split
            trains on are the target.
        general_batch_size: Crops of them per step and process; 0 for as many as of the target.
        general_steps: Steps at the start of the run that train the general stream alone.
        relation: ``"sample"`` or ``"voxel"`` relations, or ``"none"``.
        weight: Weight of the relation loss at the end of its ramp.
        ramp_steps: Length of the ramp, counted from the end of the general steps.
    """

    general_sources: tuple[str, ...] = ()
    general_batch_size: int = 0
    general_steps: int = 0
    relation: str = "sample"
    weight: float = 0.5
    ramp_steps: int = 100

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise invalid(f"the relation {self.relation!r} is none of {', '.join(RELATIONS)}")


@dataclass(frozen=True)
class TrainingConfig:
    """One run: task, network, preprocessing, data, augmentation and optimisation.

    Attributes:
        name: Identifier of the model in the catalogue.
        task: ``"infection"`` or ``"lungs"`` on slices, ``"severity"`` for dRAM,
            ``"relation"`` for collaborative training, ``"semiseg"`` on COVID-SemiSeg.
        model: The network.
        recipe: The preprocessing that the weights will be shipped with.
        card: What people must know, for the catalogue: ``licence``, ``training_data``,
            ``citation``, ``intended_use`` and ``not_for``.
        severity: Only for the task of this name.
        relation: Only for the task of this name.
        semiseg: Only for the task of this name.
    """

    name: str
    task: str
    model: ModelConfig
    recipe: SliceRecipe = field(default_factory=SliceRecipe)
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    card: Mapping[str, str] = field(default_factory=dict)
    severity: SeverityConfig | None = None
    relation: RelationConfig | None = None
    semiseg: SemisegConfig | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise invalid(f"the task {self.task!r} is none of {', '.join(TASKS)}")
        for name in ("severity", "relation", "semiseg"):
            if (getattr(self, name) is not None) != (self.task == name):
                raise invalid(f"the section {name!r} and the task of this name go together")

    @property
    def command(self) -> str:
        """The command that trains from this configuration.

        The single slices of COVID-SemiSeg have neither window nor pixel size as they are
        packaged; a class stage that states a recipe learns from what
        `training.lesion_classes.slices` makes of them.
        """
        if self.semiseg is None:
            return "python -m training.train"
        if self.model.family == "density-classes":
            return "python -m training.lesion_classes.head"
        if self.semiseg.stage == "classes" and self.recipe != SliceRecipe():
            return "python -m training.lesion_classes.train"
        return "python -m training.semiseg.train"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Read `to_dict`'s mapping; absent entries take their defaults.

        Raises:
            InputError: ``training-config-invalid`` for unknown or missing entries.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        absent = sorted({"name", "task", "model"} - set(values))
        if unknown or absent:
            raise invalid(f"unknown entries {unknown}, missing entries {absent}")
        return cls(
            name=values["name"],
            task=values["task"],
            model=ModelConfig.from_dict(values["model"]),
            recipe=SliceRecipe.from_dict(values.get("recipe", {})),
            data=_section(DataConfig, values.get("data", {})),
            augmentation=_section(AugmentationConfig, values.get("augmentation", {})),
            optimisation=_section(OptimisationConfig, values.get("optimisation", {})),
            card=dict(values.get("card", {})),
            severity=_optional(SeverityConfig, values.get("severity")),
            relation=_optional(RelationConfig, values.get("relation")),
            semiseg=_optional(SemisegConfig, values.get("semiseg")),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, every default written out."""
        extra = {"severity": self.severity, "relation": self.relation, "semiseg": self.semiseg}
        return {
            "name": self.name,
            "task": self.task,
            "model": self.model.to_dict(),
            "recipe": self.recipe.to_dict(),
            "data": _plain(self.data),
            "augmentation": _plain(self.augmentation),
            "optimisation": _plain(self.optimisation),
            "card": dict(self.card),
            **{name: _plain(section) for name, section in extra.items() if section is not None},
        }


AnySection = (
    DataConfig
    | AugmentationConfig
    | OptimisationConfig
    | SeverityConfig
    | RelationConfig
    | SemisegConfig
)
Section = TypeVar("Section", bound=AnySection)


def load_config(path: Path) -> TrainingConfig:
    """Read a config file.

    Raises:
        InputError: ``training-config-invalid``.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise invalid(str(error)) from error
    return TrainingConfig.from_dict(values)


def _section(kind: type[Section], values: Mapping[str, Any]) -> Section:
    check_types(kind, values)
    frozen: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return kind(**frozen)


def _optional(kind: type[Section], values: Mapping[str, Any] | None) -> Section | None:
    return None if values is None else _section(kind, values)


def _plain(section: AnySection) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(section)))
    return values
