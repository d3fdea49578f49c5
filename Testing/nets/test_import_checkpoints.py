"""Import of published checkpoints: right ones give the published output, wrong ones an error."""

from __future__ import annotations

import io
import os
import pickle
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.nets.registry import recognise_checkpoint
from CovidLesionSegLib.weights.importer import ImportOptions, ImportReport, import_checkpoint
from CovidLesionSegLib.weights.loading import load_model
from CovidLesionSegLib.weights.packing import pack_model
from CovidLesionSegLib.weights.store import WeightsStore
from Testing.support.parity import golden_case, golden_shapes, golden_state

State = dict[str, Tensor]

LAYOUTS = {
    "infnet_res2net50": ("inf-net", "res2net50-v1b"),
    "infnet_resnet50": ("inf-net", "resnet50"),
    "infnet_vgg16": ("inf-net", "vgg16"),
    "infnet_mc_unet": ("inf-net-multi-class", None),
    "bsnet_res2net50": ("bsnet", "res2net50-v1b"),
    "cosup_released": ("co-supervision", None),
    "cosup_old": ("co-supervision", None),
    "dram_dc3d": ("dram", None),
    "dram_dc3d_att16": ("dram", None),
}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the import opened a network connection")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def library(tmp_path: Path) -> WeightsStore:
    """A store that holds one model already, so that "unchanged" means something."""
    description = {
        **{"id": "resident", "version": "1", "task": "infection", "family": "inf-net"},
        **{"scale": "lite", "encoder": None, "options": {}, "recipe": {}, "dtype": "float32"},
        **{"threshold": 0.5, "temperature": 1.0, "licence": "", "training_data": ""},
        **{"split": "", "citation": "", "intended_use": "", "not_for": ""},
    }
    library = WeightsStore(None, tmp_path / "user")
    library.add(*pack_model(description, {"a": np.zeros(2, np.float32)}))
    return library


@pytest.fixture
def refused(tmp_path: Path, library: WeightsStore) -> Callable[..., CovidLesionSegError]:
    """Import a file, expect an error, and check that the store is as it was."""

    def snapshot() -> dict[Path, bytes | None]:
        paths = sorted((tmp_path / "user").rglob("*"))
        return {path: path.read_bytes() if path.is_file() else None for path in paths}

    def attempt(path: Path, **options: Any) -> CovidLesionSegError:
        before = snapshot()
        with pytest.raises(CovidLesionSegError) as caught:
            import_checkpoint(path, library, ImportOptions(**options))
        assert snapshot() == before
        assert caught.value.message.endswith(".")
        return caught.value

    return attempt


def hollow(shapes: dict[str, tuple[int, ...]]) -> State:
    """A state dict of the right names and shapes that is tiny on disk: every tensor is a view."""
    return {
        key: (
            torch.zeros((), dtype=torch.int64)
            if key.endswith("num_batches_tracked")
            else torch.full((), 0.5).expand(shape)
        )
        for key, shape in shapes.items()
    }


def saved(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def wrapped_and_prefixed(state: State) -> dict[str, Any]:
    return {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 100}


WRITERS: dict[str, Callable[[Path, State], Path]] = {
    "infnet_vgg16": lambda path, state: saved(path, wrapped_and_prefixed(state)),
    "cosup_released": lambda path, state: saved(
        path, {"model": state}, _use_new_zipfile_serialization=False
    ),
    "dram_dc3d": lambda path, state: (save_file(state, path), path)[1],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "output"),
    [("infnet_vgg16", "map2"), ("cosup_released", "prob"), ("dram_dc3d", "dense")],
)
def test_an_imported_checkpoint_gives_the_published_output(
    golden_dir: Path,
    library: WeightsStore,
    tmp_path: Path,
    name: str,
    output: str,
) -> None:
    state = golden_state(golden_dir, name)
    path = WRITERS[name](tmp_path / "published.pth", state)
    report = import_checkpoint(path, library, ImportOptions(licence="MIT"))
    module, entry = load_model(report.model.entry, library)
    assert entry == library.find(entry.id).entry
    assert entry.card.licence == "MIT"
    assert entry.card.source["file"] == "published.pth"
    assert not module.training

    image, expected = golden_case(golden_dir, name)
    with torch.inference_mode():
        logits = module(image).infection
    found = logits.sigmoid() if output == "prob" else logits
    np.testing.assert_allclose(found.numpy(), expected[output], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_publication_is_recognised(golden_dir: Path, name: str, prefix: str) -> None:
    layout = recognise_checkpoint(prefix + key for key in golden_shapes(golden_dir, name))
    assert layout is not None
    assert layout.config is not None
    assert (layout.config.family, layout.config.encoder) == LAYOUTS[name]


@pytest.fixture
def dram(golden_dir: Path) -> State:
    return hollow(golden_shapes(golden_dir, "dram_dc3d"))


def test_the_entry_says_what_was_imported(
    library: WeightsStore, tmp_path: Path, dram: State
) -> None:
    report = import_checkpoint(saved(tmp_path / "x.pth", dram), library, ImportOptions("mine"))
    entry = report.model.entry
    assert entry.id == "mine"
    assert (entry.family, entry.task, entry.dtype) == ("dram", "infection", "float32")
    assert entry.recipe == {}
    assert "arXiv" in entry.card.citation or "doi" in entry.card.citation
    assert entry.card.source["format"] == report.layout
    assert report.random == ()


def test_a_published_picture_network_keeps_its_normalisation(
    golden_dir: Path, library: WeightsStore, tmp_path: Path
) -> None:
    from CovidLesionSegLib.engine.windowing import SliceRecipe, normalise

    state = hollow(golden_shapes(golden_dir, "infnet_vgg16"))
    report = import_checkpoint(saved(tmp_path / "x.pth", state), library)
    assert len(report.unused) == 12
    assert all(key.startswith(("vgg.conv4_2.", "vgg.conv5_2.")) for key in report.unused)
    recipe = SliceRecipe.from_dict(dict(report.model.entry.recipe))
    assert recipe.context_slices(5.0) == 0
    assert SliceRecipe.from_dict(recipe.to_dict()) == recipe
    white = normalise(torch.full((2, 3, 1, 1), 255, dtype=torch.uint8), recipe)
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(white[1, :, 0, 0], expected)


def test_an_imported_file_can_be_imported_elsewhere(
    library: WeightsStore, tmp_path: Path, dram: State
) -> None:
    first = import_checkpoint(saved(tmp_path / "x.pth", dram), library).model
    elsewhere = WeightsStore(None, tmp_path / "elsewhere")
    second = import_checkpoint(first.path, elsewhere).model
    assert second.entry == first.entry
    renamed = import_checkpoint(first.path, elsewhere, ImportOptions("renamed")).model
    assert renamed.entry.card == first.entry.card
    load_model(renamed.entry, elsewhere)


def test_layers_that_were_never_saved_are_said_so(
    golden_dir: Path,
    library: WeightsStore,
    tmp_path: Path,
    refused: Callable[..., CovidLesionSegError],
) -> None:
    genuine = hollow(golden_shapes(golden_dir, "cosup_released", registered_only=True))
    path = saved(tmp_path / "genuine.pth", genuine)
    error = refused(path)
    assert error.code == "checkpoint-never-saved"
    assert "never saved" in error.message
    report: ImportReport = import_checkpoint(path, library, ImportOptions(incomplete=True))
    assert report.random
    assert report.model.entry.task == "pretraining"


class Malicious:
    """Pickles into a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self._trace),)


def pickled(content: object, protocol: int) -> bytes:
    return pickle.dumps(content, protocol)


@pytest.mark.parametrize("kind", ["zip", "legacy", "protocol 0", "protocol 2", "protocol 4"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_pickle_is_refused_and_not_run(
    tmp_path: Path, dram: State, refused: Callable[..., CovidLesionSegError], kind: str
) -> None:
    trace = tmp_path / "trace"
    content = {**dram, "extra": Malicious(trace)}
    path = tmp_path / "evil.pth"
    if kind.startswith("protocol"):
        path.write_bytes(pickled({"extra": Malicious(trace)}, int(kind[-1])))
    else:
        saved(path, content, _use_new_zipfile_serialization=kind == "zip")
    error = refused(path)
    assert error.code == "checkpoint-unsafe"
    assert ".mkdir" in error.message
    assert not trace.exists()


def test_a_whole_pickled_network_is_refused(
    tmp_path: Path, refused: Callable[..., CovidLesionSegError]
) -> None:
    error = refused(saved(tmp_path / "network.pth", nn.Linear(2, 2)))
    assert error.code == "checkpoint-unsafe"
    assert "torch.nn.modules.linear.Linear" in error.message
    assert "state dict" in error.hint


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_called_incomplete(
    tmp_path: Path, refused: Callable[..., CovidLesionSegError], legacy: bool, share: float
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
    tmp_path: Path, dram: State, refused: Callable[..., CovidLesionSegError]
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
def test_other_files_are_refused(
    tmp_path: Path, refused: Callable[..., CovidLesionSegError], data: bytes
) -> None:
    path = tmp_path / "page.pth"
    path.write_bytes(data)
    assert refused(path).code == "checkpoint-damaged"


def test_another_archive_is_refused(
    tmp_path: Path, refused: Callable[..., CovidLesionSegError]
) -> None:
    path = tmp_path / "archive.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    assert refused(path).code == "checkpoint-damaged"


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}])
def test_a_checkpoint_without_weights_is_called_empty(
    tmp_path: Path, refused: Callable[..., CovidLesionSegError], content: object
) -> None:
    assert refused(saved(tmp_path / "x.pth", content)).code == "checkpoint-empty"


def test_an_empty_file_is_called_empty(
    tmp_path: Path, refused: Callable[..., CovidLesionSegError]
) -> None:
    (tmp_path / "x.pth").touch()
    assert refused(tmp_path / "x.pth").code == "checkpoint-empty"


def test_a_missing_file_is_named(
    tmp_path: Path, refused: Callable[..., CovidLesionSegError]
) -> None:
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
    tmp_path: Path, refused: Callable[..., CovidLesionSegError], content: object
) -> None:
    assert refused(saved(tmp_path / "x.pth", content)).code == "checkpoint-not-tensors"


def test_another_network_is_called_unknown(
    tmp_path: Path, refused: Callable[..., CovidLesionSegError]
) -> None:
    path = saved(tmp_path / "x.pth", nn.Sequential(nn.Linear(2, 2)).state_dict())
    error = refused(path)
    assert error.code == "checkpoint-unknown"
    assert "BSNet" in error.hint
    assert "resembles" not in error.message


def test_another_family_than_expected_is_refused(
    tmp_path: Path, dram: State, refused: Callable[..., CovidLesionSegError]
) -> None:
    error = refused(saved(tmp_path / "x.pth", dram), family="inf-net")
    assert error.code == "checkpoint-wrong-family"
    assert "'dram'" in error.message


def test_a_renamed_key_is_reported_under_both_names(
    tmp_path: Path, golden_dir: Path, refused: Callable[..., CovidLesionSegError]
) -> None:
    state = hollow(golden_shapes(golden_dir, "infnet_vgg16"))
    state["rfb2_1.branch0.0.conv.wait"] = state.pop("rfb2_1.branch0.0.conv.weight")
    error = refused(saved(tmp_path / "x.pth", state))
    assert error.code == "checkpoint-mismatch"
    assert "1 missing: receptive.0.branch0.0.conv.weight" in error.message
    assert "1 unexpected: rfb2_1.branch0.0.conv.wait" in error.message


def test_a_renamed_tell_tale_key_is_reported(
    tmp_path: Path, golden_dir: Path, refused: Callable[..., CovidLesionSegError]
) -> None:
    state = hollow(golden_shapes(golden_dir, "infnet_vgg16"))
    layout = recognise_checkpoint(state)
    assert layout is not None
    state["renamed"] = state.pop(layout.signature[0])
    error = refused(saved(tmp_path / "x.pth", state))
    assert error.code == "checkpoint-unknown"
    assert f"resembles {layout.name}, but lacks {layout.signature[0]}" in error.message


def test_many_missing_keys_are_counted(
    tmp_path: Path, golden_dir: Path, refused: Callable[..., CovidLesionSegError]
) -> None:
    state = hollow(golden_shapes(golden_dir, "infnet_vgg16"))
    kept = {key: value for key, value in state.items() if not key.startswith("rfb")}
    message = refused(saved(tmp_path / "x.pth", kept)).message
    assert f"{len(state) - len(kept)} missing: " in message
    assert f" and {len(state) - len(kept) - 10} more" in message


def test_a_wrong_shape_is_reported_with_both_shapes(
    tmp_path: Path, dram: State, refused: Callable[..., CovidLesionSegError]
) -> None:
    key = next(iter(dram))
    assert dram[key].shape == (32, 1, 3, 3, 3)
    error = refused(saved(tmp_path / "x.pth", {**dram, key: torch.zeros(32, 3, 3, 3, 3)}))
    assert error.code == "checkpoint-mismatch"
    assert f"{key} (32, 3, 3, 3, 3) instead of (32, 1, 3, 3, 3)" in error.message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_numbers_are_reported(
    tmp_path: Path, dram: State, refused: Callable[..., CovidLesionSegError], value: float
) -> None:
    key = next(iter(dram))
    broken = torch.zeros(dram[key].shape)
    broken[0] = value
    error = refused(saved(tmp_path / "x.pth", {**dram, key: broken}))
    assert error.code == "weights-not-finite"
    assert "(1 in all): " in error.message


def test_two_names_for_one_layer_are_refused(
    tmp_path: Path, dram: State, refused: Callable[..., CovidLesionSegError]
) -> None:
    key = next(iter(dram))
    error = refused(saved(tmp_path / "x.pth", {**dram, f"module.{key}": dram[key]}))
    assert error.code == "checkpoint-ambiguous"
    assert key in error.message


@pytest.mark.parametrize("model_id", ["Upper", "../x", "", "a b"])
def test_a_bad_id_is_refused_before_the_file_is_read(
    tmp_path: Path, refused: Callable[..., CovidLesionSegError], model_id: str
) -> None:
    assert refused(tmp_path / "nowhere.pth", model_id=model_id).code == "model-id-invalid"


def test_an_id_in_use_is_refused(
    tmp_path: Path, dram: State, refused: Callable[..., CovidLesionSegError]
) -> None:
    error = refused(saved(tmp_path / "x.pth", dram), model_id="resident")
    assert error.code == "model-exists"


def test_a_damaged_safetensors_file_is_refused(
    tmp_path: Path, refused: Callable[..., CovidLesionSegError]
) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.zeros(20)}, path)
    path.write_bytes(path.read_bytes()[:-1])
    assert refused(path).code == "weights-format"
