"""Files as publications offer them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from Testing.support.parity import golden_shapes

State = dict[str, Tensor]


def hollow_state(golden_dir: Path, name: str, registered_only: bool = False) -> State:
    """Return a published state dict that is tiny on disk: every tensor is a view of one value."""
    return {
        key: (
            torch.zeros((), dtype=torch.int64)
            if key.endswith("num_batches_tracked")
            else torch.full((), 0.5).expand(shape)
        )
        for key, shape in golden_shapes(golden_dir, name, registered_only).items()
    }


def saved(path: Path, content: object, **options: Any) -> Path:
    """Write ``content`` as training scripts do."""
    torch.save(content, path, **options)
    return path
