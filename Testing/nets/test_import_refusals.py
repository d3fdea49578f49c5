"""Import of files that are wrong: each has its own error, and the store stays as it was."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.nets.registry import recognise_checkpoint
from CovidLesionSegLib.weights.importer import ImportOptions, import_checkpoint
from CovidLesionSegLib.weights.store import WeightsStore
from Testing.support.checkpoints import State, hollow_state, saved
from Testing.support.models import file_tree, forbid_network, toy_model

Refused = Callable[..., CovidLesionSegError]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Import a file, expect an error, and check that the store is as it was."""
    forbid_network(monkeypatch)
    library = WeightsStore(None, tmp_path / "user")
    library.add(*toy_model("resident"))

    def attempt(path: Path, **options: Any) -> CovidLesionSegError:
        before = file_tree(tmp_path / "user")
        with pytest.raises(CovidLesionSegError) as caught:
            import_checkpoint(path, library, ImportOptions(**options))
        assert file_tree(tmp_path / "user") == before
        assert caught.value.message.endswith(".")
        return caught.value

    return attempt


@pytest.fixture
def dram(golden_dir: Path) -> State:
    return hollow_state(golden_dir, "dram_dc3d")


class Malicious:
    """Pickles into a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self._trace),)


@pytest.mark.parametrize("kind", ["zip", "legacy", "protocol 0", "protocol 2", "protocol 4"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_pickle_is_refused_and_not_run(
    tmp_path: Path, dram: State, refused: Refused, kind: str
) -> None:
    trace = tmp_path / "trace"
    content = {**dram, "extra": Malicious(trace)}
    path = tmp_path / "evil.pth"
    if kind.startswith("protocol"):
        path.write_bytes(pickle.dumps({"extra": Malicious(trace)}, int(kind[-1])))
    else:
        saved(path, content, _use_new_zipfile_serialization=kind == "zip")
    error = refused(path)
    assert error.code == "checkpoint-unsafe"
    assert ".mkdir" in error.message
    assert not trace.exists()


def test_a_compiled_program_is_refused_before_torch_sees_it(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "program.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for member in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"program/{member}", "")

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("the program was handed to torch")

    monkeypatch.setattr(torch, "load", opened)
    error = refused(path)
    assert error.code == "checkpoint-unsafe"
    assert "TorchScript" in error.message


@pytest.mark.parametrize("version", ["2.5.1+cpu", "2.9.1", "unknown"])
def test_a_torch_with_known_holes_opens_no_checkpoint(
    tmp_path: Path, dram: State, refused: Refused, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    path = saved(tmp_path / "x.pth", dram)
    monkeypatch.setattr(torch, "__version__", version)
    error = refused(path)
    assert error.code == "checkpoint-old-torch"
    assert "safetensors" in error.hint


def test_a_whole_pickled_network_is_refused(tmp_path: Path, refused: Refused) -> None:
    error = refused(saved(tmp_path / "network.pth", nn.Linear(2, 2)))
    assert error.code == "checkpoint-unsafe"
    assert "torch.nn.modules.linear.Linear" in error.message
    assert "state dict" in error.hint


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_called_incomplete(
    tmp_path: Path, refused: Refused, legacy: bool, share: float
) -> None:
    stream = io.BytesIO()
    state = {f"layer.{index}": torch.rand(50) for index in range(50)}
    torch.save(state, stream, _use_new_zipfile_serialization=not legacy)
    data = stream.getvalue()
    path = tmp_path / "half.pth"
    path.write_bytes(data[: int(len(data) * share)])
    error = refused(path)
    assert error.code == "checkpoint-damaged"
    assert "incomplete" in error.message


def test_a_flipped_bit_in_an_archive_is_noticed(
    tmp_path: Path, dram: State, refused: Refused
) -> None:
    path = saved(tmp_path / "x.pth", {**dram, "marker": torch.full((1000,), 0.125)})
    data = bytearray(path.read_bytes())
    data[data.index(np.full(1000, 0.125, np.float32).tobytes()) + 2000] ^= 1
    path.write_bytes(bytes(data))
    assert refused(path).code == "checkpoint-damaged"


@pytest.mark.parametrize(
    "data",
    [b"<!DOCTYPE html><html>not found</html>", b"hello, world, this is text", bytes(range(256))],
)
def test_other_files_are_refused(tmp_path: Path, refused: Refused, data: bytes) -> None:
    path = tmp_path / "page.pth"
    path.write_bytes(data)
    assert refused(path).code == "checkpoint-damaged"


def test_another_archive_is_refused(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "archive.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    assert refused(path).code == "checkpoint-damaged"


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}])
def test_a_checkpoint_without_weights_is_called_empty(
    tmp_path: Path, refused: Refused, content: object
) -> None:
    assert refused(saved(tmp_path / "x.pth", content)).code == "checkpoint-empty"


def test_an_empty_file_is_called_empty(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "x.pth").touch()
    assert refused(tmp_path / "x.pth").code == "checkpoint-empty"


def test_a_missing_file_is_named(tmp_path: Path, refused: Refused) -> None:
    error = refused(tmp_path / "nowhere.pth")
    assert error.code == "checkpoint-unreadable"
    assert "nowhere.pth" in error.message


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(2)],
        {"weight": torch.zeros(2), "epoch": 3},
        {"weight": torch.zeros(2).to_sparse()},
        {"weight": torch.zeros(2, dtype=torch.complex64)},
        {3: torch.zeros(2)},
    ],
    ids=["list", "number", "sparse", "complex", "unnamed"],
)
def test_anything_but_named_tensors_is_refused(
    tmp_path: Path, refused: Refused, content: object
) -> None:
    assert refused(saved(tmp_path / "x.pth", content)).code == "checkpoint-not-tensors"


def test_another_network_is_called_unknown(tmp_path: Path, refused: Refused) -> None:
    path = saved(tmp_path / "x.pth", nn.Sequential(nn.Linear(2, 2)).state_dict())
    error = refused(path)
    assert error.code == "checkpoint-unknown"
    assert "BSNet" in error.hint
    assert "resembles" not in error.message


def test_another_family_than_expected_is_refused(
    tmp_path: Path, dram: State, refused: Refused
) -> None:
    error = refused(saved(tmp_path / "x.pth", dram), family="inf-net")
    assert error.code == "checkpoint-wrong-family"
    assert "'dram'" in error.message


def test_a_renamed_key_is_reported_under_both_names(
    tmp_path: Path, golden_dir: Path, refused: Refused
) -> None:
    state = hollow_state(golden_dir, "infnet_vgg16")
    state["rfb2_1.branch0.0.conv.wait"] = state.pop("rfb2_1.branch0.0.conv.weight")
    error = refused(saved(tmp_path / "x.pth", state))
    assert error.code == "checkpoint-mismatch"
    assert "1 missing: receptive.0.branch0.0.conv.weight" in error.message
    assert "1 unexpected: rfb2_1.branch0.0.conv.wait" in error.message


def test_a_renamed_tell_tale_key_is_reported(
    tmp_path: Path, golden_dir: Path, refused: Refused
) -> None:
    state = hollow_state(golden_dir, "infnet_vgg16")
    layout = recognise_checkpoint(state)
    assert layout is not None
    state["renamed"] = state.pop(layout.signature[0])
    error = refused(saved(tmp_path / "x.pth", state))
    assert error.code == "checkpoint-unknown"
    assert f"resembles {layout.name}, but lacks {layout.signature[0]}" in error.message


def test_many_missing_keys_are_counted(tmp_path: Path, golden_dir: Path, refused: Refused) -> None:
    state = hollow_state(golden_dir, "infnet_vgg16")
    kept = {key: value for key, value in state.items() if not key.startswith("rfb")}
    message = refused(saved(tmp_path / "x.pth", kept)).message
    assert f"{len(state) - len(kept)} missing: " in message
    assert f" and {len(state) - len(kept) - 10} more" in message


def test_a_wrong_shape_is_reported_with_both_shapes(
    tmp_path: Path, dram: State, refused: Refused
) -> None:
    key = next(iter(dram))
    assert dram[key].shape == (32, 1, 3, 3, 3)
    error = refused(saved(tmp_path / "x.pth", {**dram, key: torch.zeros(32, 3, 3, 3, 3)}))
    assert error.code == "checkpoint-mismatch"
    assert f"{key} (32, 3, 3, 3, 3) instead of (32, 1, 3, 3, 3)" in error.message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_numbers_are_reported(
    tmp_path: Path, dram: State, refused: Refused, value: float
) -> None:
    key = next(iter(dram))
    broken = torch.zeros(dram[key].shape)
    broken[0] = value
    error = refused(saved(tmp_path / "x.pth", {**dram, key: broken}))
    assert error.code == "weights-not-finite"
    assert "(1 in all): " in error.message


def test_two_names_for_one_layer_are_refused(tmp_path: Path, dram: State, refused: Refused) -> None:
    key = next(iter(dram))
    error = refused(saved(tmp_path / "x.pth", {**dram, f"module.{key}": dram[key]}))
    assert error.code == "checkpoint-ambiguous"
    assert key in error.message


@pytest.mark.parametrize("model_id", ["Upper", "../x", "", "a b"])
def test_a_bad_id_is_refused_before_the_file_is_read(
    tmp_path: Path, refused: Refused, model_id: str
) -> None:
    assert refused(tmp_path / "nowhere.pth", model_id=model_id).code == "model-id-invalid"


def test_an_id_in_use_is_refused(tmp_path: Path, dram: State, refused: Refused) -> None:
    error = refused(saved(tmp_path / "x.pth", dram), model_id="resident")
    assert error.code == "model-exists"


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.zeros(20)}, path)
    path.write_bytes(path.read_bytes()[:-1])
    assert refused(path).code == "weights-format"
