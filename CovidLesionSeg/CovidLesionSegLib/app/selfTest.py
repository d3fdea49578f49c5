"""One scenario for the application and for the host: click, review, edit, export, save."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from CovidLesionSegLib.engine.phantom import PhantomSpec, make_phantom
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from CovidLesionSegLib.export.publish import export_files
from CovidLesionSegLib.mrml.run_nodes import nodeOfRun
from CovidLesionSegLib.mrml.session_export import exportJob, saveTrainingCase
from CovidLesionSegLib.mrml.slicer_formats import formatsOfReview
from CovidLesionSegLib.mrml.volume_node import addCtVolume

_LONGEST_RUN_S = 300.0
_QUICK = PhantomSpec(spacing_mm_zyx=(5.0, 2.5, 2.5), lesions=8)


def runScenario(
    widget: Any, say: Callable[[str], Any], processEvents: Callable[[], Any] | None = None
) -> None:
    """Press the real buttons of the panel on the phantom.

    Args:
        widget: The module's widget.
        say: Shows what is tested.
        processEvents: Lets the application work; by default Slicer's own.

    Raises:
        RuntimeError: What does not hold.
    """
    ui, panel = widget.ui, widget.panel
    phantom = make_phantom(_QUICK)
    volume = CtVolume.from_array(phantom.hu, phantom.affine, Provenance("array", "Phantom"))
    ui.inputSelector.setCurrentNode(addCtVolume(slicer.mrmlScene, volume))
    say("Segment infection")
    ui.segmentButton.click()
    _wait(lambda: not panel.run.isBusy, processEvents or slicer.app.processEvents)
    session = panel.review.session
    _expect(session is not None, ui.statusLabel.text)
    _expect(ui.lobesTable.rowCount == 8, "the table has five lobes, two lungs and the total")
    _expect(ui.lesionTable.rowCount > 0, "lesions of the phantom are found")
    say("Review")
    before = session.quantification.row("total").measures["infected_ml"].value
    ui.nextButton.click()
    ui.rejectButton.click()
    after = session.quantification.row("total").measures["infected_ml"].value
    _expect(after < before, "a rejected lesion leaves the numbers")
    ui.undoButton.click()
    again = session.quantification.row("total").measures["infected_ml"].value
    # The numbers of a fresh result come from result.json, with six significant digits.
    _expect(abs(again - before) < 1e-5 * before, "undo brings the numbers back")
    for _lesion in range(session.progress[1]):
        ui.acceptButton.click()
    ui.acceptSmallButton.click()
    _expect(session.progress[0] == session.progress[1], "every lesion is reviewed")
    ui.finishButton.click()
    _expect(session.isFinished, "the review is finished")
    _expect(nodeOfRun(session.node, "table").GetNumberOfRows() == 8, "the table node is there")
    say("Export")
    with tempfile.TemporaryDirectory() as folder:
        job, formats = exportJob(session), formatsOfReview(session.node)
        possible = {key: each for key, each in formats.items() if not each.unavailable(job)}
        written = export_files(job, possible, Path(folder) / "export")
        _expect(set(written) == set(possible), "every format is written")
        _expect("seg-nrrd" in written, "the segmentation is among them")
        _expect(bool(saveTrainingCase(session, Path(folder))), "a training case is written")


def _wait(condition: Callable[[], bool], processEvents: Callable[[], Any]) -> None:
    end = time.monotonic() + _LONGEST_RUN_S
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the run took too long")
        processEvents()
        time.sleep(0.01)


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise RuntimeError(f"This does not hold: {what}")
