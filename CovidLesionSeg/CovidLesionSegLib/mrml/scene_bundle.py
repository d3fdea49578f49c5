"""A scene bundle, ``.mrb``: a ZIP archive with the scene's description and its data files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np

from CovidLesionSegLib.engine.deflate import Deflated
from CovidLesionSegLib.engine.nrrd_file import nrrd_header, write_nrrd
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.export.packed import PackedResult
from CovidLesionSegLib.export.seg_nrrd import segmentation_header

_NO_TIME = (1980, 1, 1, 0, 0, 0)
_CT, _SEGMENTATION = "ct", "segmentation"
_MAPS = {"boundary-map": "boundary", "agreement-map": "agreement"}
_NRRD_FRAME = 1 << 10
"""More than a gzip member adds to its content."""


def is_complete_bundle(path: Path) -> bool:
    """Return whether a bundle holds a scene and data; MRML can fail without saying so."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as bundle:
        suffixes = {Path(name).suffix for name in bundle.namelist()}
    return {".mrml", ".nrrd"} <= suffixes


def fill_bundle(
    outline: Path, target: Path, result: SegmentationResult, packed: PackedResult
) -> None:
    """Write a bundle with the voxels of a result, from one with stand-ins for them.

    The same result gives the same bytes, as far as MRML describes it in the same words.

    Args:
        outline: What `scene_child` wrote.
        target: File to write.
        result: The result.
        packed: Its voxels.

    Raises:
        KeyError: The outline lacks a file for some of the voxels.
    """
    with zipfile.ZipFile(outline) as source, zipfile.ZipFile(target, "w") as bundle:
        names = source.namelist()
        (scene,) = (name for name in names if name.endswith(".mrml"))
        folder = PurePosixPath(scene).parent
        writers = _data_writers(source.read(scene), folder, result, packed)
        for name in names:
            entry = zipfile.ZipInfo(name, _NO_TIME)
            if name not in writers:
                bundle.writestr(entry, source.read(name))
                continue
            header, voxels = writers[name]()
            # Told beforehand, so that the archive is ready for more than 2 GB.
            entry.file_size = len(header) + sum(map(len, voxels.blocks)) + _NRRD_FRAME
            with bundle.open(entry, "w") as file:
                write_nrrd(file, header, voxels)


def _data_writers(
    scene_xml: bytes, folder: PurePosixPath, result: SegmentationResult, packed: PackedResult
) -> dict[str, Callable[[], tuple[bytes, Deflated]]]:
    """Return header and voxels for every data file that the scene keeps voxels in."""
    files = data_files(scene_xml, folder)
    writers: dict[str, Callable[[], tuple[bytes, Deflated]]] = {
        files[_CT]: lambda: (_volume_header(result, np.dtype(np.int16)), packed.ct()),
        files[_SEGMENTATION]: lambda: (
            segmentation_header(result),
            packed.segmentation(),
        ),
    }
    header = _volume_header(result, np.dtype(np.float32))
    for role, name in _MAPS.items():
        if getattr(result.prediction, name) is not None:
            writers[files[role]] = lambda name=name: (header, packed.map(name))  # type: ignore[misc]
    return writers


def _volume_header(result: SegmentationResult, dtype: np.dtype[np.generic]) -> bytes:
    shape = result.ct.orientation.input_view(result.ct.hu).shape
    return nrrd_header(dtype, shape, result.ct.input_affine_lps)


def data_files(scene_xml: bytes, folder: PurePosixPath) -> dict[str, str]:
    """Return the members of a bundle that hold voxels, by their role in the result.

    Args:
        scene_xml: The scene's description.
        folder: Its folder in the archive.

    Returns:
        Member names by ``"ct"``, ``"segmentation"``, ``"boundary-map"``, ``"agreement-map"``.
    """
    # Written by our own process just now, so no foreign XML.
    root = ElementTree.fromstring(scene_xml)
    stored = {node.get("id"): node.get("fileName", "") for node in root}
    files = {}
    for node in root:
        if node.tag not in ("Volume", "Segmentation"):
            continue
        role = re.search(r"CovidLesionSeg\.Role:([\w-]+)", node.get("attributes", ""))
        storage = re.search(r"storage:(\w+)", node.get("references", ""))
        if storage is not None:
            name = unquote(stored[storage.group(1)])
            files[role.group(1) if role else _CT] = str(folder / name)
    return files
