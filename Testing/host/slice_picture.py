"""Draws what the axial slice view of the application shows, without a screen."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
)


class SliceView:
    """One offscreen slice view.

    Args:
        applicationLogic: vtkSlicerApplicationLogic.
        sliceLogic: vtkMRMLSliceLogic of the view.
        size: Width and height in pixels.
    """

    def __init__(self, applicationLogic: Any, sliceLogic: Any, size: int = 400) -> None:
        self._logic, self._size = sliceLogic, size
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(applicationLogic)
        for name in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        renderer = vtk.vtkRenderer()
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetSize(size, size)
        self._window.AddRenderer(renderer)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        renderer.AddViewProp(actor)
        # Managers that start without an initialised interactor crash.
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.Initialize()
        node = sliceLogic.GetSliceNode()
        node.SetDimensions(size, size, 1)
        sliceLogic.ResizeSliceNode(size, size)
        sliceLogic.FitSliceToAll(size, size)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.SetRenderer(renderer)
        self._group.Initialize(factory, renderer)
        self._group.SetMRMLDisplayableNode(node)

    def picture(self) -> NDArray[np.uint8]:
        """Return what is seen: uint8 ``[row, column, rgb]``, the top row first."""
        self._logic.UpdatePipeline()
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        self._window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self._window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        scalars = grabber.GetOutput().GetPointData().GetScalars()
        pixels = numpy_support.vtk_to_numpy(scalars).reshape(self._size, self._size, 3)
        return np.array(pixels[::-1])

    def close(self) -> None:
        """Let go of the view before the scene does."""
        self._group.SetMRMLDisplayableNode(None)
        self._window.Finalize()
