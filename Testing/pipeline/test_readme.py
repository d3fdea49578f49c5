"""The README, followed to the letter in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SETS_UP = "python3 dev.py"
"""Such lines make an environment and run these very tests; `.ci/run` runs them instead."""

TOLERANCE_POINTS = 0.5
"""The tutorial's percentages may differ that much, as on another processor they will."""


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run(*words: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which every command of the README has been run, in its order."""
    folder = tmp_path_factory.mktemp("newcomer")
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if not line.startswith(SETS_UP)]
    assert {words[0] for words in commands} == {"covid-lesion-seg"}
    for words in commands:
        run("-m", "CovidLesionSegLib.cli", *words[1:], folder=folder)
    for number, code in enumerate(blocks("python")):
        script = folder / f"block{number}.py"
        script.write_text(code, encoding="utf-8")
        run(script.name, folder=folder)
    return folder


def test_every_command_and_every_python_block_works(followed: Path) -> None:
    made = {path.name for path in followed.iterdir()}
    assert {"ct.nii.gz", "result", "accurate", "export", "cohort"} <= made
    assert len(list((followed / "export").iterdir())) >= 3


def test_the_folder_of_a_result_holds_what_the_table_says(followed: Path) -> None:
    section = README[README.index("`segment` takes") : README.index("### Many scans")]
    named = re.findall(r"`([\w.]+\.(?:nrrd|gz|csv|png|mrb|json))`", section)
    assert len(named) >= 7
    missing = {name for name in named if not (followed / "accurate" / name).is_file()}
    assert not missing


def test_the_tutorials_numbers_come_out(followed: Path) -> None:
    found = json.loads((followed / "result" / "result.json").read_text(encoding="utf-8"))
    rows = {row["label"]: row["measures"] for row in _rows(found)}
    begin, end = README.index("<!-- tutorial:"), README.index("<!-- /tutorial")
    told = re.findall(r"^\| ([^|]+) \| (\d+) \| ([\d.]+) \|", README[begin:end], re.MULTILINE)
    assert len(told) == 8
    for label, volume_ml, infected in told:
        measures: dict[str, Any] = rows[label]
        assert measures["volume_ml"]["value"] == pytest.approx(float(volume_ml), rel=0.02)
        percent = measures["infected_percent"]["value"]
        assert percent == pytest.approx(float(infected), abs=TOLERANCE_POINTS)


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = result["quantification"]["rows"]
    return rows


def test_links_and_pictures_exist() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert len(targets) > 10
    local = [target for target in targets if not target.startswith("https://")]
    assert [target for target in local if not _exists(*target.partition("#")[::2])] == []


def _exists(path: str, heading: str) -> bool:
    target = REPOSITORY / path
    if not target.exists() or not heading:
        return target.exists()
    titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_the_messages_under_troubleshooting_are_those_of_the_program() -> None:
    section = README[README.index("## Troubleshooting") : README.index("## Privacy")]
    messages = re.findall(r"^\| ([A-Z][^|]+) \|", section, re.MULTILINE)
    assert len(messages) >= 8
    folder = REPOSITORY / "CovidLesionSeg"
    source = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    assert [message for message in messages if message.strip() not in joined] == []
