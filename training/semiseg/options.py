"""What a COVID-SemiSeg run needs to know beyond a run on volumes."""

from __future__ import annotations

from dataclasses import dataclass

from CovidLesionSegLib.errors import InputError

STAGES = ("infection", "classes")
LOSSES = ("intended", "released")
PRIORS = ("truth", "degraded")


@dataclass(frozen=True)
class SemisegConfig:
    """Training on single slices.

    Attributes:
        stage: ``"infection"``, or ``"classes"`` for ground glass and consolidation.
        fold: Fold of `training/splits/semiseg.json` that is held out; None trains on all.
        size: Height and width in pixels that every slice is resized to.
        scales: Every mini-batch makes one step at each of these scales, rounded to
            multiples of 32 pixels (Inf-Net section IV-A; .75, 1 and 1.25 as published).
        loss: ``"released"`` is the loss of the published code, ``"intended"`` that of the
            paper (for classes: with Dice beside it).
        augment: Whether slices are deformed and changed in intensity; published runs are not.
        prior: What the class stage is given as infection map in training: the expert's mask
            as published, or, every second time, one with mistakes as a network makes them.
    """

    stage: str = "infection"
    fold: int | None = None
    size: int = 352
    scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    loss: str = "intended"
    augment: bool = True
    prior: str = "degraded"

    def __post_init__(self) -> None:
        for name, known in (("stage", STAGES), ("loss", LOSSES), ("prior", PRIORS)):
            if getattr(self, name) not in known:
                raise _invalid(f"{name} {getattr(self, name)!r} is none of {', '.join(known)}")
        if self.size % 32 or not self.scales:
            raise _invalid("size must be a multiple of 32, and at least one scale is needed")


def _invalid(reason: str) -> InputError:
    return InputError(
        "training-config-invalid",
        f"The section 'semiseg' can't be used: {reason}.",
        "Compare it with the files in training/configs/semiseg.",
    )
