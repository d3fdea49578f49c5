"""Loading of weights that must fit a network exactly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from CovidLesionSegLib.errors import WeightsMismatchError


def load_exactly(
    model: nn.Module,
    state: Mapping[str, Tensor],
    label: str,
    never_saved: Iterable[str] = (),
    origins: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Load ``state`` into ``model``; every name and shape must agree.

    Args:
        model: The network; half-precision values are widened to its own type.
        state: Tensors under the names of the network.
        label: What the state is expected to be, for the message.
        never_saved: Regular expressions of names that may be missing.
        origins: What the file calls an entry of ``state``, for the message.

    Returns:
        The names that were allowed to be missing and are; they keep their values.

    Raises:
        WeightsMismatchError: It names missing, unexpected and wrongly shaped entries, and the
            model stays as it was.
    """
    unsaved = require_fit(model.state_dict(), state, label, never_saved, origins)
    model.load_state_dict(dict(state), strict=not unsaved)
    return unsaved


def require_fit(
    wanted: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    label: str,
    never_saved: Iterable[str] = (),
    origins: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Compare names and shapes as `load_exactly` does, without loading.

    Args:
        wanted: State dict of the network; may be without memory (device ``meta``).
        state: See `load_exactly`, as all others and the errors.
        label: See `load_exactly`.
        never_saved: See `load_exactly`.
        origins: See `load_exactly`.

    Returns:
        The names that were allowed to be missing and are.

    Raises:
        WeightsMismatchError: Names or shapes differ.
    """
    absent = sorted(wanted.keys() - state.keys())
    allowed = tuple(re.compile(pattern) for pattern in never_saved)
    unsaved = tuple(key for key in absent if any(pattern.match(key) for pattern in allowed))
    origins = origins or {}
    misshaped = [
        f"{origins.get(key, key)} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & state.keys())
        if wanted[key].shape != state[key].shape
    ]
    missing = sorted(set(absent) - set(unsaved))
    unexpected = sorted(origins.get(key, key) for key in state.keys() - wanted.keys())
    if missing or unexpected or misshaped:
        raise WeightsMismatchError(label, tuple(missing), tuple(unexpected), tuple(misshaped))
    return unsaved
