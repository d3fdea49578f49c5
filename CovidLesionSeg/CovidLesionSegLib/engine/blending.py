"""The answers of one or several networks for the same voxels, joined as they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass
class Blend:
    """Joins probabilities of the members of a consensus; see `Consensus`.

    Only running sums and extremes are kept, so memory does not grow with the members.

    Attributes:
        count: Members joined so far.
    """

    count: int = 0
    _total: torch.Tensor | None = None
    _lowest: torch.Tensor | None = None
    _highest: torch.Tensor | None = None
    _boundary: torch.Tensor | None = None
    _boundary_count: int = 0

    def add(self, infection: torch.Tensor, boundary: torch.Tensor | None) -> None:
        """Join the answer of one member.

        Args:
            infection: Probability of infection, any shape; the same for all members. Must
                not be changed afterwards.
            boundary: Probability of a lesion boundary; None from a member without the head.
        """
        import torch

        self.count += 1
        if self._total is None or self._lowest is None or self._highest is None:
            self._total = self._lowest = self._highest = infection
        else:
            self._total = self._total + infection
            self._lowest = torch.minimum(self._lowest, infection)
            self._highest = torch.maximum(self._highest, infection)
        if boundary is not None:
            self._boundary_count += 1
            self._boundary = boundary if self._boundary is None else self._boundary + boundary

    def maps(self) -> dict[str, torch.Tensor]:
        """Return the joint answer by field of `Prediction`.

        ``"infection"`` is the mean; ``"boundary"`` the mean over the members with that head,
        absent without any; ``"agreement"`` 1 minus the range, absent for a single member.
        """
        if self._total is None or self._lowest is None or self._highest is None:
            raise ValueError("no member has answered")
        maps = {"infection": self._total / self.count}
        if self._boundary is not None:
            maps["boundary"] = self._boundary / self._boundary_count
        if self.count > 1:
            maps["agreement"] = 1.0 - (self._highest - self._lowest)
        return maps
