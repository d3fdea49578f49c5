"""Which result is shown: the choice, scenes that are read meanwhile, what is missing or deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from CovidLesionSegLib.mrml.run_nodes import nodeOfRun
from CovidLesionSegLib.mrml.volume_node import addVolume
from Testing.host.application import Host
from Testing.support.review_result import reviewable_result


@pytest.fixture
def result(host: Host) -> Any:
    """A result in review; the segmentation node."""
    host.addCt(reviewable_result().ct)
    return host.segment()


def listed(host: Host) -> list[str]:
    box = host.ui.resultSelector
    return [str(box.itemText(row)) for row in range(box.count)]


def is_visible(host: Host, name: str) -> bool:
    """Whether a widget would be seen if the panel were on a screen."""
    return bool(getattr(host.ui, name).isVisibleTo(host.ui.segmentButton.parentWidget()))


def is_shown(node: Any) -> bool:
    return bool(node.GetDisplayNode().GetVisibility())


def backgrounds(host: Host) -> set[str]:
    """Names of the volumes in the slice views."""
    count = host.scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    nodes = (host.scene.GetNthNodeByClass(n, "vtkMRMLSliceCompositeNode") for n in range(count))
    ids = {node.GetBackgroundVolumeID() for node in nodes}
    return {host.scene.GetNodeByID(each).GetName() for each in ids if each}


def look_at_another_volume(host: Host) -> Any:
    """Show a volume that the user has chosen in all slice views; the first slice node."""
    other = addVolume(host.scene, "Prior CT", np.zeros((4, 4, 4), np.int16), np.eye(4))
    for index in range(host.scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = host.scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        composite.SetBackgroundVolumeID(other.GetID())
    node = host.scene.GetNthNodeByClass(0, "vtkMRMLSliceNode")
    node.SetSliceOffset(7.0)
    return node


def test_the_chosen_result_is_the_only_one_shown_of_its_ct(host: Host, result: Any) -> None:
    second = host.segment()
    host.addCt(reviewable_result().ct, "Another CT")
    elsewhere = host.segment()
    assert [is_shown(node) for node in (result, second, elsewhere)] == [False, True, True]
    elsewhere.GetDisplayNode().SetVisibility(False)
    host.ui.resultSelector.setCurrentNode(result)
    assert [is_shown(node) for node in (result, second, elsewhere)] == [True, False, False]


def test_without_a_chosen_result_another_can_still_be_chosen(host: Host, result: Any) -> None:
    assert is_visible(host, "resultSelector")
    host.ui.resultSelector.setCurrentNode(None)
    assert not is_visible(host, "resultSection")
    assert not is_visible(host, "reviewSection")
    assert is_visible(host, "resultSelector")
    assert is_visible(host, "resultLabel")
    host.ui.resultSelector.setCurrentNode(result)
    assert host.panel.review.session.node is result
    assert is_visible(host, "resultSection")


def test_only_results_are_offered(host: Host) -> None:
    foreign = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "TotalSegmentator")
    host.rest(0.05)
    assert not is_visible(host, "resultSelector")
    host.addCt(reviewable_result().ct)
    result = host.segment()
    assert listed(host) == ["None", result.GetName()]
    assert host.ui.resultSelector.currentNode() is result
    host.ui.resultSelector.setCurrentNode(foreign)
    assert is_visible(host, "resultSelector")
    assert host.ui.resultSelector.currentNode() is None
    host.scene.RemoveNode(result)
    assert not is_visible(host, "resultSelector")
    assert not is_visible(host, "resultSection")


def test_a_result_is_offered_by_what_every_version_has_written(host: Host, result: Any) -> None:
    for name in list(result.GetAttributeNames()):
        if name.startswith("CovidLesionSeg.") and name != "CovidLesionSeg.Result":
            result.SetAttribute(name, None)
    result.Modified()
    assert result.GetName() in listed(host)


@pytest.mark.usefixtures("result")
def test_a_scene_added_to_an_open_one_is_looked_at_when_it_is_complete(
    host: Host, tmp_path: Path
) -> None:
    path = tmp_path / "scene.mrb"
    host.rest(2.0)
    host.mrml.save(path)
    host.clear()
    host.addCt(reviewable_result().ct, "Other CT")
    host.segment()
    told: list[str] = []
    usual = host.panel._status
    host.panel._status = lambda text, isError=False: told.append(text) if isError else None
    host.mrml.load(path, replace=False)
    host.rest(0.1)
    host.panel._status = usual
    assert told == []
    assert host.panel.review.session is not None
    assert len(listed(host)) == 3
    assert host.ui.segmentButton.enabled


def test_a_scene_read_while_a_run_is_under_way_disturbs_nobody(
    host: Host, result: Any, tmp_path: Path
) -> None:
    path = tmp_path / "scene.mrb"
    host.rest(2.0)
    host.mrml.save(path)
    host.clear()
    host.addCt(reviewable_result().ct, "Running CT")
    host.work("stop-lungs")
    host.ui.segmentButton.click()
    host.wait(lambda: host.panel.run.processId > 0)
    host.mrml.load(path, replace=False)
    host.rest(0.1)
    assert host.panel.run.ctNode.GetName() == "Running CT"
    assert host.ui.segmentButton.text == "Cancel"
    assert result.GetName() in listed(host)


def test_the_editor_takes_its_node_when_the_scene_is_complete(
    host: Host, result: Any, tmp_path: Path
) -> None:
    path = tmp_path / "scene.mrb"
    name = result.GetName()
    host.mrml.save(path)
    scene, seen = host.scene, []
    usual = host.panel.review._connectEditor
    host.panel.review._connectEditor = lambda session: (
        seen.append(scene.IsBatchProcessing()),
        usual(session),
    )
    # As Slicer does when a scene is opened: closing and reading are one operation.
    scene.StartState(scene.BatchProcessState)
    host.mrml.load(path)
    assert seen == []
    scene.EndState(scene.BatchProcessState)
    host.rest(0.1)
    host.panel.review._connectEditor = usual
    assert seen
    assert not any(seen)
    assert host.panel.review.session.node.GetName() == name


def test_a_result_that_misses_something_is_a_sentence_and_shows_no_numbers_of_another(
    host: Host, result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from CovidLesionSegLib.app import panel

    other = host.segment()
    usual = panel.ReviewSession

    def incomplete(node: Any, *values: Any) -> Any:
        if node is result:
            raise AttributeError("'NoneType' object has no attribute 'GetTable'")
        return usual(node, *values)

    monkeypatch.setattr(panel, "ReviewSession", incomplete)
    host.ui.resultSelector.setCurrentNode(result)
    assert host.panel.review.session is None
    assert "This result can't be shown (AttributeError" in host.ui.statusLabel.text
    assert not is_visible(host, "resultSection")
    assert not is_visible(host, "reviewSection")
    host.ui.resultSelector.setCurrentNode(other)
    assert host.panel.review.session.node is other
    assert host.ui.statusLabel.text == ""


def test_what_is_missing_of_one_result_is_not_in_the_way_of_another(
    host: Host, result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.segment()
    review = host.panel.review
    usual = review.open

    def broken(session: Any) -> None:
        if session is None and review.session is not None:
            raise AttributeError("'NoneType' object has no attribute 'GetTable'")
        usual(session)

    monkeypatch.setattr(review, "open", broken)
    host.ui.resultSelector.setCurrentNode(result)
    assert review.session.node is result
    host.scene.Clear(0)
    assert review.session is None
    assert not is_visible(host, "reviewSection")


@pytest.mark.usefixtures("result")
def test_closing_lets_go_before_anything_looks_at_the_scene(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    usual = host.panel._open
    monkeypatch.setattr(
        host.panel, "_open", lambda node, run=None: (opened.append(node), usual(node, run))
    )
    # A result that isn't shown at the moment, as one that could not be.
    host.panel._open(None)
    opened.clear()
    host.scene.Clear(0)
    assert opened == [None]


def test_a_deleted_ct_is_told_once(host: Host, result: Any) -> None:
    host.scene.RemoveNode(nodeOfRun(result, "ct"))
    host.rest(0.05)
    assert "The CT or the maps of this result were deleted" in host.ui.statusLabel.text
    host.panel._status("something newer")
    host.ui.mapOpacitySlider.setValue(0.3)
    host.rest(0.05)
    assert host.ui.statusLabel.text == "something newer"
    host.ui.resultSelector.setCurrentNode(None)
    host.ui.resultSelector.setCurrentNode(result)
    assert "The CT or the maps of this result were deleted" in host.ui.statusLabel.text
    host.ui.resultSelector.setCurrentNode(None)
    assert host.ui.statusLabel.text == ""


def test_a_ct_deleted_during_a_run_is_told_by_the_run(host: Host, result: Any) -> None:
    told: list[str] = []
    usual = host.panel._status
    host.panel._status = lambda text, isError=False: (
        told.append(text) if isError else None,
        usual(text, isError),
    )
    host.work("stop-lungs")
    host.ui.segmentButton.click()
    host.wait(lambda: host.panel.run.processId > 0)
    host.scene.RemoveNode(nodeOfRun(result, "ct"))
    host.wait(lambda: not host.panel.run.isBusy)
    host.panel._status = usual
    assert told == ["The CT was removed during the calculation. Load it again."]


def test_a_run_that_ends_elsewhere_shows_itself_on_return(host: Host) -> None:
    host.addCt(reviewable_result().ct)
    view = look_at_another_volume(host)
    host.work("plain")
    host.ui.segmentButton.click()
    host.widget.exit()
    host.wait(lambda: not host.panel.run.isBusy)
    assert host.panel.review.session is not None
    assert backgrounds(host) == {"Prior CT"}
    assert view.GetSliceOffset() == pytest.approx(7.0)
    host.widget.enter()
    assert backgrounds(host) == {"Chest CT"}
    assert view.GetSliceOffset() != pytest.approx(7.0)
    view.SetSliceOffset(7.0)
    host.widget.exit()
    host.widget.enter()
    assert view.GetSliceOffset() == pytest.approx(7.0)


def test_a_ticked_map_leaves_the_views_to_their_user(host: Host) -> None:
    host.addCt(reviewable_result().ct)
    node = host.segment("consensus")
    host.ui.boundaryCheckBox.setChecked(True)
    composite = host.scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    look_at_another_volume(host)
    composite.SetForegroundVolumeID(None)
    host.widget.exit()
    host.widget.enter()
    host.ui.mapOpacitySlider.setValue(0.2)
    assert backgrounds(host) == {"Prior CT"}
    assert composite.GetForegroundVolumeID() is None
    second = host.scene.GetNthNodeByClass(1, "vtkMRMLSliceCompositeNode")
    assert second.GetForegroundVolumeID() == nodeOfRun(node, "boundary").GetID()
    assert second.GetForegroundOpacity() == pytest.approx(0.2)
    host.ui.boundaryCheckBox.setChecked(False)
    assert second.GetForegroundVolumeID() is None
    assert backgrounds(host) == {"Prior CT"}


def test_the_map_of_a_result_goes_with_it(host: Host, result: Any) -> None:
    host.segment("consensus")
    host.ui.agreementCheckBox.setChecked(True)
    host.ui.resultSelector.setCurrentNode(result)
    composite = host.scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetForegroundVolumeID() is None
    assert not host.ui.agreementCheckBox.checked
    assert not host.ui.agreementCheckBox.enabled


def test_a_box_says_why_it_is_disabled_and_only_then(host: Host, result: Any) -> None:
    box = host.ui.agreementCheckBox
    assert not box.enabled
    assert box.toolTip == "The model of this result has none"
    host.segment("consensus")
    assert box.enabled
    assert box.toolTip == "Show where the networks of a consensus disagree"
    host.ui.resultSelector.setCurrentNode(result)
    assert box.toolTip == "The model of this result has none"
