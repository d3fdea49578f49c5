"""Reading the CT and opening the networks side by side."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.engine import pipeline
from CovidLesionSegLib.engine.pipeline import SegmentOptions
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.writers import write_map
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from Testing.support.synthetic_ct import affine_lps, chest_hu

OPENED: Any = object()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that opened networks; nothing of torch is loaded."""
    threads: list[str] = []

    def open_networks(_options: SegmentOptions) -> Any:
        threads.append(threading.current_thread().name)
        return OPENED

    monkeypatch.setattr(pipeline, "open_networks", open_networks)
    monkeypatch.setattr(pipeline, "use_all_cores", lambda: None)
    monkeypatch.setattr(pipeline, "_run", lambda ct, networks, *_: (ct, networks))
    return threads


def segment(*args: Any, **options: Any) -> Any:
    """What `pipeline.segment` hands to the run: the CT and the networks."""
    return pipeline.segment(*args, **options)


def ct() -> CtVolume:
    return CtVolume.from_array(chest_hu(), affine_lps())


def test_networks_open_beside_the_reading(tmp_path: Path, asked: list[str]) -> None:
    path = write_map(tmp_path / "ct.nii.gz", ct().hu, ct())
    read, networks = segment(path)
    assert read.digest() == ct().digest()
    assert networks is OPENED
    assert asked == ["networks_0"]


def test_nothing_is_opened_for_a_file_that_is_refused(tmp_path: Path, asked: list[str]) -> None:
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(b"no image")
    with pytest.raises(InputError):
        segment(path)
    assert asked == []


def test_networks_that_are_open_stay(tmp_path: Path, asked: list[str]) -> None:
    path = write_map(tmp_path / "ct.nii.gz", ct().hu, ct())
    mine: Any = object()
    assert segment(path, networks=mine)[1] is mine
    assert segment(ct(), networks=mine)[1] is mine
    assert asked == []
    assert segment(ct())[1] is OPENED


def test_networks_that_cannot_be_opened_are_told(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_options: SegmentOptions) -> Any:
        raise CovidLesionSegError("weights-missing", "There are none.")

    monkeypatch.setattr(pipeline, "open_networks", fails)
    path = write_map(tmp_path / "ct.nii.gz", ct().hu, ct())
    with pytest.raises(CovidLesionSegError, match="There are none"):
        segment(path)
    assert asked == []
