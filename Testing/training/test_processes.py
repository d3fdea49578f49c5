"""Training in several processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from CovidLesionSegLib.errors import InputError
from training.processes import (
    decided_by_first,
    first_then_others,
    layout,
    open_fabric,
    require_one_process,
)
from training.run_folder import RunFolder

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 120


def _start(rank: int, port: int, *arguments: str) -> subprocess.Popen[str]:
    launched = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "GROUP_RANK": 0,
        "WORLD_SIZE": 2,
        "LOCAL_WORLD_SIZE": 2,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": "test",
        "OMP_NUM_THREADS": 1,
        "PYTHONPATH": f"{_ROOT / 'CovidLesionSeg'}{os.pathsep}{_ROOT}",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "Testing.support.one_of_two_processes", *arguments],
        env={**os.environ, **{name: str(value) for name, value in launched.items()}},
        cwd=_ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_train_one_network(tiny_data: Path) -> None:
    folder = tiny_data.parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [_start(rank, port, str(folder), "lungs", "lung-unet") for rank in range(2)]
    try:
        for process in processes:
            _, complaint = process.communicate(timeout=_SECONDS)
            assert process.returncode == 0, complaint
    finally:
        for process in processes:
            process.kill()
    ends = [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]
    assert ends[0] == ends[1]
    assert ends[0]["processes"] == 2
    run = RunFolder(folder / "run")
    assert [row["step"] for row in run.read("training")] == [3]
    assert [row["step"] for row in run.read("validation")] == [2, 3]
    assert run.checkpoint.exists()


@pytest.mark.parametrize(
    ("launched", "expected"),
    [(("6", "2"), (2, 3)), (("1", "1"), (1, 1)), (("3", "2"), None)],
)
def test_the_launcher_says_how_many_processes_there_are(
    launched: tuple[str, str], expected: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    for name, value in zip(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), launched, strict=True):
        monkeypatch.setenv(name, value)
    if expected is not None:
        assert layout("cpu") == expected
        return
    with pytest.raises(InputError, match="3 processes") as caught:
        layout("cpu")
    assert caught.value.code == "training-processes-uneven"


@pytest.mark.parametrize("devices", ["no-such-device", "cuda"])
def test_a_device_that_is_not_there_is_refused(devices: str) -> None:
    if devices == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match=devices) as caught:
        open_fabric(devices, "32-true")
    assert caught.value.code == "training-device"


def test_what_needs_one_process_is_not_started_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    require_one_process(fabric, "Collaborative training")
    monkeypatch.setattr(Fabric, "world_size", 2)
    with pytest.raises(InputError, match="Collaborative training runs in one process, not in 2"):
        require_one_process(fabric, "Collaborative training")


def test_one_process_is_the_first_and_decides() -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    assert decided_by_first(fabric, True, False) == (True, False)
    assert first_then_others(fabric, lambda: "made") == "made"

    def refuse() -> str:
        raise InputError("no", "It is refused.")

    with pytest.raises(InputError, match="It is refused"):
        first_then_others(fabric, refuse)
