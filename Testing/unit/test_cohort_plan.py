"""The arithmetic of a plan for a large cohort."""

from __future__ import annotations

from pathlib import Path

import pytest

from CovidLesionSegLib.batch.batch import Batch
from CovidLesionSegLib.batch.cases import make_case
from CovidLesionSegLib.batch.table import write_key
from Testing.cohort_plan import device_rows, measured_sizes, storage_rows

RUN = {
    "model": "m",
    "device": "cpu",
    "shape_zyx": [300, 512, 512],
    "median_s": {"lungs": 9.0, "infection": 27.0},
    "cpu_s": {"lungs": 18.0, "infection": 54.0},
}


def test_hours_of_cores_and_of_gpus() -> None:
    cores = device_rows(RUN, cases=1_000_000, days=10.0, price=0.5)
    assert [value for _, value in cores] == ["72.0", "20,000", "84", "10,000"]
    gpus = device_rows({**RUN, "device": "cuda:0"}, cases=1_000_000, days=10.0, price=None)
    assert [value for _, value in gpus] == ["36.0", "10,000", "42"]


def test_storage_is_what_a_batch_has_taken(tmp_path: Path) -> None:
    good, bad = (make_case(tmp_path / name) for name in ("a.nii", "b.nii"))
    good.path.write_bytes(bytes(5000))
    (tmp_path / "out").mkdir()
    batch = Batch(tmp_path / "out")
    write_key(batch.folder / "key.csv", [good, bad])
    (batch.cases / good.id).mkdir()
    (batch.cases / good.id / "result.json").write_bytes(bytes(700))
    (batch.cases / good.id / "overview.png").write_bytes(bytes(300))
    (batch.cases / bad.id).mkdir()
    sizes = measured_sizes(batch.folder)
    assert sizes == pytest.approx(
        {"CTs as they came (1 measured)": 5000, "overview.png": 300, "result.json": 700}
        | {"All results": 1000}
    )
    rows = storage_rows({"x": 2e6}, cases=10_000_000, price=3.0)
    assert [value for _, value in rows] == ["20.0 TB", "60"]
