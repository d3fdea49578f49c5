"""A job for the worker, made from nodes of the scene."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import slicer

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.jobs.exchange import Job, write_job

from .volume_input import checkVolumeNode, provenanceOfNode
from .volume_node import affineLpsFromNode, arrayFromNode

_LOBES_FILE = "lobes.seg.nrrd"


def writeJobFromScene(
    folder: Path, ctNode: Any, options: Mapping[str, Any], lobesNode: Any | None = None
) -> Path:
    """Write a job into a folder; its voxels are checked by the worker.

    Args:
        folder: An empty folder that is deleted after the run.
        ctNode: vtkMRMLScalarVolumeNode.
        options: Fields of `SegmentOptions`, JSON-ready.
        lobesNode: vtkMRMLSegmentationNode with lobes, or None for the built-in atlas.

    Returns:
        Path of the `job.json`.

    Raises:
        InputError: ``input-no-volume``, ``input-not-linear``, ``lobes-not-readable``.
    """
    checkVolumeNode(ctNode)
    if lobesNode is not None:
        _writeLobes(folder / _LOBES_FILE, ctNode, lobesNode)
    job = Job(
        voxels_kji=arrayFromNode(ctNode),
        affine_lps=affineLpsFromNode(ctNode),
        provenance=provenanceOfNode(ctNode),
        options=options,
        lobes_file=_LOBES_FILE if lobesNode is not None else "",
    )
    return write_job(folder, job)


def _writeLobes(path: Path, ctNode: Any, lobesNode: Any) -> None:
    if lobesNode.GetTransformNodeID() != ctNode.GetTransformNodeID():
        raise InputError(
            "lobes-not-readable",
            "The lobes and the CT lie under different transforms.",
            "Put both under the same transform, or harden it.",
        )
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(False)
    if not lobesNode.GetSegmentation().CreateRepresentation(
        "Binary labelmap"
    ) or not storage.WriteData(lobesNode):
        raise InputError(
            "lobes-not-readable",
            f"{lobesNode.GetName()} has no label map.",
            "Choose a segmentation with one segment per lobe.",
        )
