"""The benchmark: what it measures, what it writes, and the ratios by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from CovidLesionSegLib.cli import main
from CovidLesionSegLib.commands import benchmark, benchmark_child, outputs
from CovidLesionSegLib.commands.benchmark import _families, _median
from CovidLesionSegLib.commands.benchmark_child import measure_reference, peak_memory_gb
from CovidLesionSegLib.commands.benchmark_report import (
    benchmark_table,
    machine,
    reference_s,
    total_s,
    write_chart,
)
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.result import SegmentationResult


def made_up() -> dict[str, Any]:
    stages = {"read": 1.0, "lungs": 2.0, "infection": 5.0, "write": 2.0}
    entry = {
        "model": "inf-net-lite",
        "members": ["inf-net-lite"],
        "device": "cpu",
        "shape_zyx": [100, 64, 64],
        "median_s": stages,
        "cpu_s": stages,
        "peak_gb": 1.5,
    }
    per_slice = {"s_per_slice": {"inf-net": 0.5}, "cpu_s_per_slice": {"inf-net": 0.8}}
    reference = {**per_slice, "peak_gb": 1.0}
    return {"machine": machine(), "ct": "phantom", "reference": reference, "runs": [entry]}


def test_ratios_are_of_the_reference_over_all_slices() -> None:
    record = made_up()
    (entry,) = record["runs"]
    assert reference_s(record, entry) == pytest.approx(50.0)
    assert total_s(entry) == pytest.approx(10.0)
    text = Console(width=200)
    with text.capture() as capture:
        text.print(benchmark_table(record))
    table = capture.get()
    assert "5.0 (10.0)" in table  # the network's stage
    assert "10.0 (5.0)" in table  # the whole job
    assert "16.0" in table  # the network's stage in processor seconds
    assert "20.0" in table  # slices per second of the network's stage


def test_without_a_reference_there_are_no_ratios(tmp_path: Path) -> None:
    record = {**made_up(), "reference": {}}
    assert reference_s(record, record["runs"][0]) is None
    text = Console(width=200)
    with text.capture() as capture:
        text.print(benchmark_table(record))
    assert "n/a" in capture.get()
    write_chart(tmp_path / "chart.png", record)
    assert (tmp_path / "chart.png").stat().st_size > 1000


def test_a_family_without_published_slices_has_no_ratios_and_spoils_no_others() -> None:
    assert _families(["relation-lite", "dram-lite"]) == []
    assert _families(["dram-lite", "bsnet-lite"]) == ["bsnet"]
    record = made_up()
    (entry,) = record["runs"]
    record["runs"].append({**entry, "model": "relation-lite", "members": ["relation-lite"]})
    assert reference_s(record, record["runs"][0]) == pytest.approx(50.0)
    assert reference_s(record, record["runs"][1]) is None
    text = Console(width=200)
    with text.capture() as capture:
        text.print(benchmark_table(record))
    assert "n/a" in capture.get()


def test_the_median_counts_and_the_largest_peak() -> None:
    repeated = [
        {"median_s": {"read": s}, "cpu_s": {"read": 2 * s}, "peak_gb": s, "model": "a"}
        for s in (3.0, 1.0, 2.0)
    ]
    found = _median(repeated)
    assert found["median_s"] == {"read": 2.0}
    assert found["cpu_s"] == {"read": 4.0}
    assert found["peak_gb"] == 3.0
    assert found["runs"] == 3


def test_the_reference_runs_every_family_at_paper_scale() -> None:
    found = measure_reference(["inf-net", "co-supervision"], slices=1, device="cpu", frame=64)
    assert set(found["s_per_slice"]) == {"inf-net", "co-supervision"}
    assert all(seconds > 0 for seconds in found["s_per_slice"].values())
    assert found["frame"] == {"inf-net": 64, "co-supervision": 64}


def test_peak_memory_is_what_was_held_at_most() -> None:
    before = peak_memory_gb()
    block = bytearray(300_000_000)
    block[::4096] = b"x" * len(block[::4096])
    after = peak_memory_gb()
    del block
    assert before is not None
    assert after is not None
    assert after >= before
    assert after > 0.3
    assert peak_memory_gb() == after


def test_the_command_measures_a_file_and_writes_the_records(
    phantom_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def in_this_process(order: dict[str, Any]) -> dict[str, Any]:
        return benchmark_child.measure_job(**order["job"], device=order["device"])

    def write_nothing(_result: SegmentationResult, _folder: Path, reporter: Reporter) -> None:
        with reporter.stage("write"):
            pass

    monkeypatch.setattr(benchmark, "measure_in_child", in_this_process)
    monkeypatch.setattr(outputs, "write_outputs", write_nothing)
    record, times = tmp_path / "record", tmp_path / "times.json"
    options = ["--models", "inf-net-lite", "--reference-slices", "0", "--device", "cpu", "--json"]
    files = ["--ct", str(phantom_file), "-o", str(record), "--run-times", str(times)]
    smaller = {"model": "inf-net-lite", "device": "cpu", "shape_zyx": [1, 2, 3]}
    times.write_text(json.dumps([smaller]))
    assert main(["benchmark", *options, *files]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((record / "benchmark.json").read_text())
    (entry,) = printed["runs"]
    assert entry["members"] == ["inf-net-lite"]
    assert {"read", "lungs", "infection", "write"} <= set(entry["median_s"])
    assert 0.2 < entry["peak_gb"] < 3
    assert (record / "benchmark.png").is_file()
    kept, time = json.loads(times.read_text())
    assert kept == smaller
    again = [{**entry, "machine": "a laptop", "median_s": {"read": 1.0}}]
    assert [e["machine"] for e in benchmark._joined_times(times, again)[1:]] == ["a laptop"]
    assert set(time) == {"model", "device", "machine", "shape_zyx", "median_s"}


def test_a_measurement_in_its_own_process_that_fails_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct = tmp_path / "no.nii.gz"
    ct.write_bytes(b"")
    options = ["--ct", str(ct), "--models", "inf-net-lite", "--reference-slices", "0"]
    assert main(["benchmark", *options]) == 3
    assert "empty" in capsys.readouterr().err
