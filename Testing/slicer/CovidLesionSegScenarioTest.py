"""The scenario in the application, registered with CTest: click, review, edit, export."""

import unittest

import slicer


class CovidLesionSegScenarioTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_click_review_export(self):
        from CovidLesionSegLib.app.selfTest import runScenario

        widget = slicer.modules.covidlesionseg.widgetRepresentation().self()
        slicer.util.selectModule("CovidLesionSeg")
        runScenario(widget, lambda _text: None)
