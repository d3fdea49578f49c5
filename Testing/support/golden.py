"""Access to the golden parity data: filled official weights, inputs, expected outputs."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class GoldenModel:
    """Golden data of one official network."""

    folder: Path
    name: str

    def _json(self, file_name: str) -> Any:
        return json.loads((self.folder / file_name).read_text())

    def _fill(self) -> Any:
        spec = importlib.util.spec_from_file_location("golden_fill", self.folder / "fill.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def facts(self) -> dict[str, Any]:
        """Return parameter count and cases."""
        return dict(self._json("models.json")[self.name])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the official state dict's names and shapes."""
        return {key: tuple(shape) for key, shape in self._json(f"{self.name}.keys.json")}

    def state(self) -> dict[str, Tensor]:
        """Return the official state dict with the golden fill."""
        filled = self._fill().fill_state_dict(self.shapes())
        return {key: torch.from_numpy(np.asarray(value)) for key, value in filled.items()}

    def cases(self) -> Iterator[tuple[Tensor, dict[str, NDArray[np.float32]]]]:
        """Yield the input and the expected outputs by name of every stored case."""
        expected = np.load(self.folder / f"{self.name}.npz")
        for case, facts in self.facts()["cases"].items():
            images = self._fill().golden_input(facts["input_name"], facts["input_shape"])
            outputs = {
                key.removesuffix(f"_{case}"): expected[key]
                for key in expected.files
                if key.endswith(f"_{case}")
            }
            yield torch.from_numpy(images), outputs
