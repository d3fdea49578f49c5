"""From the click to the result, and everything that can come between."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.mrml.run_nodes import nodeOfRun
from Testing.host.application import Host
from Testing.host.stand_in_worker import STAGES
from Testing.support.review_result import reviewable_result


def temporary_folders() -> list[Path]:
    import slicer

    return list(Path(slicer.app.temporaryPath).iterdir())


def test_without_a_ct_the_button_says_what_is_missing(host: Host) -> None:
    assert not host.ui.segmentButton.enabled
    assert "Load a chest CT" in host.ui.segmentButton.toolTip
    assert host.ui.missingLabel.text == host.ui.segmentButton.toolTip
    assert not host.ui.missingLabel.isHidden()
    assert not host.ui.resultSection.visible
    host.addCt(reviewable_result().ct)
    assert host.ui.missingLabel.isHidden()
    empty = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    host.ui.inputSelector.setCurrentNode(empty)
    assert host.ui.missingLabel.text == "empty has no voxels. Load the CT again."
    assert not host.ui.missingLabel.isHidden()


def test_the_ct_that_is_looked_at_is_chosen(host: Host) -> None:
    import slicer

    from CovidLesionSegLib.mrml.volume_node import addCtVolume
    from Testing.support.results import make_result

    node = addCtVolume(host.scene, make_result("none").ct)
    slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(node.GetID())
    host.widget.enter()
    assert host.ui.inputSelector.currentNode() is node
    assert host.ui.segmentButton.enabled


@pytest.mark.usefixtures("ct")
def test_a_click_makes_a_result(host: Host) -> None:
    node = host.segment()
    assert node.GetName().startswith("Chest CT infection (inf-net-lite, ")
    assert host.ui.lobesTable.rowCount == 8
    assert "Infected: " in host.ui.summaryLabel.text
    assert "3 lesions" in host.ui.summaryLabel.text
    assert host.ui.lesionTable.rowCount == 3
    assert host.ui.reviewProgressLabel.text == "0 of 3 reviewed"
    assert host.ui.segmentButton.text == "Segment infection"
    assert not host.ui.progressBar.visible
    assert temporary_folders() == []
    assert host.asked == []


@pytest.mark.usefixtures("ct")
def test_progress_shows_stages_and_only_grows(host: Host) -> None:
    seen: list[tuple[str, int]] = []
    label, bar = host.ui.statusLabel, host.ui.progressBar
    bar.connect("valueChanged(int)", lambda value: seen.append((label.text, value)))
    host.segment()
    values = [value for _, value in seen if value]
    assert values == sorted(values)
    assert len(values) >= len(STAGES) - 1


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.usefixtures("ct")
def test_cancel_at_every_stage_leaves_the_scene_as_it_was(host: Host, stage: str) -> None:
    before = host.ids()
    host.work(f"stop-{stage}")
    host.ui.segmentButton.click()
    host.wait(lambda: host.panel.run.state.name == "RUNNING")
    assert host.ui.segmentButton.text == "Cancel"
    reached = STAGES.index(stage) * 1000 // len(STAGES)
    host.wait(lambda: host.ui.progressBar.value >= reached)
    worker = host.panel.run.processId
    host.ui.segmentButton.click()
    assert host.wait(lambda: not host.panel.run.isBusy) < 1.0
    assert host.ids() == before
    assert host.ui.segmentButton.enabled
    assert not host.ui.statusLabel.visible
    assert temporary_folders() == []
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.usefixtures("ct")
def test_a_worker_that_does_not_listen_is_killed(host: Host) -> None:
    host.work("deaf")
    host.ui.segmentButton.click()
    host.wait(lambda: host.panel.run.processId > 0 and host.ui.statusLabel.text != "Starting")
    host.ui.segmentButton.click()
    assert host.wait(lambda: not host.panel.run.isBusy) < 1.0


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("fail", "This is no CT in HU. Load it again."),
        ("die", "ended unexpectedly (code 9: Killed by the memory)"),
        ("damaged", "could not be read"),
    ],
)
@pytest.mark.usefixtures("ct")
def test_a_failure_is_a_sentence_and_leaves_no_trace(host: Host, mode: str, words: str) -> None:
    before = host.ids()
    host.work(mode)
    host.ui.segmentButton.click()
    host.wait(lambda: not host.panel.run.isBusy)
    assert words in host.ui.statusLabel.text
    assert host.ids() == before
    assert host.ui.segmentButton.enabled
    assert temporary_folders() == []


@pytest.mark.usefixtures("ct")
def test_a_command_that_does_not_exist_fails(host: Host) -> None:
    host.panel.run.command = ["no-such-program"]
    host.ui.segmentButton.click()
    host.wait(lambda: not host.panel.run.isBusy)
    assert "ended unexpectedly" in host.ui.statusLabel.text


@pytest.mark.usefixtures("ct")
def test_a_silent_worker_is_noticed(host: Host) -> None:
    host.work("silent")
    usual, host.panel.run.silence_s = host.panel.run.silence_s, 1.0
    host.ui.segmentButton.click()
    host.wait(lambda: not host.panel.run.isBusy)
    host.panel.run.silence_s = usual
    assert "has not answered" in host.ui.statusLabel.text


def test_while_slicer_is_busy_nobody_counts_as_silent(host: Host) -> None:
    from CovidLesionSegLib.app.workerProcess import WorkerProcess

    called: list[str] = []
    process = WorkerProcess(
        [sys.executable, "-c", "import time; time.sleep(30)"],
        lambda _event: None,
        lambda _code: called.append("ended"),
        lambda: called.append("silent"),
        0.8,
    )
    process.start(Path("none"))
    time.sleep(1.5)
    host.qtApplication.processEvents()
    assert called == []
    host.wait(lambda: called == ["silent"])
    process.stopNow()


@pytest.mark.parametrize("agrees", [True, False])
@pytest.mark.usefixtures("ct")
def test_too_little_memory_asks_for_the_processor(host: Host, agrees: bool) -> None:
    host.answers = [agrees]
    host.work("oom")
    host.ui.segmentButton.click()
    host.wait(lambda: not host.panel.run.isBusy)
    assert len(host.asked) == 1
    assert "processor" in host.asked[0]
    assert (host.panel.run.state.name == "DONE") == agrees


@pytest.mark.usefixtures("ct")
def test_a_second_run_keeps_the_first(host: Host) -> None:
    first = host.segment()
    table = nodeOfRun(first, "table")
    name, digest = first.GetName(), table.GetTable().GetNumberOfRows()
    second = host.segment("consensus")
    assert first is not second
    assert first.GetScene() is host.scene
    assert first.GetName() == name != second.GetName()
    assert table.GetTable().GetNumberOfRows() == digest
    assert not first.GetDisplayNode().GetVisibility()
    assert second.GetDisplayNode().GetVisibility()
    host.ui.resultSelector.setCurrentNode(first)
    assert host.panel.review.session.node is first


@pytest.mark.usefixtures("ct")
def test_closing_the_scene_ends_the_run(host: Host) -> None:
    host.work("stop-infection")
    host.ui.segmentButton.click()
    host.wait(lambda: host.panel.run.processId > 0)
    worker = host.panel.run.processId
    host.scene.Clear(0)
    assert not host.panel.run.isBusy
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert temporary_folders() == []
    host.wait(lambda: "Load a chest CT" in host.ui.segmentButton.toolTip, 1.0)


def test_deleting_the_ct_ends_the_run(host: Host, ct: Any) -> None:
    host.work("stop-lungs")
    host.ui.segmentButton.click()
    host.wait(lambda: host.panel.run.processId > 0)
    host.scene.RemoveNode(ct)
    host.wait(lambda: not host.panel.run.isBusy)
    assert "CT was removed" in host.ui.statusLabel.text


@pytest.mark.usefixtures("ct")
def test_leaving_the_module_does_not_stop_the_run(host: Host) -> None:
    host.ui.segmentButton.click()
    host.widget.exit()
    host.wait(lambda: not host.panel.run.isBusy)
    host.widget.enter()
    assert host.panel.run.state.name == "DONE"


@pytest.mark.usefixtures("ct")
def test_closing_slicer_ends_the_worker(host: Host) -> None:
    host.work("deaf")
    host.ui.segmentButton.click()
    host.wait(lambda: host.panel.run.processId > 0)
    worker = host.panel.run.processId
    start = time.monotonic()
    host.panel.close()
    assert time.monotonic() - start < 2.0
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize(
    "kind", ["vtkMRMLSegmentationNode", "vtkMRMLTableNode", "vtkMRMLPlotChartNode"]
)
@pytest.mark.usefixtures("ct")
def test_a_result_deleted_while_it_is_added_is_a_sentence(host: Host, kind: str) -> None:
    before = host.ids()
    host.ui.segmentButton.click()
    host.wait(lambda: host.scene.GetNumberOfNodesByClass(kind) > 0)
    assert host.panel.run.state.name == "IMPORTING"
    host.scene.RemoveNode(host.scene.GetFirstNodeByClass(kind))
    host.wait(lambda: not host.panel.run.isBusy)
    assert "deleted while it was being added to the scene" in host.ui.statusLabel.text
    assert host.ids() == before
    assert host.panel.review.session is None


def test_voxels_changed_meanwhile_are_not_given_old_results(host: Host, ct: Any) -> None:
    host.work("plain")
    host.ui.segmentButton.click()
    ct.GetImageData().Modified()
    host.wait(lambda: not host.panel.run.isBusy)
    assert "voxels of the CT were changed" in host.ui.statusLabel.text
