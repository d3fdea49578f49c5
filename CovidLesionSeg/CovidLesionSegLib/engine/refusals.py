"""Refusals that several readers and guards share; each caller raises what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from CovidLesionSegLib.errors import InputError


def damaged(name: str, reason: str) -> InputError:
    """A damaged file."""
    return InputError(
        "input-truncated",
        f"{name} can't be read: {reason}.",
        "Copy or download the file again, or export the CT again.",
    )


def forbidden(path: Path) -> InputError:
    """A file or folder without permission."""
    return InputError(
        "input-permission",
        f"{path.name} may not be read with your user account.",
        "Ask for permission to read it, or copy it to a folder of your own.",
    )


def sheared(angle_deg: float | None = None) -> InputError:
    """A tilted or sheared grid."""
    by = "" if angle_deg is None else f" by {angle_deg:.1f} degrees"
    return InputError(
        "input-sheared",
        f"The slices are sheared against each other{by}, as with a tilted gantry.",
        "Straighten the scan first: in 3D Slicer, turn on acquisition geometry regularization "
        "in the DICOM settings, load the series, harden the transform and save the volume.",
    )


def rescale_missing(lowest: int | None = None) -> InputError:
    """Unscaled CT numbers; ``lowest`` is the lowest one."""
    seen = "Some slices lack a usable rescale"
    if lowest is not None:
        seen = f"The intensities look unscaled (lowest value {lowest}): rescale intercept missing"
    return InputError(
        "input-rescale-missing",
        f"{seen}, so they are not Hounsfield units.",
        "Export the CT again with rescale slope and intercept applied; often it is enough to "
        "subtract 1024.",
    )


def not_finite() -> InputError:
    """NaN or infinite voxels."""
    return InputError(
        "input-not-finite",
        "Some voxels are not numbers or infinite.",
        "Replace them by -1024 HU (air), or export the CT again.",
    )


def too_large(counts: Sequence[int]) -> InputError:
    """Too many voxels, or a header that claims them."""
    return InputError(
        "input-too-large",
        f"The header announces {' x '.join(f'{count:,}' for count in counts)} voxels; that is "
        "too large.",
        "Crop the scan to the chest. If it is not that large, the header is damaged: export the "
        "CT again.",
    )


def disoriented(reason: str) -> InputError:
    """Direction cosines or an origin that can't be."""
    return InputError(
        "input-orientation",
        f"The position or orientation in the header is damaged: {reason}.",
        "Export the CT again from the original DICOM series.",
    )
