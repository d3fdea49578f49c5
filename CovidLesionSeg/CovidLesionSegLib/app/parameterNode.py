"""What the panel remembers in the scene."""

# No postponed annotations here: Slicer's wrapper reads the types themselves.
from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


@parameterNodeWrapper
class CovidLesionSegParameterNode:
    """The choices of the panel.

    Attributes:
        inputVolume: The CT.
        resultSegmentation: The result that is shown and reviewed.
        lobes: A segmentation with lobes; none for the built-in atlas.
        model: Id of a model in the catalogue; empty for the default.
        device: ``"auto"``, ``"cpu"``, ``"cuda:N"`` or ``"mps"``.
        weights: A weight file to use instead of the catalogue's; may be empty.
        useThreshold: Whether ``threshold`` replaces the model's own.
        threshold: Probability at which a voxel counts as infected.
        mapOpacity: Opacity of boundary and agreement map over the CT.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    resultSegmentation: vtkMRMLSegmentationNode
    lobes: vtkMRMLSegmentationNode
    model: str = ""
    device: str = "auto"
    weights: str = ""
    useThreshold: bool = False
    threshold: Annotated[float, WithinRange(0.01, 0.99)] = 0.5
    mapOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.6
