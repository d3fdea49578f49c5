from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.losses.multi_class import class_targets, multi_class_loss
from CovidLesionSegLib.nets.losses.structure import (
    BCE_MODES,
    border_weight,
    deep_structure_loss,
    structure_loss,
)
from CovidLesionSegLib.nets.outputs import ModelOutput


class _Golden:
    def __init__(self, golden_dir: Path, prefix: str) -> None:
        self._values = np.load(golden_dir / "losses.npz")
        self._prefix = prefix

    def tensor(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.from_numpy(self._values[f"{self._prefix}_{name}"]).to(dtype)

    def value(self, name: str) -> float:
        return float(self._values[f"{self._prefix}_{name}"])


@pytest.mark.parametrize("mode", BCE_MODES)
@pytest.mark.parametrize("case", ["binary", "soft", "empty"])
def test_structure_loss_equals_the_official_one(golden_dir: Path, case: str, mode: str) -> None:
    golden = _Golden(golden_dir, f"structure_{case}")
    mask = golden.tensor("mask")
    assert torch.allclose(border_weight(mask), golden.tensor("weight"), atol=1e-6)
    logits = golden.tensor("logits").requires_grad_()
    loss = structure_loss(logits, mask, mode)
    assert loss.item() == pytest.approx(golden.value(mode), abs=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.allclose(logits.grad, golden.tensor(f"{mode}_grad"), atol=1e-8)
    wide_logits, wide_mask = (golden.tensor(name, torch.float64) for name in ("logits", "mask"))
    wide_loss = structure_loss(wide_logits, wide_mask, mode)
    assert wide_loss.item() == pytest.approx(golden.value(mode), abs=1e-9)


@pytest.mark.parametrize("mode", BCE_MODES)
def test_total_loss_equals_the_official_one(golden_dir: Path, mode: str) -> None:
    golden = _Golden(golden_dir, "infnet_total")
    sides = {str(index): golden.tensor(f"logits{index}") for index in range(3)}
    output = ModelOutput(golden.tensor("logits3"), golden.tensor("logits4"), sides)
    loss = deep_structure_loss(output, golden.tensor("mask"), golden.tensor("edge"), mode)
    assert loss.item() == pytest.approx(golden.value(mode), abs=1e-6)


def test_modes_differ_where_there_is_a_border_only() -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    released, intended = (structure_loss(logits, mask, mode) for mode in BCE_MODES)
    assert released.item() == pytest.approx(intended.item(), abs=1e-6)
    mask[..., 20:40, 20:40] = 1
    released, intended = (structure_loss(logits, mask, mode) for mode in BCE_MODES)
    assert abs(released.item() - intended.item()) > 1e-3


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError):
        structure_loss(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), "mean")


def test_half_precision_logits_do_not_overflow() -> None:
    logits = torch.full((1, 1, 512, 512), 6.0, dtype=torch.float16)
    mask = torch.ones(1, 1, 512, 512)
    assert structure_loss(logits, mask).item() < 0.05


def test_class_targets_are_exactly_one_per_pixel_in_channel_order() -> None:
    labels = torch.tensor([[[0, 1], [2, 0]]])
    targets = class_targets(labels)
    assert targets[0, 0].tolist() == [[0, 1], [0, 0]]
    assert targets[0, 1].tolist() == [[0, 0], [1, 0]]
    assert targets[0, 2].tolist() == [[1, 0], [0, 1]]
    assert (targets.sum(1) == 1).all()


def test_multi_class_loss_is_small_for_the_right_answer_only() -> None:
    labels = torch.tensor([[[0, 1], [2, 0]]])
    right = (class_targets(labels) * 2 - 1) * 10
    assert multi_class_loss(right, labels).item() < 1e-4
    assert multi_class_loss(-right, labels).item() > 5
