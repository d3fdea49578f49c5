"""lungmask's lobes, with a stand-in for lungmask itself."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lobes import find_lobes
from CovidLesionSegLib.engine.lobes_lungmask import lobes_from_lungmask
from CovidLesionSegLib.engine.lungs import LungMask
from CovidLesionSegLib.engine.pipeline import SegmentOptions
from CovidLesionSegLib.engine.result import LobeSource
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from Testing.support.block_chest import SPACING_MM_XYZ, make_anatomy, make_ct


class _Inferer:
    """Answers with the block chest's lobes in lungmask's order of labels."""

    def __init__(self, modelname: str) -> None:
        assert modelname == "LTRCLobes"

    def apply(self, image: sitk.Image) -> NDArray[np.uint8]:
        assert image.GetSpacing() == SPACING_MM_XYZ
        lobes = make_anatomy().lobes
        assert lobes is not None
        return np.array([0, 3, 4, 5, 1, 2], dtype=np.uint8)[lobes]


class _Broken(_Inferer):
    def apply(self, image: sitk.Image) -> NDArray[np.uint8]:
        raise RuntimeError(f"no weights for {image.GetSize()}")


def _install(monkeypatch: pytest.MonkeyPatch, inferer: type | None) -> None:
    module = None if inferer is None else types.SimpleNamespace(LMInferer=inferer)
    monkeypatch.setitem(sys.modules, "lungmask", module)


def test_lobes_in_lungmasks_order(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, _Inferer)
    truth = make_anatomy()
    anatomy = lobes_from_lungmask(make_ct(), LungMask(truth.lungs, ()))
    np.testing.assert_array_equal(anatomy.lobes, truth.lobes)
    assert anatomy.lobe_source is LobeSource.LUNGMASK
    assert not anatomy.lobe_source.is_approximate


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, None)
    with pytest.raises(InputError) as caught:
        lobes_from_lungmask(make_ct(), LungMask(make_anatomy().lungs, ()))
    assert caught.value.code == "lungmask-missing"


def test_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, _Broken)
    with pytest.raises(CovidLesionSegError) as caught:
        lobes_from_lungmask(make_ct(), LungMask(make_anatomy().lungs, ()))
    assert caught.value.code == "lungmask-failed"


def test_asked_for_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, _Inferer)
    truth = make_anatomy()
    assert SegmentOptions(lobes=Path("lungmask")).lobes == "lungmask"
    anatomy = find_lobes(make_ct(), LungMask(truth.lungs, ()), "lungmask")
    assert anatomy.lobe_source is LobeSource.LUNGMASK


def test_refused_before_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, None)
    with pytest.raises(InputError) as caught:
        SegmentOptions(lobes="lungmask")
    assert caught.value.code == "lungmask-missing"
    assert "atlas" in caught.value.hint
