"""The published schemas describe what is written, completely."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.engine.result_json import SCHEMA, result_to_json
from CovidLesionSegLib.export.tables import (
    TABLE_SCHEMA,
    TableSource,
    lobes_columns,
    write_lobes_csv,
    write_lobes_json,
)
from CovidLesionSegLib.resources import resources_dir
from Testing.support.report_job import report_job
from Testing.support.review_result import reviewable_result

jsonschema = pytest.importorskip("jsonschema")

KINDS = ("plain", "healthy", "no lobes", "no lungs", "reviewed")


def schema(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (resources_dir() / "schemas" / f"{name}-1.schema.json").read_text(encoding="utf-8")
    )
    return content


def closed(part: Any) -> Any:
    """Return the schema with no room for a name that it does not describe."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: closed(value) for key, value in part.items()}
    if part.get("type") == "object" and "properties" in part:
        made.setdefault("additionalProperties", False)
    return made


def errors(name: str, content: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(closed(schema(name)))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(content)]


def table_json(path: Path, kind: str) -> dict[str, Any]:
    result = report_job(kind).result
    write_lobes_json(path, result.quantification, result.run, TableSource.of(result))
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize(("name", "id_"), [("result", SCHEMA), ("lobes", TABLE_SCHEMA)])
def test_schemas_are_sound_and_named(name: str, id_: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$id"] == id_
    assert schema(name)["properties"]["schema"]["const"] == id_


@pytest.mark.parametrize("consensus", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_result_json_follows_its_schema(kind: str, consensus: bool) -> None:
    result = reviewable_result(consensus=True) if consensus else report_job(kind).result
    assert errors("result", json.loads(result_to_json(result, {"table": "lobes.csv"}))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_follows_its_schema(kind: str, tmp_path: Path) -> None:
    assert errors("lobes", table_json(tmp_path / "lobes.json", kind)) == []


@pytest.mark.parametrize(
    "path",
    [
        ("definitions",),
        ("ct", "sha256"),
        ("run", "threshold"),
        ("quantification", "rows", 0, "measures", "volume_ml", "unit"),
        ("lesions", 0, "state"),
    ],
)
def test_a_part_that_is_missing_or_wrong_is_found(path: tuple[str | int, ...]) -> None:
    content = json.loads(result_to_json(reviewable_result(), {}))
    for damage in ("missing", "wrong"):
        damaged = copy.deepcopy(content)
        place = damaged
        for step in path[:-1]:
            place = place[step]
        if damage == "missing":
            del place[path[-1]]
        else:
            place[path[-1]] = ["no such value"]
        assert errors("result", damaged)


def test_an_absent_value_needs_a_reason() -> None:
    content = json.loads(result_to_json(reviewable_result(), {}))
    measure = content["quantification"]["rows"][0]["measures"]["infected_percent"]
    measure.update(value=None)
    assert errors("result", content)
    measure.update(reason="no lobes")
    assert errors("result", content) == []


@pytest.mark.parametrize("kind", KINDS)
def test_csv_and_json_are_twins(kind: str, tmp_path: Path) -> None:
    result = report_job(kind).result
    source = TableSource.of(result)
    write_lobes_csv(tmp_path / "lobes.csv", result.quantification, result.run, source)
    with (tmp_path / "lobes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    twin = table_json(tmp_path / "lobes.json", kind)
    texts = {column.name for column in lobes_columns(result.quantification) if column.is_text}
    assert len(rows) == len(twin["rows"])
    for row, other in zip(rows, twin["rows"], strict=True):
        assert {**row} == {
            **{
                name: "" if value is None else value if name in texts else f"{value:.6g}"
                for name, value in other.items()
            },
            **twin["provenance"],
        }
    assert twin["provenance"]["ct_sha256"] == result.ct.digest()
