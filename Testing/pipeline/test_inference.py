"""Inference with a network whose answer is known: the value of one channel itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from CovidLesionSegLib.engine import inference
from CovidLesionSegLib.engine.devices import half_precision
from CovidLesionSegLib.engine.inference import predict_infection, predict_lungs
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.slice_batches import run_batches
from CovidLesionSegLib.engine.slice_model import SliceModel
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.windowing import SliceRecipe, slice_stack
from CovidLesionSegLib.errors import CancelledError, CovidLesionSegError
from CovidLesionSegLib.nets.outputs import ModelOutput

RECIPE = SliceRecipe(pixel_mm=1.5, context_mm=2.0)


_CPU_IS_FULL = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes."


class Echo(torch.nn.Module):
    """Returns a channel of its input as probability; remembers what it was asked."""

    def __init__(self, channel: int, memory_slices: int = 1000) -> None:
        super().__init__()
        self.channel = channel
        self.memory_slices = memory_slices
        self.batches: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> ModelOutput:
        if x.shape[0] > self.memory_slices:
            raise RuntimeError(_CPU_IS_FULL)
        self.batches.append(tuple(x.shape))
        value = (x[:, self.channel : self.channel + 1] * RECIPE.std + RECIPE.mean).clamp(
            1e-4, 0.9999
        )
        return ModelOutput(value.logit(), (1 - value).logit(), {})


class Sides(torch.nn.Module):
    """A lung network that calls the left half of the picture right lung."""

    def forward(self, x: torch.Tensor) -> ModelOutput:
        logits = torch.full((x.shape[0], 3, *x.shape[-2:]), -9.0)
        half = x.shape[-1] // 2
        logits[:, 1, :, :half] = 9.0
        logits[:, 2, :, half:] = 9.0
        return ModelOutput(logits, None, {})


def make_ct(shape_zyx: tuple[int, int, int] = (9, 61, 75)) -> CtVolume:
    noise = np.random.default_rng(3).integers(-1200, 240, shape_zyx)
    return CtVolume.from_array(noise.astype(np.int16), np.diag([0.9, 1.1, 2.0, 1.0]))


def make_model(module: torch.nn.Module) -> SliceModel:
    return SliceModel("echo", module, RECIPE, "cpu", temperature=1.0, threshold=0.5, sha256="")


def test_the_crop_gives_what_the_whole_slice_gives() -> None:
    ct = make_ct()
    lungs = np.zeros(ct.shape_zyx, np.uint8)
    lungs[2:7, 20:50, 10:40] = 1
    prediction = predict_infection(ct, lungs, make_model(Echo(channel=1)), Reporter())
    stack = torch.from_numpy(slice_stack(ct.hu, ct.spacing_mm_zyx, RECIPE))[:, None] / 255
    whole = interpolate(stack, size=ct.shape_zyx[1:], mode="bilinear")[:, 0].numpy()
    expected = np.where(lungs > 0, np.clip(whole, 1e-4, 0.9999), 0)
    assert prediction.infection == pytest.approx(expected, abs=2e-3)
    assert prediction.boundary is not None
    assert prediction.boundary[lungs > 0] == pytest.approx(1 - expected[lungs > 0], abs=2e-3)
    assert not prediction.boundary[lungs == 0].any()


@pytest.mark.parametrize(("channel", "offset"), [(0, -1), (1, 0), (2, 1)])
def test_channels_are_the_slices_below_at_and_above(channel: int, offset: int) -> None:
    ct = make_ct()
    ct.hu[:] = np.linspace(-1000, 200, 9).astype(np.int16)[:, None, None]
    lungs = np.ones(ct.shape_zyx, np.uint8)
    found = predict_infection(ct, lungs, make_model(Echo(channel)), Reporter()).infection
    values = (np.linspace(-1000, 200, 9).astype(np.int16) + 1250) / 1500
    expected = values[np.clip(np.arange(9) + offset, 0, 8)]
    assert found[:, 30, 30] == pytest.approx(expected, abs=5e-3)


def test_only_slices_with_lung_are_run_in_sizes_the_network_accepts() -> None:
    ct, module = make_ct(), Echo(channel=1)
    lungs = np.zeros(ct.shape_zyx, np.uint8)
    lungs[3:5, 20:30, 30:40] = 2
    predict_infection(ct, lungs, make_model(module), Reporter())
    assert sum(batch[0] for batch in module.batches) == 2
    assert all(size % 32 == 0 for batch in module.batches for size in batch[2:])


def test_no_lung_runs_no_network() -> None:
    ct, module = make_ct(), Echo(channel=1)
    found = predict_infection(ct, np.zeros(ct.shape_zyx, np.uint8), make_model(module), Reporter())
    assert not found.infection.any()
    assert module.batches == []


def test_full_memory_halves_the_batch_and_changes_nothing() -> None:
    ct = make_ct()
    lungs = np.ones(ct.shape_zyx, np.uint8)
    small = Echo(channel=1, memory_slices=1)
    found = predict_infection(ct, lungs, make_model(small), Reporter())
    expected = predict_infection(ct, lungs, make_model(Echo(channel=1)), Reporter())
    assert np.array_equal(found.infection, expected.infection)
    assert {batch[0] for batch in small.batches} == {1}


def test_memory_that_holds_no_slice_is_a_plain_error() -> None:
    ct = make_ct()
    with pytest.raises(CovidLesionSegError) as caught:
        predict_infection(
            ct, np.ones(ct.shape_zyx, np.uint8), make_model(Echo(1, memory_slices=0)), Reporter()
        )
    assert caught.value.code == "too-little-memory"


def test_a_card_that_holds_no_slice_is_told_from_the_computers_memory() -> None:
    def compute(_slices: slice) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    with pytest.raises(CovidLesionSegError, match="cuda:0") as caught:
        run_batches(4, "cuda:0", compute, Reporter())
    assert caught.value.code == "out-of-memory"


def test_another_failure_of_a_network_is_not_taken_for_memory() -> None:
    def compute(_slices: slice) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        run_batches(4, "cpu", compute, Reporter())


def test_cancel_stops_between_batches() -> None:
    ct, module = make_ct((40, 40, 40)), Echo(channel=1)
    reporter = Reporter(is_cancelled=lambda: len(module.batches) >= 2)
    with pytest.raises(CancelledError):
        predict_infection(ct, np.ones(ct.shape_zyx, np.uint8), make_model(module), reporter)
    assert len(module.batches) == 2


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_overlapped_and_plain_execution_give_the_same() -> None:
    ct = make_ct((21, 61, 75))
    lungs = np.ones(ct.shape_zyx, np.uint8)
    model = make_model(Echo(channel=2))
    plain = predict_infection(ct, lungs, model, Reporter(), overlapped=False)
    overlapped = predict_infection(ct, lungs, model, Reporter())
    assert np.array_equal(plain.infection, overlapped.infection)
    assert plain.boundary is not None
    assert overlapped.boundary is not None
    assert np.array_equal(plain.boundary, overlapped.boundary)


def test_a_fault_in_a_batch_ends_the_run() -> None:
    def fail(part: slice) -> None:
        if part.start > 10:
            raise ValueError("the disk is on fire")

    with pytest.raises(ValueError, match="on fire"):
        run_batches(40, "cpu", fail, Reporter())


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_every_slice_runs_once_on_workers_of_one_thread_each(count: int) -> None:
    seen: list[int] = []
    threads: set[int] = set()
    progress: list[float] = []

    def compute(part: slice) -> None:
        seen.extend(range(part.start, part.stop))
        if part.start > 0:
            threads.add(torch.get_num_threads())

    run_batches(count, "cpu", compute, Reporter(lambda _stage, f: progress.append(f)))
    assert sorted(seen) == list(range(count))
    assert threads <= {1}
    assert torch.get_num_threads() == 3
    assert all(a <= b for a, b in pairwise(progress))


def test_progress_rises() -> None:
    seen: list[float] = []
    reporter = Reporter(lambda _stage, fraction: seen.append(fraction))
    ct = make_ct()
    with reporter.stage("infection"):
        predict_infection(ct, np.ones(ct.shape_zyx, np.uint8), make_model(Echo(1)), reporter)
    assert all(a <= b for a, b in pairwise(seen))


def test_the_lung_network_fills_the_slices_between_those_it_saw() -> None:
    ct = make_ct((11, 60, 80))
    labels = predict_lungs(ct, make_model(Sides()), Reporter())
    assert labels.shape == ct.shape_zyx
    assert labels.dtype == np.uint8
    # The network's grid is padded to a multiple of 32, so "half" is half of that.
    assert (labels[:, :, :30] == 1).all()
    assert (labels[:, :, -5:] == 2).all()


@pytest.mark.parametrize(
    ("device", "has_bfloat16", "dtype"),
    [
        ("cpu", False, None),
        ("mps", False, None),
        ("cuda:1", True, torch.bfloat16),
        ("cuda:0", False, torch.float16),
    ],
)
def test_half_precision_is_for_devices_made_for_it(
    monkeypatch: pytest.MonkeyPatch, device: str, has_bfloat16: bool, dtype: torch.dtype | None
) -> None:
    asked: list[tuple[str, torch.dtype]] = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bfloat16)
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: asked.append((kind, dtype)))
    half_precision(device)
    assert asked == ([] if dtype is None else [("cuda", dtype)])


def test_sixteen_bits_change_the_maps_by_less_than_a_reader_could_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ct = make_ct((5, 61, 75))
    lungs = np.ones(ct.shape_zyx, np.uint8)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 1, 1))

    class Small(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> ModelOutput:
            return ModelOutput(network(x), None, {})

    model = make_model(Small())
    full = predict_infection(ct, lungs, model, Reporter()).infection
    monkeypatch.setattr(
        inference, "half_precision", lambda _device: torch.autocast("cpu", dtype=torch.bfloat16)
    )
    half = predict_infection(ct, lungs, model, Reporter()).infection
    assert not np.array_equal(full, half)
    assert half == pytest.approx(full, abs=0.01)
