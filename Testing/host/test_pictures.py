"""What the slice views show: outline in its colour, maps over the CT, nothing when hidden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.mrml.display import jumpTo
from Testing.host.application import Host
from Testing.host.slice_picture import SliceView
from Testing.support.review_result import reviewable_result

Picture = NDArray[np.uint8]


@pytest.fixture
def view(host: Host) -> Iterator[SliceView]:
    host.addCt(reviewable_result().ct)
    host.segment("consensus")
    session = host.panel.review.session
    view = SliceView(host.mrml.logic, host.sliceLogics[0])
    jumpTo(host.scene, session.pointOf(1))
    yield view
    view.close()


def orange(picture: Picture) -> int:
    """Number of pixels in the colour of the infection's outline."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return int(np.sum((red > 180) & (red - blue > 90) & (abs(green - 119) < 60)))


def bluish(picture: Picture) -> int:
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    return int(np.sum(blue - red > 40))


def save(picture: Picture, name: str, folder: Path) -> None:
    from PySide6.QtGui import QImage

    data = np.ascontiguousarray(picture)
    height, width, _ = data.shape
    image = QImage(data.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    image.save(str(folder / f"{name}.png"))


def test_outline_maps_and_rejection_are_seen(host: Host, view: SliceView, tmp_path: Path) -> None:
    plain = view.picture()
    save(plain, "outline", tmp_path)
    assert orange(plain) > 200
    assert bluish(plain) < 50
    host.ui.boundaryCheckBox.setChecked(True)
    boundary = view.picture()
    save(boundary, "boundary", tmp_path)
    assert bluish(boundary) > 200
    host.ui.agreementCheckBox.setChecked(True)
    agreement = view.picture()
    save(agreement, "agreement", tmp_path)
    assert np.any(agreement != boundary)
    host.ui.agreementCheckBox.setChecked(False)
    assert np.array_equal(view.picture(), plain)
    row = [lesion.id for lesion in host.panel.review.session.lesions].index(1)
    host.ui.lesionTable.selectRow(row)
    shown = orange(view.picture())
    host.ui.rejectButton.click()
    host.ui.lesionTable.selectRow(row)
    rejected = view.picture()
    save(rejected, "rejected", tmp_path)
    assert orange(rejected) < shown / 2
