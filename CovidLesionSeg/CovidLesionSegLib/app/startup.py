"""What is registered when Slicer has started."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.resources import resources_dir

_TERMINOLOGY = "SegmentationCategoryTypeModifier-CovidLesionSeg.term.json"


def registerTerminology() -> None:
    """Load the terms for ground glass and consolidation, which Slicer's own lists lack."""
    logic = slicer.modules.terminologies.logic()
    logic.LoadTerminologyFromFile(str(resources_dir() / _TERMINOLOGY))


def registerSampleData() -> None:
    """Offer the phantom in the module Sample Data; it is computed, nothing is downloaded."""
    import SampleData

    icon = str(resources_dir() / "Icons" / "CovidLesionSeg.png")
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=_("COVID-19 CT"),
        sampleName=_("Chest phantom with infection"),
        thumbnailFileName=icon,
        customDownloader=loadPhantom,
    )


def loadPhantom(_source: object = None) -> list[object]:
    """Compute the phantom and add it to the scene as the active volume.

    Returns:
        The volume node, in a list, as Sample Data wants it.
    """
    from CovidLesionSegLib.engine.phantom import PhantomSpec, make_phantom
    from CovidLesionSegLib.engine.volume import CtVolume, Provenance
    from CovidLesionSegLib.mrml.display import setLungWindow
    from CovidLesionSegLib.mrml.volume_node import addCtVolume

    phantom = make_phantom(PhantomSpec())
    provenance = Provenance("array", _("Chest phantom"))
    node = addCtVolume(
        slicer.mrmlScene, CtVolume.from_array(phantom.hu, phantom.affine, provenance)
    )
    setLungWindow(node)
    selection = slicer.app.applicationLogic().GetSelectionNode()
    selection.SetActiveVolumeID(node.GetID())
    slicer.app.applicationLogic().PropagateVolumeSelection()
    return [node]
