"""Draw the phantom's picture for the module Sample Data: ``python Testing/pictures/thumbnail.py``.

A coronal slice in the lung window, at the size that Slicer's own thumbnails have.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from CovidLesionSegLib.engine.phantom import PhantomSpec, make_phantom

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = REPOSITORY / "CovidLesionSeg" / "Resources" / "Icons" / "SamplePhantom.png"
HEIGHT, WIDTH = 260, 280
LUNG_WINDOW_HU = (-1350, 150)


def main() -> None:
    """Write the thumbnail."""
    spec = PhantomSpec()
    phantom = make_phantom(spec)
    _z, y, _x = (axis.mean() for axis in np.nonzero(phantom.hu.astype(int) < -600))
    image = sitk.GetImageFromArray(phantom.hu[::-1, round(y), :].astype(np.float32))
    # Square pixels, head up, the chest filling the frame.
    step = max(image.GetSize()[1] * spec.spacing_mm_zyx[0] / HEIGHT, 1.0)
    image.SetSpacing((spec.spacing_mm_zyx[2], spec.spacing_mm_zyx[0]))
    centre = [(n - 1) * s / 2 for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    origin = [c - step * (n - 1) / 2 for c, n in zip(centre, (WIDTH, HEIGHT), strict=True)]
    frame = sitk.Resample(
        image,
        (WIDTH, HEIGHT),
        sitk.Transform(),
        sitk.sitkLinear,
        origin,
        (step, step),
        (1.0, 0.0, 0.0, 1.0),
        -1000.0,
    )
    window = sitk.IntensityWindowing(frame, *LUNG_WINDOW_HU, 0, 255)
    sitk.WriteImage(sitk.Cast(window, sitk.sitkUInt8), str(TARGET))


if __name__ == "__main__":
    main()
