"""The module without its panel: five lines of Python, and a folder from the command line."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.engine.writers import write_map
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.mrml.volume_node import addCtVolume
from Testing.host.application import Host
from Testing.support.review_result import reviewable_result

WORKER = Path(__file__).with_name("stand_in_worker.py")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Choose what the worker does."""
    from CovidLesionSegLib.app import scripting

    def choose(mode: str) -> None:
        command = [sys.executable, str(WORKER), mode]
        monkeypatch.setattr(scripting, "workerCommand", lambda: command)

    choose("plain")
    return choose


@pytest.fixture
def files(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Slicer's functions that read and write files, over the storage nodes they use."""
    import slicer

    def load(path: str) -> Any:
        if Path(path).stat().st_size < 100:
            raise RuntimeError(f"Failed to load node from file: {path}")
        node = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", Path(path).stem)
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(path)
        storage.ReadData(node)
        return node

    def save(node: Any, path: str) -> bool:
        storage = node.CreateDefaultStorageNode()
        storage.SetFileName(path)
        return bool(storage.WriteData(node))

    monkeypatch.setattr(slicer.util, "loadVolume", load)
    monkeypatch.setattr(slicer.util, "saveNode", save)
    monkeypatch.setattr(slicer.util, "saveScene", lambda path: host.mrml.save(Path(path)))
    yield
    host.scene.Clear(0)


@pytest.mark.usefixtures("worker")
def test_five_lines_of_python(host: Host) -> None:
    from CovidLesionSeg import CovidLesionSegLogic

    told: list[tuple[str, float]] = []
    node = addCtVolume(host.scene, reviewable_result().ct)
    logic = CovidLesionSegLogic()
    result, nodes = logic.segment(
        node, onProgress=lambda stage, part: told.append((stage, part)), device="cpu"
    )
    assert result.quantification.row("total").measures["infected_percent"].value > 0
    assert nodes.segmentation.GetScene() is host.scene
    assert [stage for stage, _ in told][:2] == ["read", "lungs"]


def test_a_failure_in_a_script_is_an_exception_and_leaves_no_trace(
    host: Host, worker: Callable[[str], None]
) -> None:
    from CovidLesionSeg import CovidLesionSegLogic

    node = addCtVolume(host.scene, reviewable_result().ct)
    before = host.ids()
    worker("fail")
    with pytest.raises(CovidLesionSegError) as caught:
        CovidLesionSegLogic().segment(node)
    assert caught.value.code == "input-not-hu"
    assert host.ids() == before


def test_without_torch_a_script_is_told_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from CovidLesionSeg import CovidLesionSegLogic
    from CovidLesionSegLib.app import torchRequirement

    monkeypatch.setattr(torchRequirement, "torchIsInstalled", lambda: False)
    with pytest.raises(CovidLesionSegError) as caught:
        CovidLesionSegLogic().segment(addCtVolume(host.scene, reviewable_result().ct))
    assert caught.value.code == "torch-missing"


@pytest.mark.usefixtures("files", "worker")
def test_a_folder_goes_on_after_a_damaged_file(tmp_path: Path) -> None:
    from CovidLesionSegLib.app.scripting import segmentFolder

    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    ct = reviewable_result().ct
    write_map(source / "a.nii.gz", ct.hu, ct)
    (source / "b.nrrd").write_bytes(b"no picture")
    write_map(source / "c.nii.gz", ct.hu, ct)
    (source / "notes.txt").write_text("not a CT")
    failures = segmentFolder(source, target)
    assert list(failures) == ["b.nrrd"]
    assert not (target / "b").exists()
    for case in ("a", "c"):
        names = {path.name for path in (target / case).iterdir()}
        assert names == {"segmentation.seg.nrrd", "lobes.csv", "scene.mrb"}


@pytest.mark.usefixtures("files", "worker")
def test_names_with_dots_have_folders_of_their_own(tmp_path: Path) -> None:
    from CovidLesionSegLib.app.scripting import segmentFolder

    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    ct = reviewable_result().ct
    for name in ("1.2.840.1.nii.gz", "1.2.840.2.nii.gz", "a.nii.gz", "A.nrrd"):
        write_map(source / name, ct.hu, ct)
    failures = segmentFolder(source, target)
    assert list(failures) == ["a.nii.gz"]
    assert "A.nrrd" in failures["a.nii.gz"]
    assert {path.name for path in target.iterdir()} == {"1.2.840.1", "1.2.840.2", "A"}


@pytest.mark.usefixtures("host", "files")
def test_the_command_line_ends_with_a_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    from CovidLesionSegLib.app import scripting

    codes: list[int] = []
    monkeypatch.setattr(slicer.util, "exit", codes.append)
    monkeypatch.setattr(sys, "argv", ["scripting.py", str(tmp_path), str(tmp_path / "out")])
    # Slicer runs a script by its path, under this name.
    runpy.run_path(str(scripting.__file__), run_name="__main__")
    assert codes == [0]
