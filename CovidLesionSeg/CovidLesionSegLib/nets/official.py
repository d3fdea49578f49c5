"""Names and leftovers of published checkpoints, and their import."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from .config import ModelConfig
from .state import load_exactly


@dataclass(frozen=True)
class OfficialFormat:
    """How a published checkpoint names the parameters of one configuration.

    Attributes:
        name: Short name of the publication and encoder.
        config: Recipe of the network that the checkpoint fits; None for a bare encoder.
        signature: Keys that are all present in such a checkpoint and together in no other.
        renames: Pairs of a regular expression and its replacement that together turn an
            official key into ours; all are applied, one after another.
        unused: Regular expressions of entries that the published network never uses
            (for example the 1000-class layer); they are accepted and dropped.
        unused_parameters: Number of parameters in these entries.
        never_saved: Regular expressions of **our** keys that the published code failed to
            save. They may be missing, and then keep their random initial values.
    """

    name: str
    config: ModelConfig | None
    signature: tuple[str, ...]
    renames: tuple[tuple[str, str], ...]
    unused: tuple[str, ...] = ()
    unused_parameters: int = 0
    never_saved: tuple[str, ...] = ()

    def matches(self, keys: Iterable[str]) -> bool:
        """Say whether a checkpoint with these keys is of this format."""
        present = {_bare(key) for key in keys}
        return present.issuperset(self.signature)

    def our_key(self, official_key: str) -> str | None:
        """Return our name of an official entry, or None for an unused one."""
        key = _bare(official_key)
        if any(re.match(pattern, key) for pattern in self.unused):
            return None
        for pattern, replacement in self.renames:
            key = re.sub(pattern, replacement, key)
        return key


def _bare(key: str) -> str:
    """Drop the prefix that saving from a data-parallel wrapper leaves behind."""
    return key.removeprefix("module.")


def official_key_map(layout: OfficialFormat, keys: Iterable[str]) -> dict[str, str | None]:
    """Map official keys to ours; None marks an entry that the network does not use."""
    return {key: layout.our_key(key) for key in keys}


def convert_official_state_dict(
    layout: OfficialFormat, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return a published state dict under our names, without its unused entries."""
    names = official_key_map(layout, state)
    return {ours: state[theirs] for theirs, ours in names.items() if ours is not None}


def load_official_state_dict(
    model: nn.Module, layout: OfficialFormat, state: Mapping[str, Tensor]
) -> tuple[str, ...]:
    """Load a published state dict into ``model``, which must fit it exactly.

    Returns:
        Our keys that the file can't hold because the published code never saved them, and
        that it does not hold; usually empty. With any of them the outputs are not those of
        the published network, and the caller has to say so.

    Raises:
        CovidLesionSegError: ``checkpoint-mismatch``; the message names missing,
            unexpected and wrongly shaped entries, and the model stays as it was.
    """
    converted = convert_official_state_dict(layout, state)
    origins = {ours: theirs for theirs, ours in official_key_map(layout, state).items() if ours}
    return load_exactly(model, converted, layout.name, layout.never_saved, origins)
