"""NRRD files, written without another package.

The format is described at http://teem.sourceforge.net/nrrd/format.html; only what volumes on a
CT's grid need is here: little-endian voxels, compressed, beside their header.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .deflate import Deflated, write_gzip
from .geometry import Affine

_TYPES = {
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "float32": "float",
}


def nrrd_header(
    dtype: np.dtype[Any],
    shape_kji: tuple[int, ...],
    affine_lps: Affine,
    layers: int = 1,
    fields: Mapping[str, str] | None = None,
) -> bytes:
    """Return the header of a compressed volume.

    Args:
        dtype: Type of the voxels: uint8, int16, uint16 or float32.
        shape_kji: Number of voxels along k, j and i.
        affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm.
        layers: Values per voxel; several lie one beside the other, in a list axis before i.
        fields: Key/value pairs to add, in their order.
    """
    sizes = [str(size) for size in shape_kji[::-1]]
    directions = [_vector(affine_lps[:3, axis]) for axis in range(3)]
    kinds = ["domain"] * 3
    if layers > 1:
        sizes, directions = [str(layers), *sizes], ["none", *directions]
        kinds = ["list", *kinds]
    lines = [
        "NRRD0005",
        f"type: {_TYPES[dtype.name]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(sizes)}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {' '.join(kinds)}",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(affine_lps[:3, 3])}",
        *(f"{key}:={value}" for key, value in (fields or {}).items()),
    ]
    return ("\n".join(lines) + "\n\n").encode()


def write_nrrd(file: IO[bytes], header: bytes, voxels: Deflated) -> None:
    """Write a header and the voxels that it describes."""
    file.write(header)
    write_gzip(file, voxels)


def _vector(values: NDArray[np.float64]) -> str:
    # Adding 0.0 turns -0.0 into 0.0.
    return f"({','.join(format(float(value) + 0.0, '.17g') for value in values)})"
