"""What other programs find in a DICOM SEG, on the grid of the CT."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from CovidLesionSegLib.engine.geometry import AxisOrientation
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.export.segments import segment_layers
from Testing.support.commands import command

Masks = dict[str, NDArray[np.bool_]]


def masks_of(result: SegmentationResult) -> Masks:
    """Return the segments with voxels by name, in LPS axis order."""
    masks = {
        definition.name: layer.labels == definition.label
        for layer in segment_layers(result)
        for definition in layer.segments
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def decoded_by_dcmqi(path: Path, ct: CtVolume, folder: Path) -> Masks:
    """Return the segments by name as dcmqi reads them."""
    folder.mkdir()
    converter = command("segimage2itkimage")
    subprocess.run(
        [converter, "--inputDICOM", path, "--outputDirectory", folder, "-t", "nrrd"],
        check=True,
        capture_output=True,
    )
    described = json.loads((folder / "meta.json").read_text())["segmentAttributes"]
    masks = {}
    for number, (attributes,) in enumerate(described, start=1):
        image = sitk.ReadImage(str(folder / f"{number}.nrrd"))
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        masks[attributes["SegmentLabel"]] = _on_grid(sitk.GetArrayFromImage(image), affine, ct)
    return masks


def decoded_by_highdicom(path: Path, ct: CtVolume) -> Masks:
    """Return the segments by name as highdicom reads them."""
    import highdicom as hd

    seg = hd.seg.segread(path)
    masks = {}
    for number in seg.segment_numbers:
        volume = seg.get_volume(segment_numbers=[number], combine_segments=True)
        # highdicom's index is (k, row, column), our affines' is (column, row, k).
        affine = volume.affine[:, [2, 1, 0, 3]]
        label = seg.get_segment_description(number).segment_label
        masks[label] = _on_grid(volume.array, affine, ct)
    return masks


def _on_grid(
    voxels_kji: NDArray[Any], affine: NDArray[np.float64], ct: CtVolume
) -> NDArray[np.bool_]:
    """Put a decoded volume, which may be cropped, onto the CT's grid by its own geometry."""
    orientation = AxisOrientation.from_affine(affine)
    lps = orientation.affine_to_lps_order(affine, voxels_kji.shape)
    np.testing.assert_allclose(lps[:3, :3], ct.affine_lps[:3, :3], atol=1e-4)
    start = np.linalg.solve(ct.affine_lps, lps[:, 3])[:3]
    np.testing.assert_allclose(start, np.round(start), atol=1e-3)
    x, y, z = np.round(start).astype(int)
    mask = orientation.to_lps(voxels_kji) > 0
    full = np.zeros(ct.shape_zyx, bool)
    full[z : z + mask.shape[0], y : y + mask.shape[1], x : x + mask.shape[2]] = mask
    assert full.sum() == mask.sum()
    return full
