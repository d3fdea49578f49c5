"""What is registered when Slicer has started."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.resources import resources_dir

_TERMINOLOGY = "SegmentationCategoryTypeModifier-CovidLesionSeg.term.json"
_CHEST_CT_URL = (
    "https://github.com/rbumm/SlicerLungCTAnalyzer/releases/download/SampleData/"
    "LungCTAnalyzerChestCT.nrrd"
)
_CHEST_CT_CHECKSUM = "SHA256:9bb74f4383bce0ced80243916e785ce564cc2c8f535e8273da8a04f80dff4287"


def registerTerminology() -> None:
    """Load the terms for ground glass and consolidation, which Slicer's own lists lack."""
    logic = slicer.modules.terminologies.logic()
    logic.LoadTerminologyFromFile(str(resources_dir() / _TERMINOLOGY))


def registerSampleData() -> None:
    """Offer two chests in the module Sample Data.

    The phantom is computed, so that the tutorial works offline. The CT of a patient with
    COVID-19 is the demonstration scan of the Lung CT Analyzer extension; Sample Data downloads
    it when it is clicked, never before, and checks its digest.
    """
    import SampleData

    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    register(
        category=_("COVID-19 CT"),
        sampleName=_("Chest phantom with infection"),
        thumbnailFileName=_thumbnail("SamplePhantom"),
        customDownloader=loadPhantom,
    )
    register(
        category=_("COVID-19 CT"),
        sampleName=_("Chest CT with COVID-19"),
        thumbnailFileName=_thumbnail("CovidLesionSeg"),
        uris=_CHEST_CT_URL,
        fileNames="CovidChestCT.nrrd",
        nodeNames="CovidChestCT",
        loadFileType="VolumeFile",
        checksums=_CHEST_CT_CHECKSUM,
    )


def _thumbnail(name: str) -> str:
    return str(resources_dir() / "Icons" / f"{name}.png")


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
