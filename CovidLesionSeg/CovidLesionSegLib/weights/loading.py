"""From a catalogue entry or a weights file to a network that is ready to run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from CovidLesionSegLib.errors import CovidLesionSegError, InputError

from .catalogue import CatalogueEntry
from .packing import require_finite, unpack_model
from .store import WeightsStore
from .tensorfile import Tensors, parse_tensor_file

if TYPE_CHECKING:
    from torch import nn


def load_model(
    entry: CatalogueEntry, store: WeightsStore, device: str = "cpu"
) -> tuple[nn.Module, CatalogueEntry]:
    """Build a network of the store and load its weights, after checking their digest.

    Args:
        entry: A model of ``store``.
        store: Where its file is.
        device: Torch device, for example ``"cuda:0"``.

    Returns:
        The network in evaluation mode and float32 on ``device``, and its entry.

    Raises:
        CovidLesionSegError: The file is missing, damaged or does not fit the network; see
            `WeightsStore.read`, `parse_tensor_file` and ``nets.state.require_fit``.
    """
    stored = store.find(entry.id)
    content = parse_tensor_file(store.read(stored))
    return build_network(stored.entry, content.tensors).to(device), stored.entry


def load_weights_file(path: Path, device: str = "cpu") -> tuple[nn.Module, CatalogueEntry]:
    """Build the network that a self-describing weights file holds.

    No catalogue vouches for such a file, so its digest is computed and goes into the entry,
    and its values are checked to be finite.

    Args:
        path: A ``.safetensors`` file written by training, or taken from a store.
        device: Torch device.

    Returns:
        The network in evaluation mode and float32 on ``device``, and its entry; the entry's
        ``file`` is the name of ``path``.

    Raises:
        InputError: ``weights-unreadable``.
        CovidLesionSegError: ``weights-format``, ``weights-undescribed``,
            ``catalogue-invalid``, ``weights-not-finite`` or ``checkpoint-mismatch``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            "weights-unreadable", f"The weights file {path} can't be read: {error.strerror}."
        ) from error
    entry, content = unpack_model(data, path.name)
    require_finite(content.tensors, path.name)
    return build_network(entry, content.tensors).to(device), replace(entry, file=path.name)


def build_network(entry: CatalogueEntry, tensors: Tensors) -> nn.Module:
    """Build the network of an entry on the CPU and load its tensors.

    Args:
        entry: Says which network.
        tensors: Its weights; half precision is widened to float32.

    Returns:
        The network in evaluation mode.

    Raises:
        CovidLesionSegError: ``weights-network-unknown`` or ``checkpoint-mismatch``.
    """
    import torch

    from CovidLesionSegLib.nets.skeleton import build_skeleton
    from CovidLesionSegLib.nets.state import require_fit

    try:
        # Without memory until the sizes are known to fit: a file may claim any width.
        module = build_skeleton(entry.config)
    except (InputError, RuntimeError) as error:
        reason = error.message if isinstance(error, InputError) else "its sizes are absurd."
        raise CovidLesionSegError(
            "weights-network-unknown",
            f"The network of {entry.id!r} can't be built: {reason}",
            "The model may need a newer version of CovidLesionSeg.",
        ) from error
    # Copied, because the arrays are read-only views of the file's content.
    state = {name: torch.tensor(array) for name, array in tensors.items()}
    wanted = module.state_dict()
    require_fit(wanted, state, entry.id)
    # Put in place instead of copied: giving the network memory of its own beforehand would load
    # a compiler of torch, which takes longer than all the rest.
    module.load_state_dict(
        {name: tensor.to(wanted[name].dtype) for name, tensor in state.items()}, assign=True
    )
    return module.eval()
