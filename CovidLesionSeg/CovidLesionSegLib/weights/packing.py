"""Weights files that describe themselves: tensors and their catalogue entry in one file.

The description travels as JSON in the file's metadata, so that a file that lost its
catalogue can still be used, and so that a catalogue entry can always be made from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import CovidLesionSegError

from .catalogue import SCHEMA, CatalogueEntry
from .tensorfile import TensorFile, Tensors, parse_tensor_file, serialise_tensor_file

_METADATA = "covid-lesion-seg"
_OF_THE_FILE = ("file", "sha256", "bytes")


def pack_model(description: Mapping[str, Any], tensors: Tensors) -> tuple[CatalogueEntry, bytes]:
    """Make a weights file and the catalogue entry that goes with it.

    Args:
        description: A catalogue entry as in JSON without ``file``, ``sha256`` and ``bytes``,
            which follow from the result. Floating-point tensors are stored as its ``dtype``.
        tensors: Arrays under the names of the network.

    Returns:
        The entry, and the content of a file to be stored under ``entry.file``.

    Raises:
        CovidLesionSegError: ``catalogue-invalid``, or ``weights-not-finite`` when a value is
            NaN, infinite, or too large for the ``dtype``.
    """
    draft = {**description, "file": f"{description.get('id')}.safetensors"}
    # Checked before anything is made of it; digest and size come last.
    entry = CatalogueEntry.from_dict({**draft, "sha256": "0" * 64, "bytes": 1})
    stored = {name: _stored(array, np.dtype(entry.dtype)) for name, array in tensors.items()}
    require_finite(stored, f"the model {entry.id!r}")
    text = json.dumps(
        {"schema": SCHEMA, "model": dict(description)}, ensure_ascii=False, allow_nan=False
    )
    data = serialise_tensor_file(stored, {_METADATA: text})
    return CatalogueEntry.from_dict({**draft, **_fingerprint(data)}), data


def unpack_model(data: bytes, file: str) -> tuple[CatalogueEntry, TensorFile]:
    """Read a self-describing weights file.

    Args:
        data: Content of the file.
        file: Its plain name.

    Raises:
        CovidLesionSegError: ``weights-format``, ``weights-undescribed`` for a file without
            a description, or ``catalogue-invalid``.
    """
    content = parse_tensor_file(data)
    if not is_described(content):
        raise CovidLesionSegError(
            "weights-undescribed",
            f"The file {file} holds weights, but does not say of which network.",
            "Add it with 'covid-lesion-seg models import'.",
        )
    description = _description(content.metadata[_METADATA], file)
    values = {**description, "file": f"{description.get('id')}.safetensors", **_fingerprint(data)}
    return CatalogueEntry.from_dict(values), content


def is_described(content: TensorFile) -> bool:
    """Say whether a safetensors file carries a description of ours."""
    return _METADATA in content.metadata


def require_finite(tensors: Tensors, label: str) -> None:
    """Refuse tensors with NaN or infinite values.

    Raises:
        CovidLesionSegError: ``weights-not-finite``; the message names the tensors.
    """
    bad = [name for name, array in tensors.items() if not np.isfinite(array).all()]
    if bad:
        raise CovidLesionSegError(
            "weights-not-finite",
            f"Some tensors of {label} hold values that are not numbers ({len(bad)} in all): "
            f"{', '.join(bad[:10])}.",
            "The training went wrong or the file is damaged.",
        )


def _description(text: str, file: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _undecipherable(file) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise _undecipherable(file)
    description = document.get("model")
    if not isinstance(description, dict) or not set(_OF_THE_FILE).isdisjoint(description):
        raise _undecipherable(file)
    return description


def _undecipherable(file: str) -> CovidLesionSegError:
    return CovidLesionSegError(
        "catalogue-invalid",
        f"The description inside {file} can't be read.",
        "The file may have been written by a newer version of CovidLesionSeg.",
    )


def _fingerprint(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _stored(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    with np.errstate(over="ignore"):  # what overflows is reported by require_finite
        return array.astype(dtype, copy=False)
