"""The smallest application that MRML needs, without Qt and without 3D Slicer."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from CovidLesionSegLib.errors import CovidLesionSegError


@dataclass(frozen=True)
class HeadlessApplication:
    """A scene and what must stay alive beside it.

    Attributes:
        scene: vtkMRMLScene with colour nodes.
        logic: vtkSlicerApplicationLogic.
    """

    scene: Any
    logic: Any

    @classmethod
    def start(cls) -> HeadlessApplication:
        """Make a scene with the logics that display and storage nodes ask for."""
        scene = slicer.vtkMRMLScene()
        logic = slicer.vtkSlicerApplicationLogic()
        logic.SetMRMLScene(scene)
        colors = logic.GetColorLogic()
        colors.SetMRMLScene(scene)
        colors.AddDefaultColorNodes()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        return cls(scene, logic)

    def save(self, path: Path) -> None:
        """Write the scene as ``.mrb``.

        Raises:
            CovidLesionSegError: ``scene-not-written``.
        """
        if not self.scene.WriteToMRB(str(path)):
            raise CovidLesionSegError(
                "scene-not-written",
                f"The scene {path.name} could not be written.",
                "Look whether the disk is full; the other files hold the same result.",
            )

    def load(self, path: Path, replace: bool = True) -> None:
        """Replace the scene by the content of an ``.mrb``, or add it to the scene.

        Raises:
            CovidLesionSegError: ``scene-not-read``.
        """
        remote = slicer.vtkMRMLRemoteIOLogic()
        remote.SetMRMLScene(self.scene)
        remote.SetMRMLApplicationLogic(self.logic)
        manager = slicer.vtkDataIOManagerLogic()
        manager.SetMRMLScene(self.scene)
        manager.SetMRMLApplicationLogic(self.logic)
        manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
        with tempfile.TemporaryDirectory() as cache:
            remote.GetCacheManager().SetRemoteCacheDirectory(cache)
            remote.AddDataIOToScene()
            try:
                read = self.scene.ReadFromMRB(str(path), replace)
            finally:
                remote.RemoveDataIOFromScene()
        if not read:
            raise CovidLesionSegError(
                "scene-not-read", f"{path.name} could not be read.", "Write it again."
            )
