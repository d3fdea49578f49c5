"""The scenario of the in-Slicer self test, with the real worker where a model is installed."""

from __future__ import annotations

import pytest

from CovidLesionSegLib.engine.models import DEFAULT_MODEL
from CovidLesionSegLib.weights.store import default_store
from Testing.host.application import Host


def _model_is_there() -> bool:
    return any(model.entry.id == DEFAULT_MODEL for model in default_store().models())


@pytest.mark.slow
@pytest.mark.skipif(not _model_is_there(), reason="the default model is not bundled")
def test_click_review_export_on_the_phantom(host: Host) -> None:
    from CovidLesionSegLib.app.selfTest import runScenario

    host.work("real")
    runScenario(host.widget, lambda _text: None, host.qtApplication.processEvents)
    assert host.panel.review.session.isFinished
