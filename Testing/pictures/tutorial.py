"""Play the tutorial in the stand-in for Slicer: ``python -m Testing.pictures.tutorial``.

The real panel, the real worker and Slicer's own rendering of slices; writes the pictures in
`Resources/` and the README's section with the numbers that came out.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from Testing.pictures.currency import record
from training.readme_tables import README, replace_section

if TYPE_CHECKING:
    from CovidLesionSegLib.engine.result import Quantification
    from Testing.host.application import Host

PICTURES = README.parent / "Resources"
SECTION = "tutorial"
REGIONS = ("RUL", "RML", "RLL", "LUL", "LLL", "right-lung", "left-lung", "total")
_VIEW, _GAP = 515, 8


def play(host: Host) -> str:
    """Click through the tutorial, save its pictures and return the section in Markdown."""
    from CovidLesionSegLib.app.startup import loadPhantom
    from CovidLesionSegLib.mrml.display import jumpTo
    from Testing.host.slice_picture import SliceView

    host.work("real")
    (ct,) = loadPhantom()
    host.ui.inputSelector.setCurrentNode(ct)
    views = [SliceView(host.mrml.logic, host.sliceLogics[axis], _VIEW) for axis in (0, 2)]
    host.ui.segmentButton.click()
    host.wait(lambda: host.ui.progressBar.value > 0, 300.0)
    host.grab(PICTURES / "tutorial-run.png")
    host.wait(lambda: not host.panel.run.isBusy, 900.0)
    session = host.panel.review.session
    if session is None:
        raise RuntimeError(host.ui.statusLabel.text)
    jumpTo(host.scene, session.pointOf(1))
    _compose(host, views, "overview")
    text = _section(session.quantification, len(session.lesions))
    host.ui.lesionTable.selectRow(0)
    host.ui.boundaryCheckBox.setChecked(True)
    _compose(host, views, "tutorial-review")
    host.ui.boundaryCheckBox.setChecked(False)
    while session.progress[0] < session.progress[1]:
        host.ui.acceptButton.click()
    host.ui.finishButton.click()
    host.ui.exportSection.collapsed = False
    host.grab(PICTURES / "tutorial-export.png")
    for view in views:
        view.close()
    return text


def _compose(host: Host, views: list[Any], name: str) -> None:
    """Save the slice views, one above the other, and the panel beside them."""
    from PySide6.QtGui import QColor, QImage, QPainter

    panel = PICTURES / f"{name}.png"
    host.grab(panel)
    beside = QImage(str(panel))
    height = max(beside.height(), len(views) * (_VIEW + _GAP) - _GAP)
    picture = QImage(_VIEW + _GAP + beside.width(), height, QImage.Format.Format_RGB888)
    picture.fill(QColor("#ffffff"))
    painter = QPainter(picture)
    for row, view in enumerate(views):
        painter.drawImage(0, row * (_VIEW + _GAP), _image(view.picture()))
    painter.drawImage(_VIEW + _GAP, 0, beside)
    painter.end()
    picture.save(str(panel))


def _image(pixels: NDArray[np.uint8]) -> Any:
    from PySide6.QtGui import QImage

    data = np.ascontiguousarray(pixels)
    height, width, _ = data.shape
    # A copy, because a QImage does not keep the array alive.
    return QImage(data.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()


def _section(numbers: Quantification, lesions: int) -> str:
    rows = ["| region | volume, ml | infected, % | interval |", "|---|--:|--:|---|"]
    for region in REGIONS:
        row = numbers.row(region)
        volume, infected = row.measures["volume_ml"], row.measures["infected_percent"]
        rows.append(
            f"| {row.label} | {volume.value:.0f} | {infected.value:.1f} "
            f"| {infected.low:.1f} to {infected.high:.1f} |"
        )
    return _TEXT.format(lesions=lesions, table="\n".join(rows))


_TEXT = """\
1. Open **Sample Data**, category **COVID-19 CT**, and click **Chest phantom with infection**.
   It is computed in about ten seconds.
2. Open the module **CovidLesionSeg**. The CT is chosen already; press **Segment infection**. The
   button becomes **Cancel**, and the line below says what is being done and how long it will take.

   ![The panel during a run](Resources/tutorial-run.png)
3. The outline of the infection appears in the slice views, and the table fills. Expect
   {lesions} lesions and

{table}

4. **Review**: the lesion with the largest volume in doubt comes first, because it may change the
   numbers most; small ones come last and can be accepted at once. Selecting one moves all slice
   views to it; **Boundary map** shows how sure the model is of its border. **Accept**,
   **Reject**, split, merge, or add a missed one with a click; the numbers follow every change, and
   **Undo** takes it back. Merged lesions count as reviewed if each of them was. Press
   **Finish review** when all are done.

   ![Boundary map over the lesion under review](Resources/tutorial-review.png)
5. **Export**: tick what you need, press **Export**, and choose a folder. **Cancel** leaves nothing
   behind.

   ![Review finished, and the formats of the export](Resources/tutorial-export.png)
"""


def main() -> int:
    """Make the pictures and write the section."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path.insert(0, str(README.parent / "CovidLesionSeg"))
    from Testing.host.application import Host

    host = Host()
    text = README.read_text(encoding="utf-8")
    new = replace_section(text, SECTION, play(host))
    README.write_text(new, encoding="utf-8", newline="\n")
    record()
    host.clear()
    return 0


if __name__ == "__main__":
    # Qt and VTK tear each other down in no good order when the interpreter ends.
    code = main()
    sys.stdout.flush()
    os._exit(code)
