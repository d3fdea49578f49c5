"""What was edited, deleted or copied while a result was not under review is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import Lung, Opacity
from CovidLesionSegLib.engine.review_values import REOPEN
from CovidLesionSegLib.mrml.review_session import INFECTION
from CovidLesionSegLib.mrml.run_anatomy import RECORDED
from CovidLesionSegLib.mrml.run_nodes import layerOfRun, nodeOfRun
from CovidLesionSegLib.mrml.segment_voxels import maskOfSegment, setMaskOfSegment
from CovidLesionSegLib.mrml.session_export import exportJob
from Testing.host.application import Host
from Testing.support.review_result import reviewable_result

OUTSIDE = "outside the review"


@pytest.fixture
def result(host: Host) -> Any:
    """A result in review; the segmentation node."""
    host.addCt(reviewable_result().ct)
    return host.segment()


def session_of(host: Host) -> Any:
    return host.panel.review.session


def actions(host: Host) -> list[str]:
    return [entry.action for entry in session_of(host).log]


def total(host: Host, name: str) -> float:
    value = session_of(host).quantification.row("total").measures[name].value
    assert value is not None
    return float(value)


def in_table_node(node: Any, name: str) -> float:
    table = nodeOfRun(node, "table").GetTable()
    return float(table.GetColumnByName(name).GetValue(table.GetNumberOfRows() - 1))


def elsewhere(host: Host, node: Any, edit: Callable[[Any], None]) -> None:
    """Edit a result while the panel does not look at it, and come back."""
    ct = session_of(host).context.ct
    host.panel._open(None)
    edit(ct)
    host.panel._open(node)


def erase(node: Any, mask: NDArray[np.bool_]) -> Callable[[Any], None]:
    def edit(ct: Any) -> None:
        infection = maskOfSegment(node, INFECTION, ct)
        infection[mask] = 0
        setMaskOfSegment(node, INFECTION, infection, ct)

    return edit


def test_an_edit_elsewhere_is_measured_logged_and_published(host: Host, result: Any) -> None:
    before = total(host, "infected_ml")
    gone = session_of(host).book.labels == 1
    elsewhere(host, result, erase(result, gone))
    now = before - gone.sum() * session_of(host).context.ct.voxel_volume_ml
    (entry,) = session_of(host).log
    assert (entry.action, entry.removed_voxels) == (f"edit {OUTSIDE}", int(gone.sum()))
    assert total(host, "infected_ml") == pytest.approx(now)
    assert in_table_node(result, "infected_ml") == pytest.approx(now)
    review = exportJob(session_of(host)).review
    assert review is not None
    assert len(review.log) == 1
    elsewhere(host, result, lambda _ct: None)
    assert len(session_of(host).log) == 1


def test_an_edit_just_before_leaving_is_an_edit_of_the_review(host: Host, result: Any) -> None:
    gone = session_of(host).book.labels == 1
    erase(result, gone)(session_of(host).context.ct)
    elsewhere(host, result, lambda _ct: None)
    assert actions(host) == ["edit"]


def test_a_dot_too_small_for_a_lesion_is_an_edit_only_once(
    host: Host, result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("CovidLesionSegLib.engine.review.MINIMUM_LESION_ML", 1.0)
    session = session_of(host)
    mask = session.book.infection.copy()
    mask[3, 3, 3] = 1
    setMaskOfSegment(result, INFECTION, mask, session.context.ct)
    session.refresh()
    assert {lesion.id for lesion in session.lesions} == {1, 2, 3}
    elsewhere(host, result, lambda _ct: None)
    assert actions(host) == ["edit"]
    assert np.array_equal(session_of(host).book.infection, mask)


@pytest.mark.parametrize("is_saved", [False, True])
def test_lungs_halved_elsewhere(host: Host, result: Any, is_saved: bool, tmp_path: Path) -> None:
    def halve(ct: Any) -> None:
        right = (layerOfRun(result, "lungs", ct) == Lung.RIGHT).astype(np.uint8)
        right[: right.shape[0] // 2] = 0
        setMaskOfSegment(result, "right-lung", right, ct)

    before = total(host, "volume_ml")
    elsewhere(host, result, halve)
    if is_saved:
        host.mrml.save(tmp_path / "scene.mrb")
        host.scene.Clear(0)
        host.mrml.load(tmp_path / "scene.mrb")
        host.widget.enter()
    session = session_of(host)
    lungs = layerOfRun(session.node, "lungs", session.context.ct)
    assert lungs is not None
    volume = np.count_nonzero(lungs) * session.context.ct.voxel_volume_ml
    assert volume < 0.9 * before
    assert total(host, "volume_ml") == pytest.approx(volume)
    assert in_table_node(session.node, "volume_ml") == pytest.approx(volume)
    assert actions(host) == [f"edit lungs or lobes {OUTSIDE}"]
    assert "corrected by hand" in host.ui.remarksLabel.text
    job = exportJob(session)
    assert "lungs" in job.edited_layers
    assert "edited-anatomy" in job.result.anatomy.flags


def test_a_finished_result_edited_elsewhere_is_reopened(host: Host, result: Any) -> None:
    session = session_of(host)
    session.accept(1, 2, 3)
    session.finish()
    elsewhere(host, result, lambda _ct: None)
    assert session_of(host).isFinished
    elsewhere(host, result, erase(result, session.book.labels > 0))
    assert not session_of(host).isFinished
    assert actions(host)[-2:] == [f"edit {OUTSIDE}", REOPEN]
    assert "reopened" in host.ui.reviewMessageLabel.text
    assert in_table_node(result, "infected_ml") == 0.0


def opacity_fits(node: Any, ct: Any) -> bool:
    opacity = layerOfRun(node, "opacity", ct)
    assert opacity is not None
    return np.array_equal(opacity > 0, maskOfSegment(node, INFECTION, ct) > 0)


def test_ground_glass_fits_again_after_a_reject_and_a_quick_leave(host: Host, result: Any) -> None:
    session_of(host).reject(1)
    ct = session_of(host).context.ct
    assert not opacity_fits(result, ct)
    host.panel._open(None)
    assert opacity_fits(result, ct)


def test_ground_glass_fits_again_in_a_scene_saved_too_early(
    host: Host, result: Any, tmp_path: Path
) -> None:
    session_of(host).reject(1)
    assert not opacity_fits(result, session_of(host).context.ct)
    host.mrml.save(tmp_path / "scene.mrb")
    host.scene.Clear(0)
    host.mrml.load(tmp_path / "scene.mrb")
    host.widget.enter()
    session = session_of(host)
    host.wait(lambda: opacity_fits(session.node, session.context.ct), 5.0)


def draw_class(host: Host, node: Any, lesion: int, label: Opacity, over: bool = False) -> Any:
    """Give a lesion a class by hand; ``over`` leaves it in the other segment as well."""
    session, ct = session_of(host), session_of(host).context.ct
    keys = {Opacity.GROUND_GLASS: "ground-glass", Opacity.CONSOLIDATION: "consolidation"}
    drawn = session.book.labels == lesion
    for each, key in keys.items():
        mask = maskOfSegment(node, key, ct)
        if each == label or not over:
            mask[drawn] = each == label
        setMaskOfSegment(node, key, mask, ct)
    return drawn


@pytest.mark.parametrize("over", [False, True])
def test_a_corrected_class_stays_and_the_table_follows(host: Host, result: Any, over: bool) -> None:
    session, ct = session_of(host), session_of(host).context.ct
    drawn = draw_class(host, result, 1, Opacity.CONSOLIDATION, over)
    if over:
        # Painted over what was ground glass already; what was consolidation stays so.
        assert (maskOfSegment(result, "ground-glass", ct)[drawn] > 0).any()
    session.refresh()
    session.refresh()
    assert actions(host) == ["edit ground glass or consolidation"]
    session.reject(2)
    session.settle()
    opacity = layerOfRun(result, "opacity", ct)
    assert opacity is not None
    assert opacity_fits(result, ct)
    assert not (maskOfSegment(result, "ground-glass", ct)[drawn] > 0).any() or over
    for name, label in (
        ("consolidation_percent", Opacity.CONSOLIDATION),
        ("ggo_percent", Opacity.GROUND_GLASS),
    ):
        count = np.count_nonzero((opacity == label) & (session.context.anatomy.lungs > 0))
        percent = 100.0 * count / np.count_nonzero(session.context.anatomy.lungs)
        assert total(host, name) == pytest.approx(percent)
        assert in_table_node(result, name) == pytest.approx(percent)
    host.panel._showNumbers()
    assert "follow the segments" in host.ui.remarksLabel.text


def test_a_stroke_just_before_settling_is_not_written_over(host: Host, result: Any) -> None:
    host.rest(4)  # the first settling is done
    host.panel.review._try(lambda session: session.reject(2))
    host.rest(1.4)  # settling is due, and the stroke is read later than that
    drawn = draw_class(host, result, 1, Opacity.CONSOLIDATION, False)
    host.rest(3)
    kept = maskOfSegment(result, "consolidation", session_of(host).context.ct)
    assert kept[drawn].all()
    assert "edit ground glass or consolidation" in actions(host)


def test_anatomy_corrected_by_a_former_version_is_no_new_edit(host: Host, result: Any) -> None:
    def halve(ct: Any) -> None:
        right = (layerOfRun(result, "lungs", ct) == Lung.RIGHT).astype(np.uint8)
        right[: right.shape[0] // 2] = 0
        setMaskOfSegment(result, "right-lung", right, ct)

    elsewhere(host, result, halve)
    session_of(host).accept(1, 2, 3)
    session_of(host).finish()
    before = actions(host)
    result.RemoveAttribute(RECORDED)  # which it did not write
    elsewhere(host, result, lambda _ct: None)
    assert session_of(host).isFinished
    assert actions(host) == before


def test_a_corrected_class_survives_reject_undo_and_reopening(host: Host, result: Any) -> None:
    session, ct = session_of(host), session_of(host).context.ct
    drawn = draw_class(host, result, 1, Opacity.CONSOLIDATION)
    session.refresh()
    session.reject(1)
    session.settle()
    assert not maskOfSegment(result, "consolidation", ct)[drawn].any()
    session.undo()
    session.settle()
    assert maskOfSegment(result, "consolidation", ct)[drawn].all()
    percent = total(host, "consolidation_percent")
    elsewhere(host, result, lambda _ct: None)
    assert total(host, "consolidation_percent") == pytest.approx(percent)
    assert actions(host)[0] == "edit ground glass or consolidation"
    assert not any(OUTSIDE in action for action in actions(host))


def delete(host: Host, node: Any) -> None:
    """Delete a node as the data tree does, with its item."""
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(host.scene)
    tree.RemoveItem(tree.GetItemByDataNode(node), False, False)
    host.scene.RemoveNode(node)


def test_deleted_lists_are_made_anew_and_the_log_says_so(host: Host, result: Any) -> None:
    session_of(host).accept(1)
    for role in ("Lesions", "ReviewLog"):
        delete(host, nodeOfRun(result, role))
    host.ui.lesionTable.selectRow(1)
    host.ui.rejectButton.click()
    assert actions(host) == ["accept", "lesions deleted", "review log deleted", "reject"]
    assert nodeOfRun(result, "Lesions").GetNumberOfRows() == 3
    for role in ("Lesions", "ReviewLog", "LesionMap"):
        delete(host, nodeOfRun(result, role))
        elsewhere(host, result, lambda _ct: None)
        assert nodeOfRun(result, role) is not None
        assert {1, 3} <= {lesion.id for lesion in session_of(host).lesions}
    assert "lesion map deleted" in actions(host)


def test_the_lists_stand_beside_their_ct(host: Host, result: Any) -> None:
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(host.scene)
    parents = {
        tree.GetItemParent(tree.GetItemByDataNode(nodeOfRun(result, role)))
        for role in ("ct", "Lesions", "ReviewLog")
    }
    assert len(parents) == 1


def test_a_copy_has_lists_and_numbers_of_its_own(host: Host, result: Any) -> None:
    session_of(host).accept(1)
    volume = in_table_node(result, "infected_ml")
    copy = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "copy")
    copy.Copy(result)
    copy.SetName("copy")
    assert nodeOfRun(copy, "Lesions") is nodeOfRun(result, "Lesions")
    host.panel._open(copy)
    assert actions(host) == ["accept", "copied from another result"]
    session_of(host).reject(1, 2)
    assert in_table_node(copy, "infected_ml") < volume
    assert in_table_node(result, "infected_ml") == volume
    assert nodeOfRun(copy, "chart") is not nodeOfRun(result, "chart")
    host.panel._open(result)
    assert actions(host) == ["accept"]
    assert [lesion.state for lesion in session_of(host).book.current].count("accepted") == 1


def test_a_ct_moved_for_good_moves_no_number(host: Host, result: Any) -> None:
    import vtk

    before = total(host, "infected_percent")
    move = vtk.vtkMatrix4x4()
    move.SetElement(0, 3, 12.0)
    nodeOfRun(result, "ct").ApplyTransformMatrix(move)
    elsewhere(host, result, lambda _ct: None)
    assert total(host, "infected_percent") == pytest.approx(before, rel=1e-5)
    assert actions(host) == []
    assert "The CT was moved" in host.ui.remarksLabel.text
    # Whoever moves both wants the pair elsewhere.
    elsewhere(host, result, lambda _ct: result.ApplyTransformMatrix(move))
    assert total(host, "infected_percent") == pytest.approx(before, rel=1e-5)
    assert actions(host) == []
    assert "The CT was moved" not in host.ui.remarksLabel.text


def test_a_transform_hardened_on_the_ct_alone_leaves_the_picture_right(
    host: Host, result: Any
) -> None:
    import vtk

    before = total(host, "infected_percent")
    transform = host.scene.AddNewNodeByClass("vtkMRMLTransformNode", "moved")
    move = vtk.vtkTransform()
    move.Translate(12.0, 0.0, 0.0)
    transform.SetMatrixTransformToParent(move.GetMatrix())
    nodes = result, nodeOfRun(result, "ct")

    def harden(_ct: Any) -> None:
        for node in nodes:
            node.SetAndObserveTransformNodeID(transform.GetID())
        nodes[1].HardenTransform()

    elsewhere(host, result, harden)
    assert total(host, "infected_percent") == pytest.approx(before, rel=1e-5)
    assert "The CT was moved" not in host.ui.remarksLabel.text
    result.SetAndObserveTransformNodeID(None)
    elsewhere(host, result, lambda _ct: None)
    assert "The CT was moved" in host.ui.remarksLabel.text
