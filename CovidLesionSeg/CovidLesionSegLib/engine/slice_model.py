"""2D networks ready to run: one alone, or several as a consensus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .windowing import SliceRecipe

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class SliceModel:
    """A 2D network ready to run.

    Attributes:
        id: Catalogue id.
        module: Network in evaluation mode, returning a `ModelOutput` of logits.
        recipe: Its preprocessing.
        device: Where it runs.
        temperature: Logits are divided by it.
        threshold: Calibrated probability threshold.
        sha256: Digest of the weight file.
        shows_boundary: Whether its boundary output is a map to show.
        flags: What a reader of its results must know, see `flags`.
    """

    id: str
    module: torch.nn.Module
    recipe: SliceRecipe
    device: str
    temperature: float
    threshold: float
    sha256: str
    shows_boundary: bool = True
    flags: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[SliceModel, ...]:
        """The networks that answer: this one."""
        return (self,)

    @property
    def weights_sha256(self) -> Mapping[str, str]:
        """Digest of the weight file by model id."""
        return {self.id: self.sha256}


@dataclass(frozen=True, eq=False)
class Consensus:
    """Several 2D networks that answer together.

    The probability of infection is the mean of the members' calibrated probabilities; the
    boundary is the mean over the members whose boundary head is one to show. The agreement of
    a voxel is 1 minus the difference between the largest and the smallest probability that a
    member gives it: 1 when all say the same, 0 when one is certain of what another excludes.
    The range, and not the standard deviation, because it needs no normalisation by the number
    of members and bounds the doubt: neither the mean's own doubt nor the range ever exceeds
    the doubt of the least convinced member (see `uncertainty.doubt`).

    Attributes:
        id: ``"consensus"``, or the members' ids joined by ``+``.
        members: Two or more networks on one device; their recipes may differ.
    """

    id: str
    members: tuple[SliceModel, ...]

    @property
    def device(self) -> str:
        """Where the members run."""
        return self.members[0].device

    @property
    def threshold(self) -> float:
        """Mean of the members' calibrated thresholds.

        Each member's threshold is where its calibrated probability separates best; the mean
        probability of members that all stand exactly at theirs is this value.
        """
        return round(sum(model.threshold for model in self.members) / len(self.members), 4)

    @property
    def weights_sha256(self) -> Mapping[str, str]:
        """Digest of every weight file by model id."""
        return {model.id: model.sha256 for model in self.members}

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader must know of any member."""
        return tuple(dict.fromkeys(flag for model in self.members for flag in model.flags))


InfectionModel: TypeAlias = SliceModel | Consensus
"""What `predict_infection` runs."""
