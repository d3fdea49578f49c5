"""Two batches in one folder, and a folder whose batch was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from CovidLesionSegLib.batch.lock import LOCK_FILE, folder_lock
from CovidLesionSegLib.errors import InputError

HOLD = (
    "import sys, pathlib\n"
    "from CovidLesionSegLib.batch.lock import folder_lock\n"
    "with folder_lock(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def test_a_second_batch_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(InputError) as caught, folder_lock(tmp_path):
        pass
    assert caught.value.code == "batch-locked"
    if os.name == "posix":
        assert f"process {first.pid} on " in caught.value.message
    first.kill()
    first.communicate()
    with folder_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK_FILE).read_text()
    with folder_lock(tmp_path):
        pass
