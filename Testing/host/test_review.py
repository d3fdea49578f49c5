"""The review in the panel: list, decisions, keys, edits by any tool, save and reload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from CovidLesionSegLib.engine.flags import FAINT_LEFT_OUT, research_flag, warnings_for
from CovidLesionSegLib.engine.result import Lobe
from CovidLesionSegLib.engine.review_values import FINISH, REOPEN
from CovidLesionSegLib.export.report_review import review_sentence
from CovidLesionSegLib.mrml.review_session import INFECTION
from CovidLesionSegLib.mrml.run_nodes import nodeOfRun
from CovidLesionSegLib.mrml.segment_voxels import maskOfSegment, setMaskOfSegment
from CovidLesionSegLib.mrml.session_export import exportJob
from Testing.host.application import Host
from Testing.support.review_result import reviewable_result

PAUSE_S = 0.6


@pytest.fixture
def result(host: Host) -> Any:
    """A result in review; the segmentation node."""
    host.addCt(reviewable_result().ct)
    return host.segment()


def states(host: Host) -> dict[int, str]:
    table = host.ui.lesionTable
    return {
        int(table.item(row, 0).text()): table.item(row, 6).text() for row in range(table.rowCount)
    }


def infected_ml(node: Any) -> float:
    table = nodeOfRun(node, "table").GetTable()
    return float(table.GetColumnByName("infected_ml").GetValue(table.GetNumberOfRows() - 1))


def voxels(host: Host, node: Any) -> int:
    return int(maskOfSegment(node, INFECTION, host.panel.review.session.context.ct).sum())


def press(host: Host, key: str) -> None:
    """Press a key of the review: the shortcut that carries it."""
    shortcuts = {str(s.key.toString()): s for s in host.panel.review._shortcuts}
    shortcuts[key].activated.emit()


def test_selecting_a_lesion_shows_it_in_all_views(host: Host, result: Any) -> None:
    host.ui.lesionTable.selectRow(0)
    session = host.panel.review.session
    point = session.pointOf(session.lesions[0].id)
    for index in range(3):
        node = host.scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
        position = [node.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
        assert position == pytest.approx(point, abs=0.51)
        assert min(node.GetFieldOfView()[:2]) >= 80.0
    display = nodeOfRun(result, "ct").GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (1500, -600)


def test_keys_walk_accept_and_reject(host: Host, result: Any) -> None:
    order = list(states(host))
    before = voxels(host, result)
    press(host, "Shift+N")
    assert host.panel.review.selectedIds == [order[0]]
    press(host, "Shift+A")
    assert states(host)[order[0]] == "accepted"
    assert host.panel.review.selectedIds == [order[1]]
    press(host, "Shift+R")
    assert states(host)[order[1]] == "rejected"
    assert host.ui.reviewProgressLabel.text == "2 of 3 reviewed"
    assert voxels(host, result) < before
    press(host, "Shift+P")
    assert host.panel.review.selectedIds == [order[1]]


def test_reject_is_undone(host: Host, result: Any) -> None:
    before, volume = voxels(host, result), infected_ml(result)
    host.ui.lesionTable.selectRow(0)
    host.ui.rejectButton.click()
    assert infected_ml(result) < volume
    assert "edited" in host.ui.summaryLabel.text
    host.ui.undoButton.click()
    assert voxels(host, result) == before
    assert infected_ml(result) == pytest.approx(volume)
    assert set(states(host).values()) == {"to review"}
    assert "edited" not in host.ui.summaryLabel.text
    assert not host.ui.undoButton.enabled
    actions = [entry.action for entry in host.panel.review.session.log]
    assert actions == ["reject", "undo reject"]


def test_an_edit_by_array_is_followed(host: Host, result: Any) -> None:
    session = host.panel.review.session
    volume = infected_ml(result)
    mask = session.book.infection.copy()
    mask[5:9, 20:26, 20:28] = 1
    setMaskOfSegment(result, INFECTION, mask, session.context.ct)
    host.wait(lambda: infected_ml(result) > volume, PAUSE_S + 1.0)
    entry = session.log[-1]
    assert (entry.action, entry.removed_voxels) == ("edit", 0)
    assert entry.added_voxels > 0
    assert entry.dice_to_computed < 1.0
    assert "edited" in set(states(host).values())


def test_an_edit_by_the_segment_editor_and_its_undo_are_followed(host: Host, result: Any) -> None:
    import slicer

    before, volume = voxels(host, result), infected_ml(result)
    logic = host.ui.segmentEditor._logic
    logic.SaveStateForUndo()
    labelmap = slicer.vtkOrientedImageData()
    assert logic.UpdateReferenceGeometryImage()
    assert logic.ResetModifierLabelmapToDefault()
    modifier = logic.GetModifierLabelmap()
    labelmap.DeepCopy(modifier)
    labelmap.GetPointData().GetScalars().Fill(1)
    extent = [20, 28, 30, 36, 10, 14]
    logic.ModifySegmentByLabelmap(
        result, INFECTION, labelmap, logic.ModificationModeAdd, extent, False, True
    )
    host.wait(lambda: infected_ml(result) > volume, PAUSE_S + 1.0)
    assert voxels(host, result) > before
    host.ui.segmentEditor.undo()
    host.wait(lambda: infected_ml(result) == pytest.approx(volume), PAUSE_S + 1.0)
    assert voxels(host, result) == before
    assert set(states(host).values()) == {"to review"}
    assert [entry.action for entry in host.panel.review.session.log] == ["edit", "undo edit"]


def test_a_correction_of_the_lobes_moves_the_numbers(host: Host, result: Any) -> None:
    session = host.panel.review.session
    ct, lobes = session.context.ct, session.context.anatomy.lobes
    assert lobes is not None
    table = host.ui.lobesTable
    before = [float(table.item(row, 1).text()) for row in (0, 2)]
    right = np.isin(lobes, (1, 2, 3)).astype(np.uint8)
    setMaskOfSegment(result, "RUL", right, ct)
    setMaskOfSegment(result, "RLL", np.zeros_like(right), ct)
    host.wait(lambda: table.item(2, 1).text() == "n/a", PAUSE_S + 1.0)
    assert float(table.item(0, 1).text()) > sum(before) - 2.0
    assert {lesion.lobe for lesion in session.lesions} & {Lobe.RUL}
    assert not {lesion.lobe for lesion in session.lesions} & {Lobe.RLL}
    assert "corrected by hand" in host.ui.remarksLabel.text
    assert session.log[-1].action == "edit lungs or lobes"
    assert exportJob(session).edited_layers == {"lobes"}


def test_ground_glass_and_consolidation_follow(host: Host, result: Any) -> None:
    host.ui.lesionTable.selectRow(0)
    host.ui.rejectButton.click()
    ct = host.panel.review.session.context.ct

    def parts() -> int:
        return sum(
            int(maskOfSegment(result, key, ct).sum()) for key in ("ground-glass", "consolidation")
        )

    host.wait(lambda: parts() == voxels(host, result), 5.0)


def test_split_merge_and_add(host: Host, result: Any) -> None:
    before = voxels(host, result)
    largest = list(states(host)).index(1)
    host.ui.lesionTable.selectRow(largest)
    host.ui.splitButton.click()
    assert host.ui.reviewMessageLabel.text == ""
    assert host.ui.lesionTable.rowCount == 4
    assert voxels(host, result) == before
    ids = list(states(host))
    host.ui.lesionTable.clearSelection()
    model = host.ui.lesionTable.selectionModel()
    from PySide6.QtCore import QItemSelectionModel

    flags = QItemSelectionModel.SelectionFlag
    for lesion_id in (1, 4):
        index = host.ui.lesionTable.model().index(ids.index(lesion_id), 0)
        model.select(index, flags.Select | flags.Rows)
    host.ui.mergeButton.click()
    assert host.ui.lesionTable.rowCount == 3
    # A rejected lesion is what the networks saw: a click there finds it again.
    session = host.panel.review.session
    point = session.pointOf(2)
    host.ui.lesionTable.clearSelection()
    host.ui.lesionTable.selectRow(list(states(host)).index(2))
    host.ui.rejectButton.click()
    smaller = voxels(host, result)
    host.ui.addButton.click()
    marks = host.scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
    marks.AddControlPointWorld(point)
    host.wait(lambda: voxels(host, result) > smaller, 2.0)
    assert host.scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode") is None


@pytest.mark.usefixtures("result")
def test_what_makes_no_sense_is_disabled_and_says_why(host: Host) -> None:
    ui = host.ui
    assert not ui.acceptButton.enabled
    assert ui.acceptButton.toolTip == "Select a lesion first"
    assert "Select two or more" in ui.mergeButton.toolTip
    assert ui.undoButton.toolTip == "There is nothing to undo"
    assert ui.finishButton.toolTip == "Review every lesion first"


def test_finish_sets_the_status_and_locks_the_log(host: Host, result: Any) -> None:
    import slicer

    host.ui.nextButton.click()
    for action in ("accept", "accept", "reject"):
        getattr(host.ui, f"{action}Button").click()
    host.ui.finishButton.click()
    segment = result.GetSegmentation().GetSegment(INFECTION)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.GetSegmentStatus(segment) == logic.Completed
    assert "review finished" in host.ui.reviewProgressLabel.text
    assert not host.ui.rejectButton.enabled
    assert host.ui.segmentEditor.readOnly
    assert nodeOfRun(result, "ReviewLog").GetLocked()


def test_an_edit_reopens_a_finished_review(host: Host, result: Any) -> None:
    import slicer

    session = host.panel.review.session
    session.accept(1, 2, 3)
    session.finish()
    host.panel.review.refresh()
    mask = np.zeros_like(session.book.infection)
    setMaskOfSegment(result, INFECTION, mask, session.context.ct)
    host.wait(lambda: infected_ml(result) == 0.0, PAUSE_S + 1.0)
    assert [entry.action for entry in session.log[-3:]] == [FINISH, "edit", REOPEN]
    assert not session.isFinished
    segment = result.GetSegmentation().GetSegment(INFECTION)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.GetSegmentStatus(segment) == logic.InProgress
    assert not host.ui.segmentEditor.readOnly
    assert "reopened" in host.ui.reviewMessageLabel.text
    assert "finished" not in host.ui.reviewProgressLabel.text


def test_the_export_of_a_finished_review_contradicts_nothing(host: Host, result: Any) -> None:
    session = host.panel.review.session
    session.accept(1, 2, 3)
    session.finish()
    assert "review is finished" in review_sentence(exportJob(session))
    mask = session.book.infection.copy()
    mask[session.book.labels == 1] = 0
    setMaskOfSegment(result, INFECTION, mask, session.context.ct)
    job = exportJob(session)
    assert np.array_equal(job.result.infection, mask)
    total = job.result.quantification.row("total").measures["infected_ml"].value
    assert total == pytest.approx(mask.sum() * job.result.ct.voxel_volume_ml)
    assert "review is finished" not in review_sentence(job)


def test_the_panel_follows_what_an_export_has_followed(host: Host, result: Any) -> None:
    session, shown = host.panel.review.session, host.ui.summaryLabel.text
    mask = session.book.infection.copy()
    mask[session.book.labels == 1] = 0
    setMaskOfSegment(result, INFECTION, mask, session.context.ct)
    exportJob(session)
    host.wait(lambda: host.ui.summaryLabel.text != shown, PAUSE_S + 1.0)
    assert 1 not in states(host)


def test_many_are_accepted_or_rejected_in_one_step(host: Host, result: Any) -> None:
    before, session = voxels(host, result), host.panel.review.session
    host.ui.lesionTable.selectAll()
    host.ui.acceptButton.click()
    assert [(entry.action, entry.lesions) for entry in session.log] == [("accept", "1 2 3")]
    host.ui.undoButton.click()
    assert set(states(host).values()) == {"to review"}
    host.ui.lesionTable.selectAll()
    host.ui.rejectButton.click()
    assert voxels(host, result) == 0
    host.ui.undoButton.click()
    assert voxels(host, result) == before
    assert set(states(host).values()) == {"to review"}


def test_a_removed_segment_comes_back_with_undo(host: Host, result: Any) -> None:
    before = voxels(host, result)
    color = result.GetSegmentation().GetSegment(INFECTION).GetColor()
    result.GetSegmentation().RemoveSegment(INFECTION)
    host.wait(lambda: infected_ml(result) == 0.0, PAUSE_S + 1.0)
    host.ui.undoButton.click()
    segment = result.GetSegmentation().GetSegment(INFECTION)
    assert segment is not None
    assert voxels(host, result) == before
    assert segment.GetColor() == pytest.approx(color)


def test_a_saved_review_goes_on_after_loading(host: Host, result: Any, tmp_path: Path) -> None:
    host.ui.nextButton.click()
    host.ui.acceptButton.click()
    host.ui.rejectButton.click()
    expected, volume, log = states(host), infected_ml(result), host.panel.review.session.log
    shown = host.ui.summaryLabel.text
    path = tmp_path / "review.mrb"
    host.mrml.save(path)
    host.scene.Clear(0)
    assert not host.ui.reviewSection.visible
    host.mrml.load(path)
    host.widget.enter()
    session = host.panel.review.session
    assert session is not None
    assert states(host) == expected
    assert infected_ml(session.node) == pytest.approx(volume)
    assert session.log == log
    assert host.ui.summaryLabel.text == shown
    host.ui.lesionTable.selectRow(2)
    host.ui.acceptButton.click()
    assert host.ui.reviewProgressLabel.text == "3 of 3 reviewed"


def test_the_maps_are_shown_and_hidden(host: Host) -> None:
    host.addCt(reviewable_result().ct)
    node = host.segment("consensus")
    composite = host.scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    host.ui.boundaryCheckBox.setChecked(True)
    assert composite.GetForegroundVolumeID() == nodeOfRun(node, "boundary").GetID()
    assert composite.GetForegroundOpacity() == pytest.approx(0.6)
    host.ui.agreementCheckBox.setChecked(True)
    assert not host.ui.boundaryCheckBox.checked
    assert composite.GetForegroundVolumeID() == nodeOfRun(node, "agreement").GetID()
    host.ui.mapOpacitySlider.setValue(0.25)
    assert composite.GetForegroundOpacity() == pytest.approx(0.25)
    host.ui.agreementCheckBox.setChecked(False)
    assert composite.GetForegroundVolumeID() is None


@pytest.mark.parametrize("flag", [FAINT_LEFT_OUT, research_flag(0.714)])
def test_what_to_know_of_a_run_is_told(host: Host, result: Any, flag: str) -> None:
    from CovidLesionSegLib.mrml.run_nodes import FACTS, factsOfRun

    (text,) = warnings_for([flag])
    assert text not in host.ui.remarksLabel.text
    facts = factsOfRun(result)
    facts["anatomy"]["flags"].append(flag)
    result.SetAttribute(FACTS, json.dumps(facts))
    host.panel._open(result)
    assert text in host.ui.remarksLabel.text
