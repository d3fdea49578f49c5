"""From click to table with a real CT, in the stand-in: ``python -m Testing.host.real_input CT...``.

Presses the buttons of the panel, lets the real worker run, and writes what every stage cost to
`Testing/benchmarks/panel.json`: processor seconds, which a busy machine hardly changes, and the
wall with the load beside it, which it does.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CovidLesionSegLib.engine.readers import read_ct

if TYPE_CHECKING:
    from Testing.host.application import Host

RECORD = Path(__file__).resolve().parents[1] / "benchmarks" / "panel.json"
_EXPORTED = ("seg-nrrd", "csv", "report", "review")


class Stages:
    """Times one stage after another, each in the panel's own process and in its workers."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def time(self, name: str, action: Callable[[], Any]) -> Any:
        """Do something and note what it cost."""
        own, workers, start = _cpu_s(), _children_s(), time.monotonic()
        result = action()
        self.rows.append(
            {
                "stage": name,
                "panel_cpu_s": round(_cpu_s() - own, 2),
                "worker_cpu_s": round(_children_s() - workers, 2),
                "wall_s": round(time.monotonic() - start, 2),
            }
        )
        return result


def measure(host: Host, path: Path, folder: Path) -> dict[str, Any]:
    """Click through one CT and return what it cost.

    Args:
        host: The application.
        path: A file, or the folder of a DICOM series.
        folder: An empty folder to export to.
    """
    from CovidLesionSegLib.app.dialogs import Dialogs

    stages, ui, longest = Stages(), host.ui, 0.0
    ct = stages.time("read the CT", lambda: read_ct(path))
    stages.time("add it to the scene", lambda: host.addCt(ct, "CT"))
    host.work("real")
    host.panel.export.run.command = host.panel.run.command

    def run() -> None:
        nonlocal longest
        ui.segmentButton.click()
        while host.panel.run.isBusy:
            start = time.monotonic()
            host.qtApplication.processEvents()
            longest = max(longest, time.monotonic() - start)
            time.sleep(0.005)

    stages.time("segment, from the click to the table", run)
    session = host.panel.review.session
    if session is None:
        raise RuntimeError(ui.statusLabel.text)
    lesions = len(session.lesions)
    stages.time("select a lesion", ui.nextButton.click)
    stages.time("accept it", ui.acceptButton.click)
    stages.time("reject the next", ui.rejectButton.click)
    stages.time("undo", ui.undoButton.click)
    ui.exportSection.collapsed = False
    for key, box in host.panel.export._boxes.items():
        box.setChecked(key in _EXPORTED)
    chosen = Dialogs.chooseFolder
    Dialogs.chooseFolder = lambda *_: str(folder)
    try:
        stages.time(f"export {', '.join(_EXPORTED)}", host.export)
    finally:
        Dialogs.chooseFolder = chosen
    return {
        "ct": path.name,
        "shape_zyx": list(ct.shape_zyx),
        "model": str(ui.modelComboBox.currentData),
        "lesions": lesions,
        "longest_block_while_segmenting_s": round(longest, 2),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
        "stages": stages.rows,
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Measure the CTs on the command line and write the record."""
    from Testing.host.application import Host

    host, rows = Host(), []
    for name in sys.argv[1:]:
        host.clear()
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(host, Path(name), Path(folder)))
    host.clear()
    RECORD.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    # Qt and VTK tear each other down in no good order when the interpreter ends.
    code = main()
    sys.stdout.flush()
    os._exit(code)
