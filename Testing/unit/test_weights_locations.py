"""Where models and resources are looked for, and what a weights file says of itself."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.resources import resources_dir
from CovidLesionSegLib.weights import locations, store
from CovidLesionSegLib.weights.packing import unpack_model
from CovidLesionSegLib.weights.store import WeightsStore
from Testing.support.models import toy_model, write_shelf

PACKAGE_ROOT = Path(store.__file__).parents[2]


def test_a_packed_file_describes_itself() -> None:
    entry, data = toy_model()
    assert entry.bytes == len(data)
    assert entry.sha256 == hashlib.sha256(data).hexdigest()
    unpacked, content = unpack_model(data, "renamed.safetensors")
    assert unpacked == entry
    assert content.tensors["weight"].dtype == np.float16


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_values_that_the_file_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(CovidLesionSegError, match="weight") as caught:
        toy_model(value=value)
    assert caught.value.code == "weights-not-finite"


def test_shared_folders_come_from_the_environment(tmp_path: Path) -> None:
    folders = (tmp_path / "a", tmp_path / "b")
    value = os.pathsep.join(["", *map(str, folders)])
    assert locations.shared_model_dirs({"COVID_LESION_SEG_MODELS": value}) == folders
    assert locations.shared_model_dirs({}) == ()


def test_the_default_store_looks_in_the_named_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = write_shelf(tmp_path / "bundled", toy_model("first"), toy_model("second"))
    shared = write_shelf(tmp_path / "hospital", toy_model("ours"))
    monkeypatch.setenv("COVID_LESION_SEG_MODELS", str(shared))
    monkeypatch.setattr(store, "resources_dir", lambda: bundled)
    monkeypatch.setattr(store, "user_model_dir", lambda: tmp_path / "user")
    found = store.default_store().models()
    assert [(model.entry.id, model.origin) for model in found] == [
        ("ours", "shared"),
        ("first", "bundled"),
        ("second", "bundled"),
    ]


def test_slicer_without_platformdirs_looks_in_the_same_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_package = locations.user_model_dir()
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert locations.user_model_dir() == with_package


@pytest.mark.parametrize("value", ["/somewhere/data", ""])
@pytest.mark.parametrize(("platform", "rules"), [("linux", Unix), ("darwin", MacOS)])
def test_the_data_folder_follows_the_desktop_standard(
    monkeypatch: pytest.MonkeyPatch, value: str, platform: str, rules: type[Unix] | type[MacOS]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", value)
    expected = rules("CovidLesionSeg", appauthor=False).user_data_path
    assert locations.standard_data_dir(platform) == expected


def test_the_data_folder_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "platformdirs.windows.get_win_folder", lambda name: {"CSIDL_LOCAL_APPDATA": "/local"}[name]
    )
    expected = Windows("CovidLesionSeg", appauthor=False).user_data_path
    assert locations.standard_data_dir("win32", {"LOCALAPPDATA": "/local"}) == expected


def test_resources_lie_beside_the_package_or_inside_it(tmp_path: Path) -> None:
    package = tmp_path / "CovidLesionSegLib"
    beside, inside = tmp_path / "Resources", package / "Resources"
    beside.mkdir()  # a stranger's: nothing of ours is in it
    with pytest.raises(CovidLesionSegError) as caught:
        resources_dir(package)
    assert caught.value.code == "resources-missing"
    (beside / "segments.json").write_text("{}", encoding="utf-8")
    assert resources_dir(package) == beside
    inside.mkdir(parents=True)
    (inside / "segments.json").write_text("{}", encoding="utf-8")
    assert resources_dir(package) == inside


def test_an_installation_without_its_catalogue_says_so(tmp_path: Path) -> None:
    (tmp_path / "bundled").mkdir()
    library = WeightsStore(tmp_path / "bundled", tmp_path / "user")
    with pytest.raises(InputError, match=r"models\.json can't be read"):
        library.find("inf-net-lite")


def test_listing_and_checking_need_neither_torch_nor_other_packages() -> None:
    code = textwrap.dedent(
        """
        import sys
        for name in ("torch", "safetensors", "platformdirs", "rich", "slicer", "qt", "vtk"):
            sys.modules[name] = None
        from CovidLesionSegLib.weights import importer, loading, locations, store
        store.WeightsStore(None, locations.user_model_dir()).models()
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
