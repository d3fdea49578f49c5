"""The segmentation file: round trip on every grid, bytes, and damage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CovidLesionSegLib.engine.geometry import AxisOrientation
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.export.seg_nrrd import read_segmentation, write_segmentation
from CovidLesionSegLib.export.segments import segment_definition, segment_layers
from Testing.support.results import make_ct, make_result


def test_all_orientations_come_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "segmentation.seg.nrrd"
    base = make_result()
    for number, orientation in enumerate(AxisOrientation.all()):
        ct = make_ct(base.ct.hu, orientation=orientation, degrees=3.0 * (number % 5))
        result = replace(base, ct=ct)
        write_segmentation(path, result)

        stored = read_segmentation(path)

        np.testing.assert_array_equal(stored.affine_lps, result.ct.input_affine_lps)
        for layer in segment_layers(result):
            labels = result.ct.to_input_grid(layer.labels)
            for definition in layer.segments:
                np.testing.assert_array_equal(
                    stored.mask_kji(definition.id), labels == definition.label
                )


def test_one_layer_is_three_dimensional(tmp_path: Path) -> None:
    result = make_result(with_opacity=False, with_lobes=False)
    no_lungs = np.zeros_like(result.anatomy.lungs)
    result = replace(result, anatomy=replace(result.anatomy, lungs=no_lungs))
    path = tmp_path / "segmentation.seg.nrrd"
    write_segmentation(path, result)

    assert b"dimension: 3\n" in path.read_bytes()[:1000]
    stored = read_segmentation(path)
    assert [segment.id for segment in stored.segments] == ["infection"]
    np.testing.assert_array_equal(stored.mask_kji("infection"), result.infection == 1)


def test_names_colours_and_codes_are_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "segmentation.seg.nrrd"
    write_segmentation(path, make_result())

    for segment in read_segmentation(path).segments:
        definition = segment_definition(segment.id)
        assert segment.name == definition.name
        assert segment.color == pytest.approx(definition.color, abs=1e-6)
        assert segment.tags["TerminologyEntry"] == definition.terminology_entry
        expected = "built-in atlas" if definition.layer == "lobes" else None
        if expected:
            assert segment.tags["CovidLesionSeg.Source"] == expected


def test_the_same_result_gives_the_same_bytes_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_segmentation(tmp_path / "first.seg.nrrd", make_result())
    monkeypatch.setattr("time.time", lambda: 0.0)
    write_segmentation(tmp_path / "second.seg.nrrd", make_result())

    first = (tmp_path / "first.seg.nrrd").read_bytes()
    assert first == (tmp_path / "second.seg.nrrd").read_bytes()
    assert b"\n#" not in first.split(b"\n\n", 1)[0]


@pytest.mark.parametrize("content", [b"", b"no image", b"NRRD0005\ntype: uint8\n\n"])
def test_what_is_no_segmentation_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.seg.nrrd"
    path.write_bytes(content)

    with pytest.raises(InputError) as caught:
        read_segmentation(path)

    assert caught.value.code == "segmentation-not-read"


def test_a_truncated_segmentation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "segmentation.seg.nrrd"
    write_segmentation(path, make_result())
    path.write_bytes(path.read_bytes()[:-200])

    with pytest.raises(InputError) as caught:
        read_segmentation(path)

    assert caught.value.code == "segmentation-not-read"


def test_a_missing_segment_is_a_key_error(tmp_path: Path) -> None:
    path = tmp_path / "segmentation.seg.nrrd"
    write_segmentation(path, make_result())

    with pytest.raises(KeyError):
        read_segmentation(path).mask_kji("heart")
