"""The guards that need the lungs: none found, and lungs that the scan cuts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CovidLesionSegLib.cli import main
from CovidLesionSegLib.engine.lungs import SIDES, segment_lungs
from CovidLesionSegLib.engine.phantom import Phantom
from CovidLesionSegLib.engine.pipeline import segment
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.writers import write_map


def test_a_chest_without_air_in_it_has_no_lung(
    phantom: Phantom, phantom_ct: CtVolume, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Lungs and airways are filled with water; the air around the patient stays.
    hu = phantom_ct.hu.copy()
    inside = np.zeros(hu.shape, bool)
    for z, y in np.ndindex(hu.shape[:2]):
        body = np.flatnonzero(hu[z, y] > -200)
        if body.size:
            inside[z, y, body[0] : body[-1]] = True
    hu[inside & (hu < 0)] = 0
    path = write_map(tmp_path / "drowned.nii.gz", hu, phantom_ct)
    assert main(["segment", str(path), "-o", str(tmp_path / "out"), "--quiet"]) == 2
    shown = capsys.readouterr().err
    assert "No lung was found" in shown
    assert "Check that" in shown
    assert not (tmp_path / "out").exists()
    assert phantom.lungs.any()  # the same patient has lungs when they are not filled


def test_a_cut_lung_is_flagged_in_every_row(phantom_ct: CtVolume) -> None:
    middle = phantom_ct.shape_zyx[0] // 2
    upper = replace(phantom_ct, hu=np.ascontiguousarray(phantom_ct.hu[middle:]))
    result = segment(upper)
    assert all("partial-lung" in row.flags for row in result.quantification.rows)
    assert any("cuts a lung" in warning for warning in result.warnings)


def test_a_mirrored_patient_is_noticed(phantom_ct: CtVolume) -> None:
    assert SIDES not in segment_lungs(phantom_ct).flags
    mirrored = replace(phantom_ct, hu=np.ascontiguousarray(phantom_ct.hu[..., ::-1]))
    assert segment_lungs(mirrored).flags == (SIDES,)
