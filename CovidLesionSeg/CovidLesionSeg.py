"""CovidLesionSeg: infection in chest CT, segmented, reviewed and measured.

The four classes that 3D Slicer looks for; everything they do is in CovidLesionSegLib.
"""

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class CovidLesionSeg(ScriptedLoadableModule):
    """What the module is called and who made it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("COVID-19 CT Lesion Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SegmentEditor", "Terminologies"]
        self.parent.contributors = ["The CovidLesionSeg developers"]
        self.parent.helpText = _(
            "Segments opacities in non-contrast chest CT with learned models, guides a review "
            "lesion by lesion, and measures per lobe. For research only. The bundled models may "
            "not be used commercially."
        )
        self.parent.acknowledgementText = _(
            "Re-implements Inf-Net, BSNet, co-supervision, dRAM and relation-driven networks; "
            "see the model cards for papers and data."
        )
        slicer.app.connect("startupCompleted()", onStartupCompleted)


def onStartupCompleted():
    """Register the sample data and the terminology of our segments."""
    from CovidLesionSegLib.app.startup import registerSampleData, registerTerminology

    registerSampleData()
    registerTerminology()


class CovidLesionSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel's life in the application."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._sceneTimer = None

    def setup(self):
        """Build the panel; nothing is computed and nothing third-party imported."""
        ScriptedLoadableModuleWidget.setup(self)
        import qt

        from CovidLesionSegLib.app.panel import Panel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/CovidLesionSeg.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = CovidLesionSegLogic()
        self.panel = Panel(self.ui)
        self._sceneTimer = qt.QTimer()
        self._sceneTimer.setSingleShot(True)
        self._sceneTimer.setInterval(0)
        self._sceneTimer.connect("timeout()", self.initializeParameterNode)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        for event in (scene.EndCloseEvent, scene.EndImportEvent, scene.EndBatchProcessEvent):
            self.addObserver(scene, event, self.onSceneChanged)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeRemoved)
        self.initializeParameterNode()

    def cleanup(self):
        """Stop a run and let go of the scene when the module is unloaded."""
        if self._sceneTimer is not None:
            self._sceneTimer.stop()
        self.setParameterNode(None)
        if self.panel is not None:
            self.panel.close()
        self.removeObservers()

    def enter(self):
        """Preselect the CT that is being looked at."""
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self):
        """Leave no keys and tools behind; a run goes on."""
        self.panel.exit()

    def onReload(self):
        """Reload the package as well; Slicer itself reloads this file only."""
        import sys

        for name in [name for name in sys.modules if name.startswith("CovidLesionSegLib")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, _caller, _event):
        """End what belongs to the scene that closes."""
        self.setParameterNode(None)
        self.panel.closeScene()

    def onSceneChanged(self, _caller, _event):
        """Begin again in the new scene, shown or not: a saved review opens itself.

        Not at once: nodes are still being put together, and Slicer's own widgets, the embedded
        Segment Editor among them, choose their nodes anew after these events.
        """
        self._sceneTimer.start()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, _caller, _event, node):
        """Tell the panel about a node that leaves."""
        self.panel.onNodeRemoved(node)

    def initializeParameterNode(self):
        """Use the scene's parameter node, and the active background volume as its CT.

        Not while the scene is being read: an event follows when it is complete.
        """
        if slicer.mrmlScene.IsBatchProcessing():
            return
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            self._parameterNode.inputVolume = self.logic.activeVolume()

    def setParameterNode(self, parameterNode):
        """Connect widgets and panel to a parameter node, or disconnect them with None."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(
                self._parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameters
            )
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(
                parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameters
            )
            self.panel.setParameterNode(parameterNode)

    def onParameters(self, _caller=None, _event=None):
        """Follow a change of the parameter node."""
        self.panel.update()


class CovidLesionSegLogic(ScriptedLoadableModuleLogic):
    """The module without its panel, for scripts.

    Example:
        >>> ct = slicer.util.loadVolume("ct.nii.gz")
        >>> logic = slicer.util.getModuleLogic("CovidLesionSeg")
        >>> result, nodes = logic.segment(ct)
        >>> result.quantification.row("total").measures["infected_percent"].value
    """

    def getParameterNode(self):
        """Return the parameter node with its types."""
        from CovidLesionSegLib.app.parameterNode import CovidLesionSegParameterNode

        return CovidLesionSegParameterNode(super().getParameterNode())

    def activeVolume(self):
        """Return the active background volume if it can be a CT, else None."""
        selection = slicer.app.applicationLogic().GetSelectionNode()
        node = slicer.mrmlScene.GetNodeByID(selection.GetActiveVolumeID() or "")
        isScalar = node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode"
        return node if isScalar else None

    def segment(self, volumeNode, lobesNode=None, onProgress=None, **options):
        """Segment a CT of the scene and wait for the result.

        :param volumeNode: vtkMRMLScalarVolumeNode.
        :param lobesNode: vtkMRMLSegmentationNode with lobes, or None.
        :param onProgress: called with stage and fraction 0..1.
        :param options: fields of SegmentOptions, for example ``device="cpu"``.
        :return: SegmentationResult and ResultNodes.
        :raises CovidLesionSegError: the scene is as it was.
        """
        from CovidLesionSegLib.app.scripting import segmentAndWait

        return segmentAndWait(volumeNode, lobesNode, onProgress, options)


class CovidLesionSegTest(ScriptedLoadableModuleTest):
    """The scenario of Testing/ in the application: click, review, export."""

    def setUp(self):
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run the scenario on the phantom with the real panel."""
        from CovidLesionSegLib.app.selfTest import runScenario

        self.setUp()
        runScenario(slicer.modules.covidlesionseg.widgetRepresentation().self(), self.delayDisplay)
