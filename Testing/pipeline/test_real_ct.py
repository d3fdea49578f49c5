"""The main job on real CT, as the command line does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the field's own abbreviation

from CovidLesionSegLib.cli import main
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.export.seg_nrrd import read_segmentation

CASES = {
    "coronacases_003": "coronacases/coronacases_003_ct.nii.gz",
    "dicom": "lung_dx_dicom/Lung_Dx-A0001_5mm",
}

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module", params=CASES)
def case(
    request: pytest.FixtureRequest, data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Return the CT and the folder with its results."""
    ct = data_dir / CASES[request.param]
    folder = tmp_path_factory.mktemp("real") / request.param
    assert main(["segment", str(ct), "-o", str(folder), "--quiet"]) == 0
    return ct, folder


def test_maps_and_segments_lie_on_exactly_the_input_grid(case: tuple[Path, Path]) -> None:
    ct = read_ct(case[0])
    size = ct.to_input_grid(ct.hu).shape[::-1]
    affine = ct.input_affine_lps
    for name in ("probability.nii.gz", "boundary.nii.gz"):
        image = sitk.ReadImage(str(case[1] / name))
        assert image.GetSize() == size
        columns = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        assert columns == pytest.approx(affine[:3, :3], abs=1e-5)
        assert image.GetOrigin() == pytest.approx(affine[:3, 3], abs=1e-3)
    content = read_segmentation(case[1] / "segmentation.seg.nrrd")
    assert content.affine_lps == pytest.approx(affine, abs=1e-9)


def test_the_numbers_close(case: tuple[Path, Path]) -> None:
    saved = json.loads((case[1] / "result.json").read_text())
    rows = {row["region"]: row["measures"] for row in saved["quantification"]["rows"]}

    def sum_of(regions: tuple[str, ...], measure: str) -> float:
        return sum(rows[region][measure]["value"] for region in regions)

    for measure in ("volume_ml", "infected_ml"):
        total = rows["total"][measure]["value"]
        assert sum_of(("right-lung", "left-lung"), measure) == pytest.approx(total, rel=1e-4)
        lobes = sum_of(("RUL", "RML", "RLL", "LUL", "LLL"), measure)
        assert lobes == pytest.approx(total, rel=1e-4)
    assert 1500 < rows["total"]["volume_ml"]["value"] < 8000


def test_infection_agrees_with_the_expert(case: tuple[Path, Path], data_dir: Path) -> None:
    if "coronacases" not in case[0].name:
        pytest.skip("only coronacases has an expert's mask")
    expert = sitk.GetArrayFromImage(
        sitk.ReadImage(str(data_dir / "coronacases/coronacases_003_infection.nii.gz"))
    )
    found = read_segmentation(case[1] / "segmentation.seg.nrrd").mask_kji("infection")
    overlap = 2 * np.count_nonzero(found & (expert > 0))
    # A floor against accidents, well below the score on the model's card.
    assert overlap / (np.count_nonzero(found) + np.count_nonzero(expert)) > 0.7


@pytest.mark.mrml
def test_the_scene_holds_the_same_segments(case: tuple[Path, Path]) -> None:
    pytest.importorskip("slicer")
    from CovidLesionSegLib.mrml.headless import HeadlessApplication
    from Testing.mrml.reading import segment_mask

    application = HeadlessApplication.start()
    application.load(case[1] / "scene.mrb")
    scene: Any = application.scene
    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert segmentation.GetDisplayNode() is not None
    assert scene.GetFirstNodeByClass("vtkMRMLTableNode").GetNumberOfRows() == 8
    content = read_segmentation(case[1] / "segmentation.seg.nrrd")
    for segment_id in (segment.id for segment in content.segments):
        expected = content.mask_kji(segment_id)
        found, _ = segment_mask(segmentation, segment_id, expected.shape)
        assert np.array_equal(found, expected), segment_id
