"""The store: checked before opening, complete or not at all, never on a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.weights import store
from CovidLesionSegLib.weights.store import WeightsStore
from Testing.support.models import file_tree, forbid_network, toy_model, write_shelf

PACKAGE_ROOT = Path(store.__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_network(monkeypatch)


@pytest.fixture
def bundled(tmp_path: Path) -> Path:
    return write_shelf(tmp_path / "bundled", toy_model("first"), toy_model("second", 2.0))


@pytest.fixture
def library(tmp_path: Path, bundled: Path) -> WeightsStore:
    return WeightsStore(bundled, tmp_path / "user")


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    locked: list[Path] = []

    def lock(folder: Path) -> None:
        locked.append(folder)
        for path in (*folder.rglob("*"), folder):
            path.chmod(0o555 if path.is_dir() else 0o444)

    yield lock
    for folder in locked:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)


def test_bundled_models_are_found_and_read(library: WeightsStore) -> None:
    assert [model.entry.id for model in library.models()] == ["first", "second"]
    assert library.read(library.find("second")) == toy_model("second", 2.0)[1]


def test_an_unknown_model_names_the_known_ones(library: WeightsStore) -> None:
    with pytest.raises(InputError) as caught:
        library.find("third")
    assert caught.value.code == "model-unknown"
    assert "first, second" in caught.value.hint


def test_a_truncated_file_is_called_incomplete(library: WeightsStore) -> None:
    model = library.find("first")
    model.path.write_bytes(model.path.read_bytes()[:-1])
    with pytest.raises(CovidLesionSegError, match="incomplete or damaged") as caught:
        library.read(model)
    assert caught.value.code == "weights-incomplete"


def test_a_changed_byte_is_called_damage(library: WeightsStore) -> None:
    model = library.find("first")
    data = bytearray(model.path.read_bytes())
    data[-1] ^= 1
    model.path.write_bytes(bytes(data))
    with pytest.raises(CovidLesionSegError) as caught:
        library.read(model)
    assert caught.value.code == "weights-damaged"


def test_a_missing_file_says_where_it_should_be(library: WeightsStore) -> None:
    model = library.find("first")
    model.path.unlink()
    with pytest.raises(CovidLesionSegError) as caught:
        library.read(model)
    assert caught.value.code == "weights-missing"
    assert str(model.path) in caught.value.message


def test_an_added_model_is_found_by_another_store(library: WeightsStore, tmp_path: Path) -> None:
    entry, data = toy_model("mine")
    added = library.add(entry, data)
    other = WeightsStore(None, tmp_path / "user")
    assert other.find("mine") == added
    assert other.read(added) == data
    assert added.origin == "user"


def test_an_added_model_leaves_nothing_else_behind(library: WeightsStore, tmp_path: Path) -> None:
    library.add(*toy_model("mine"))
    assert list(file_tree(tmp_path / "user")) == [
        "mine",
        "mine/Weights",
        "mine/Weights/mine.safetensors",
        "mine/models.json",
    ]


@pytest.mark.parametrize("model_id", ["first", "mine"])
def test_an_existing_id_is_refused(library: WeightsStore, tmp_path: Path, model_id: str) -> None:
    library.add(*toy_model("mine"))
    before = file_tree(tmp_path)
    with pytest.raises(InputError) as caught:
        library.add(*toy_model(model_id, 5.0))
    assert caught.value.code == "model-exists"
    assert file_tree(tmp_path) == before


def test_a_failed_write_leaves_the_store_as_it_was(
    library: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add(*toy_model("mine"))
    before = file_tree(tmp_path)

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(CovidLesionSegError, match="No space left") as caught:
        library.add(*toy_model("another"))
    assert caught.value.code == "store-not-writable"
    assert file_tree(tmp_path) == before
    assert [path.name for path in (tmp_path / "user").iterdir()] == ["mine"]


def test_data_that_is_not_what_the_entry_says_is_a_programming_error(
    library: WeightsStore,
) -> None:
    entry, data = toy_model("mine")
    with pytest.raises(ValueError, match="mine"):
        library.add(entry, data + b"\0")


def test_a_killed_import_is_swept_up_later(library: WeightsStore, tmp_path: Path) -> None:
    stale, fresh = (tmp_path / "user" / f".temporary-{name}" for name in ("stale", "fresh"))
    stale.mkdir(parents=True)
    fresh.mkdir()
    long_ago = time.time() - 3 * 24 * 3600
    os.utime(stale, (long_ago, long_ago))
    library.add(*toy_model("mine"))
    assert not stale.exists()
    assert fresh.exists()
    assert library.find("mine")


def test_remove(library: WeightsStore, tmp_path: Path) -> None:
    library.add(*toy_model("mine"))
    library.remove("mine")
    assert list((tmp_path / "user").iterdir()) == []
    with pytest.raises(InputError, match="'mine'"):
        library.find("mine")


def test_bundled_models_are_not_removed(library: WeightsStore, bundled: Path) -> None:
    before = file_tree(bundled)
    with pytest.raises(InputError) as caught:
        library.remove("first")
    assert caught.value.code == "model-not-yours"
    assert file_tree(bundled) == before


@pytest.mark.parametrize("model_id", ["nothing", "..", ".", "../bundled", "", "/"])
def test_remove_touches_nothing_but_models(
    library: WeightsStore, tmp_path: Path, model_id: str
) -> None:
    library.add(*toy_model("mine"))
    before = file_tree(tmp_path)
    with pytest.raises(InputError):
        library.remove(model_id)
    assert file_tree(tmp_path) == before


def test_a_damaged_catalogue_hides_its_own_model_only(
    library: WeightsStore, tmp_path: Path
) -> None:
    library.add(*toy_model("mine"))
    library.add(*toy_model("other"))
    (tmp_path / "user" / "mine" / "models.json").write_text("{", encoding="utf-8")
    assert [model.entry.id for model in library.models()] == ["first", "second", "other"]
    assert [error.code for error in library.problems()] == ["catalogue-unreadable"]
    library.remove("mine")
    assert library.problems() == ()


def test_a_read_only_shared_folder_comes_first(
    tmp_path: Path, bundled: Path, read_only: Callable[[Path], None]
) -> None:
    shared = write_shelf(tmp_path / "hospital", toy_model("first", 7.0))
    read_only(shared)
    library = WeightsStore(bundled, tmp_path / "user", [shared])
    model = library.find("first")
    assert model.origin == "shared"
    assert library.read(model) == toy_model("first", 7.0)[1]
    assert [found.entry.id for found in library.models()] == ["first", "second"]


def test_a_copy_of_the_users_store_serves_as_shared_folder(tmp_path: Path) -> None:
    WeightsStore(None, tmp_path / "user").add(*toy_model("mine"))
    shutil.copytree(tmp_path / "user", tmp_path / "hospital")
    library = WeightsStore(None, tmp_path / "nobody", [tmp_path / "hospital"])
    assert library.read(library.find("mine")) == toy_model("mine")[1]


def test_an_unreachable_shared_folder_is_reported_and_survived(
    tmp_path: Path, bundled: Path
) -> None:
    library = WeightsStore(bundled, tmp_path / "user", [tmp_path / "unplugged"])
    assert len(library.models()) == 2
    assert [error.code for error in library.problems()] == ["shelf-missing"]


def test_a_user_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("in the way", encoding="utf-8")
    with pytest.raises(CovidLesionSegError) as caught:
        WeightsStore(None, tmp_path / "user").add(*toy_model())
    assert caught.value.code == "store-not-writable"


WORKER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from CovidLesionSegLib.errors import CovidLesionSegError
    from CovidLesionSegLib.weights.packing import unpack_model
    from CovidLesionSegLib.weights.store import WeightsStore

    user, start, *files = map(Path, sys.argv[1:])
    library = WeightsStore(None, user)
    models = [(path.read_bytes(), path.name) for path in files]
    models = [(unpack_model(data, name)[0], data) for data, name in models]
    print("ready", flush=True)
    while not start.exists():
        pass
    for entry, data in models:
        try:
            library.add(entry, data)
            print(entry.id, flush=True)
        except CovidLesionSegError as error:
            print(error.code, flush=True)
    """
)


def test_two_processes_may_import_at_once(tmp_path: Path) -> None:
    files = []
    for index in range(20):
        files.append(tmp_path / f"model-{index}.safetensors")
        files[-1].write_bytes(toy_model(f"model-{index}", float(index))[1])
    arguments = [str(path) for path in (tmp_path / "user", tmp_path / "start", *files)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)},
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    (tmp_path / "start").touch()
    results = [worker.communicate(timeout=60)[0].split() for worker in workers]

    for index in range(20):
        name = f"model-{index}"
        assert sorted(result[index] for result in results) == sorted([name, "model-exists"])
    library = WeightsStore(None, tmp_path / "user")
    assert len(library.models()) == 20
    assert library.problems() == ()
    for model in library.models():
        library.read(model)
