"""Losses of co-supervision and dRAM: golden values and gradients, and their properties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.dram.pooling import lobe_mean
from CovidLesionSegLib.nets.losses.by_family import segmentation_loss
from CovidLesionSegLib.nets.losses.co_supervision import co_supervision_loss
from CovidLesionSegLib.nets.losses.dense_crf import dense_crf_loss
from CovidLesionSegLib.nets.losses.dice import batch_dice_loss, sample_dice_loss
from CovidLesionSegLib.nets.losses.dram import (
    COVID_INTERVALS,
    SHIPPED_INTERVALS,
    candidate_logits,
    indecision,
    interval_regression_loss,
    interval_targets,
    known_negative_loss,
    pseudo_label_loss,
    pseudo_labels,
    ranked_pseudo_labels,
    share_interval_loss,
)
from CovidLesionSegLib.nets.outputs import ModelOutput
from Testing.support.parity import Arrays, golden_arrays, largest_difference

TABLES = {"covid": COVID_INTERVALS, "shipped": SHIPPED_INTERVALS}
RELATIVE = 1e-5


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> Arrays:
    return golden_arrays(golden_dir, "losses")


def tensor(golden: Arrays, name: str) -> Tensor:
    return torch.from_numpy(golden[name])


def scores_of(golden: Arrays, order: str) -> Tensor:
    scores = tensor(golden, "dram_score")
    return scores if order == "match" else scores.flip(0)


@pytest.mark.parametrize("case", ["mixed", "empty", "both_zero", "two_channel"])
def test_golden_dice(golden: Arrays, case: str) -> None:
    probability = tensor(golden, f"cosup_dice_{case}_prob").double().requires_grad_()
    loss = batch_dice_loss(probability, tensor(golden, f"cosup_dice_{case}_target").double())
    loss.backward()
    assert loss.item() == pytest.approx(float(golden[f"cosup_dice_{case}"]), abs=1e-9)
    assert probability.grad is not None
    assert largest_difference(probability.grad, golden[f"cosup_dice_{case}_grad"]) < 1e-8


@pytest.mark.parametrize("mode", ["old", "released"])
def test_golden_joint_loss(golden: Arrays, mode: str) -> None:
    maps = [torch.logit(tensor(golden, f"cosup_total_prob{i}").double()) for i in range(6)]
    names = ("edge_s1", "mask_s3", "mask_s4", "mask_s5")
    sides = dict(zip(names, (maps[0], *maps[2:5]), strict=True))
    mask, edge = (tensor(golden, f"cosup_total_{name}").double() for name in ("mask", "edge"))
    loss = co_supervision_loss(ModelOutput(maps[5], maps[1], sides), mask, edge, mode)
    assert loss.item() == pytest.approx(float(golden[f"cosup_total_{mode}"]), abs=1e-9)


def test_golden_counts_lie_behind_the_dice_of_binary_maps(golden: Arrays) -> None:
    """The published accuracy counts pixels of the rounded map; Dice of that map follows."""
    rounded = tensor(golden, "cosup_total_prob5").double().round()
    mask = tensor(golden, "cosup_total_mask").double()
    predicted, target, overlap = golden["cosup_accuracy_A_B_I"]
    assert (rounded.sum(), mask.sum(), (rounded * mask).sum()) == (predicted, target, overlap)
    expected = 1 - 2 * overlap / (predicted + target)
    assert batch_dice_loss(rounded, mask).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("table", TABLES)
def test_golden_interval_grid(golden: Arrays, table: str) -> None:
    fractions = tensor(golden, "dram_grid_q").float()
    for score in range(6):
        targets = interval_targets(torch.full((len(fractions),), score), fractions, TABLES[table])
        assert largest_difference(targets, golden[f"dram_grid_{table}"][score]) < 1e-7


@pytest.mark.parametrize("table", TABLES)
def test_golden_severity_table(golden: Arrays, table: str) -> None:
    np.testing.assert_array_equal(np.array(TABLES[table]), golden[f"dram_table_{table}"])


@pytest.mark.parametrize("order", ["match", "reversed"])
@pytest.mark.parametrize("table", TABLES)
def test_golden_interval_targets(golden: Arrays, table: str, order: str) -> None:
    lobe, candidates = tensor(golden, "dram_lobe"), tensor(golden, "dram_candidate")
    fraction = lobe_mean(candidates, lobe)
    assert largest_difference(fraction, golden["dram_candidate_fraction"][:, 0]) < 1e-6
    targets = interval_targets(scores_of(golden, order), fraction, TABLES[table])
    assert largest_difference(targets, golden[f"dram_targets_{table}_{order}"]) < 1e-6


def test_golden_lobe_mean(golden: Arrays) -> None:
    ratio = lobe_mean(torch.sigmoid(tensor(golden, "dram_dense")), tensor(golden, "dram_lobe"))
    assert largest_difference(ratio, golden["dram_pooled_ratio"]) < 1e-6


@pytest.mark.parametrize("order", ["match", "reversed"])
@pytest.mark.parametrize("table", TABLES)
def test_golden_interval_regression(golden: Arrays, table: str, order: str) -> None:
    dense = tensor(golden, "dram_dense").requires_grad_()
    loss = interval_regression_loss(
        dense,
        tensor(golden, "dram_lobe"),
        tensor(golden, "dram_candidate"),
        scores_of(golden, order),
        tensor(golden, "dram_frequency"),
        TABLES[table],
    )
    loss.backward()
    name = f"dram_interval_{table}_{order}"
    assert loss.item() == pytest.approx(float(golden[name]), rel=RELATIVE)
    assert dense.grad is not None
    assert largest_difference(dense.grad, golden[f"{name}_grad"]) < 1e-8


@pytest.mark.parametrize("order", ["match", "reversed"])
def test_golden_pseudo_label_loss(golden: Arrays, order: str) -> None:
    refined = tensor(golden, "dram_refined").requires_grad_()
    lobe = tensor(golden, "dram_lobe")
    labels = pseudo_labels(
        tensor(golden, "dram_dense"),
        lobe,
        tensor(golden, "dram_candidate"),
        scores_of(golden, order),
    )
    loss = pseudo_label_loss(refined, labels, lobe)
    loss.backward()
    assert loss.item() == pytest.approx(float(golden[f"dram_pseudo_{order}"]), rel=RELATIVE)
    assert refined.grad is not None
    assert largest_difference(refined.grad, golden[f"dram_pseudo_{order}_grad"]) < 1e-9


def test_healthy_slice_teaches_by_the_intended_dice_only() -> None:
    empty = torch.zeros(1, 1, 8, 8)
    gradients = []
    for loss in (batch_dice_loss, sample_dice_loss):
        probability = torch.full_like(empty, 0.3, requires_grad=True)
        loss(probability, empty).backward()
        assert probability.grad is not None
        gradients.append(float(probability.grad.abs().sum()))
    assert gradients[0] == 0
    assert gradients[1] > 0


def test_sample_dice_weighs_small_and_large_lesions_alike() -> None:
    target = torch.zeros(2, 1, 32, 32)
    target[0, :, :2, :2] = 1
    target[1, :, :24, :24] = 1
    misses_small = target.clone()
    misses_small[0] = 0
    assert sample_dice_loss(misses_small, target, smoothing=0.01) > 0.4
    assert batch_dice_loss(misses_small, target) < 0.01


def test_perfect_prediction_costs_nothing() -> None:
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:9, 4:9] = 1
    perfect = (mask * 2 - 1) * 40
    output = ModelOutput(perfect, perfect, {"mask_s5": perfect, "edge_s1": perfect})
    assert co_supervision_loss(output, mask, mask) < 1e-4


def test_sides_are_compared_with_their_own_target() -> None:
    mask, edge = torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    right, wrong = torch.full_like(mask, 40.0), torch.full_like(mask, -40.0)
    good = ModelOutput(right, wrong, {"mask_s5": right, "edge_s1": wrong})
    swapped = ModelOutput(right, wrong, {"mask_s5": wrong, "edge_s1": right})
    assert co_supervision_loss(good, mask, edge) < 1e-3
    assert co_supervision_loss(swapped, mask, edge) > 1


def test_unknown_mode_is_refused() -> None:
    logits = torch.zeros(1, 1, 4, 4)
    with pytest.raises(InputError, match="mode"):
        co_supervision_loss(ModelOutput(logits, None, {}), logits, logits, "published")


@pytest.mark.parametrize("family", ["inf-net", "bsnet", "co-supervision", "relation"])
def test_every_slice_family_has_a_loss(family: str) -> None:
    logits = torch.zeros(1, 1, 40, 40, requires_grad=True)
    mask = torch.zeros_like(logits)
    segmentation_loss(family)(ModelOutput(logits, None, {}), mask, mask).backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


def test_a_family_without_slice_masks_has_none() -> None:
    with pytest.raises(InputError, match="dram"):
        segmentation_loss("dram")


@pytest.mark.parametrize("score", range(6))
@pytest.mark.parametrize("position", [0.0, 0.5, 1.0])
def test_regression_is_silent_exactly_inside_the_interval(score: int, position: float) -> None:
    low, high = COVID_INTERVALS[score]
    high = min(high, 1.0)
    centre = (low + high) / 2
    target = interval_targets(torch.tensor([score]), torch.tensor([centre]))
    bottom, top = target[0].tolist()
    inside = bottom + position * (top - bottom)
    assert regression_at(inside, score, centre) < 1e-6
    assert regression_at(bottom - 0.05, score, centre) > 1e-4 or bottom < 0.05
    assert regression_at(top + 0.05, score, centre) > 1e-4 or top > 0.95


def regression_at(ratio: float, score: int, fraction: float) -> float:
    """The loss of a constant map in a lobe of 1000 voxels with that share of candidates."""
    shape = (1, 1, 10, 10, 10)
    probability = torch.full(shape, min(max(ratio, 1e-6), 1 - 1e-6), dtype=torch.float64)
    candidates = torch.zeros(1000, dtype=torch.float64)
    candidates[: round(fraction * 1000)] = 1
    loss = interval_regression_loss(
        torch.logit(probability),
        torch.ones(shape),
        candidates.view(shape),
        torch.tensor([score]),
        torch.full((6,), 0.5),
    )
    return float(loss)


def test_pseudo_labels_need_candidate_lobe_and_score() -> None:
    dense = torch.full((2, 1, 2, 2, 2), 3.0)
    lobe, candidates = torch.ones_like(dense), torch.ones_like(dense)
    lobe[:, :, 0, 0, 0] = 0
    candidates[:, :, 1, 1, 1] = 0
    labels = pseudo_labels(dense, lobe, candidates, torch.tensor([0, 3]))
    assert labels[0].sum() == 0
    assert labels[1].sum() == 6
    assert not labels[1, 0, 0, 0, 0]
    assert not labels[1, 0, 1, 1, 1]


def test_ranked_pseudo_labels_keep_to_the_score() -> None:
    """Ten candidates of 100 voxels; every probability is below one half."""
    dense = torch.linspace(-3, -1, 100).view(1, 1, 4, 5, 5).repeat(3, 1, 1, 1, 1)
    lobe, candidates = torch.ones_like(dense), torch.zeros_like(dense)
    candidates.view(3, -1)[:, 10:20] = 1
    scores = torch.tensor([0, 1, 3])
    labels = ranked_pseudo_labels(dense, lobe, candidates, scores).flatten(1)
    assert labels.sum(dim=1).tolist() == [0, 1, 10]
    assert labels[1].nonzero().item() == 19
    assert not pseudo_labels(dense, lobe, candidates, scores).any()


def test_no_probability_is_left_off_the_candidates() -> None:
    dense = torch.zeros(1, 1, 2, 2, 2, requires_grad=True)
    candidates = torch.zeros(1, 1, 2, 2, 2)
    candidates[..., 0] = 1
    probability = torch.sigmoid(candidate_logits(dense, candidates))
    assert probability.sum().item() == pytest.approx(2.0, abs=1e-6)
    (gradient,) = torch.autograd.grad(probability.sum(), dense)
    assert (gradient[..., 1] == 0).all()
    assert (gradient[..., 0] > 0).all()
    (gradient,) = torch.autograd.grad(known_negative_loss(dense, candidates), dense)
    assert (gradient[..., 0] == 0).all()
    assert (gradient[..., 1] > 0).all()


def test_crf_prefers_maps_that_follow_the_intensity() -> None:
    torch.manual_seed(4)
    volume = torch.zeros(1, 1, 12, 12, 12)
    volume[..., :6] = 0.8
    lobe = torch.ones_like(volume)
    aligned = (volume > 0.5).float() * 20 - 10
    across = aligned.transpose(-1, -2)
    options = {"grid": 6, "sigma_voxels": 4.0}
    good, bad = (float(dense_crf_loss(m, volume, lobe, **options)) for m in (aligned, across))
    assert good < 1e-3
    assert bad > 0.1


@pytest.mark.parametrize("logit", [-30.0, 30.0])
def test_crf_is_silent_on_constant_maps(logit: float) -> None:
    volume = torch.rand(2, 1, 8, 8, 8)
    lobe = torch.ones_like(volume)
    assert dense_crf_loss(torch.full_like(volume, logit), volume, lobe, grid=4) < 1e-6


def test_crf_trains_the_lobe_only() -> None:
    torch.manual_seed(4)
    logits = torch.randn(1, 1, 8, 8, 8, requires_grad=True)
    lobe = torch.zeros(1, 1, 8, 8, 8)
    lobe[:, :, :4] = 1
    dense_crf_loss(logits, torch.rand(1, 1, 8, 8, 8), lobe, grid=4).backward()
    gradient = np.abs(logits.grad.numpy())
    assert gradient[:, :, :4].max() > 0
    assert gradient[:, :, 4:].max() == 0


def constant_map(share: float) -> Tensor:
    return torch.full((1, 1, 4, 4, 4), share).logit().requires_grad_()


@pytest.mark.parametrize(
    ("share", "beyond"), [(0.06, 0.0), (0.24, 0.0), (0.36, 0.1), (0.01, 0.1236)]
)
def test_a_share_within_its_scores_interval_costs_nothing(share: float, beyond: float) -> None:
    dense, lobe = constant_map(share), torch.ones(1, 1, 4, 4, 4)
    loss = share_interval_loss(dense, lobe, torch.tensor([2]))
    assert loss.item() == pytest.approx(beyond, abs=1e-4)
    (gradient,) = torch.autograd.grad(loss, dense)
    assert (gradient.abs().sum() > 0) == (beyond > 0)
    assert beyond == 0 or torch.sign(gradient).unique().item() == (1 if share > 0.25 else -1)


def test_only_undecided_maps_cost_their_doubt() -> None:
    lobe = torch.ones(1, 1, 4, 4, 4)
    decided = torch.full((1, 1, 4, 4, 4), -30.0)
    decided[..., 0] = 30.0
    assert indecision(decided, lobe).item() == pytest.approx(0.0, abs=1e-6)
    assert indecision(constant_map(0.25), lobe).item() == pytest.approx(0.75, abs=1e-5)


def test_a_margin_keeps_shares_off_the_ends_but_not_off_nothing() -> None:
    lobe = torch.ones(1, 1, 4, 4, 4)
    near, none, middle = (constant_map(share) for share in (0.051, 1e-6, 0.1))
    two, zero = torch.tensor([2]), torch.tensor([0])
    assert share_interval_loss(near, lobe, two).item() == 0.0
    assert share_interval_loss(near, lobe, two, margin=0.03).item() == pytest.approx(
        0.05**0.5 + 0.03 - 0.051**0.5, abs=1e-4
    )
    assert share_interval_loss(none, lobe, zero, margin=0.03).item() == 0.0
    assert share_interval_loss(middle, lobe, two, margin=0.03).item() == 0.0


def test_weights_say_how_much_each_lobe_counts() -> None:
    dense = torch.cat([constant_map(0.01), constant_map(0.1)])
    lobe, scores = torch.ones(2, 1, 4, 4, 4), torch.tensor([2, 2])
    plain = share_interval_loss(dense, lobe, scores)
    weighted = share_interval_loss(dense, lobe, scores, weights=torch.tensor([1.5, 0.5]))
    assert weighted.item() == pytest.approx(1.5 * plain.item(), rel=1e-5)
