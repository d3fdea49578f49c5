"""A DICOM series of a hospital: segment objects of its size, decoded by another program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.export.dicom_seg import write_dicom_seg
from CovidLesionSegLib.export.dicom_sr import write_dicom_sr
from CovidLesionSegLib.export.job import ExportJob
from Testing.support.commands import dciodvfy_errors
from Testing.support.dicom_job import result_on
from Testing.support.secrets import leaks
from Testing.support.seg_decoding import decoded_by_dcmqi, masks_of

pytest.importorskip("highdicom", reason="DICOM export needs highdicom")


@pytest.mark.data
def test_seg_and_sr_of_a_real_series(data_dir: Path, tmp_path: Path) -> None:
    job = ExportJob(result_on(read_ct(data_dir / "lung_dx_dicom")))
    seg, sr = tmp_path / "x.seg.dcm", tmp_path / "x.sr.dcm"
    write_dicom_seg(job, seg)
    write_dicom_sr(job, sr)
    masks = decoded_by_dcmqi(seg, job.result.ct, tmp_path / "decoded")
    expected = masks_of(job.result)
    assert masks.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(masks[name], mask, err_msg=name)
    for path in (seg, sr):
        assert dciodvfy_errors(path) == []
    assert leaks([seg, sr], ["Lung_Dx-A0001", "20070404", "185824", "Brilliance"]) == []
