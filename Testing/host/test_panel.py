"""What stands around a run: installing torch, versions, choices, texts one click away."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from CovidLesionSegLib.engine.models import DEFAULT_MODEL
from Testing.host.application import Host
from Testing.support.review_result import reviewable_result


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    from CovidLesionSegLib.app import torchRequirement

    monkeypatch.setattr(torchRequirement, "torchIsInstalled", lambda: False)
    return monkeypatch


def extension(monkeypatch: pytest.MonkeyPatch, install: Callable[..., Any]) -> None:
    """Put a stand-in of the PyTorch extension where it is imported from."""
    module = types.ModuleType("PyTorchUtils")

    class PyTorchUtilsLogic:
        installTorch = staticmethod(install)

    module.PyTorchUtilsLogic = PyTorchUtilsLogic  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)


@pytest.mark.usefixtures("ct", "without_torch")
def test_without_the_extension_the_user_reads_what_to_press(host: Host) -> None:
    host.ui.segmentButton.click()
    assert "Extensions Manager, search for PyTorch" in host.ui.statusLabel.text
    assert host.asked == []


@pytest.mark.usefixtures("ct")
def test_torch_is_asked_for_once_and_nothing_starts_without_consent(
    host: Host, without_torch: pytest.MonkeyPatch
) -> None:
    installed: list[Any] = []
    extension(without_torch, lambda **keywords: installed.append(keywords))
    host.answers = [False]
    host.ui.segmentButton.click()
    assert len(host.asked) == 1
    assert "about 200 MB" in host.asked[0]
    assert "may not be used commercially" in host.asked[0]
    assert installed == []
    assert "Nothing was installed" in host.ui.statusLabel.text
    assert not host.panel.run.isBusy


@pytest.mark.usefixtures("ct")
def test_only_keywords_that_the_extension_knows_are_passed(
    host: Host, without_torch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []

    def old(askConfirmation: bool = True) -> str:
        given.append({"askConfirmation": askConfirmation})
        return "torch"

    extension(without_torch, old)
    host.answers = [True]
    host.ui.segmentButton.click()
    host.wait(lambda: not host.panel.run.isBusy)
    assert given == [{"askConfirmation": False}]
    assert host.panel.run.state.name == "DONE"


@pytest.mark.usefixtures("ct")
def test_a_failed_installation_is_a_sentence(host: Host, without_torch: pytest.MonkeyPatch) -> None:
    def broken(**_keywords: Any) -> None:
        raise RuntimeError("no network")

    extension(without_torch, broken)
    host.answers = [True]
    host.ui.segmentButton.click()
    assert "could not be installed. no network" in host.ui.statusLabel.text


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("ERROR: No matching distribution found for torch>=2.4", "no PyTorch for Python 3."),
        ("SSL: CERTIFICATE_VERIFY_FAILED", "not trusted"),
        ("OSError: [Errno 28] No space left on device", "Free some space"),
        ("[WinError 206] The filename or extension is too long", "short folder"),
        ("The NVIDIA driver on your system is too old", "Update the driver"),
        ("something never seen", "Python console"),
    ],
)
@pytest.mark.usefixtures("ct")
def test_a_known_failure_of_pip_names_the_next_step(
    host: Host, without_torch: pytest.MonkeyPatch, reason: str, step: str
) -> None:
    def broken(**_keywords: Any) -> None:
        raise RuntimeError(reason)

    extension(without_torch, broken)
    host.answers = [True]
    host.ui.segmentButton.click()
    assert step in host.ui.statusLabel.text


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("shutil.disk_usage", lambda _: types.SimpleNamespace(free=2.0e9), "2.0 GB are free"),
        ("os.access", lambda *_: False, "can't be written to"),
        ("platform.system", lambda: "Windows", "folder whose name is too long"),
    ],
)
@pytest.mark.usefixtures("ct")
def test_what_makes_the_installation_fail_is_said_before_the_download(
    host: Host, without_torch: pytest.MonkeyPatch, name: str, value: Any, words: str
) -> None:
    from CovidLesionSegLib.app import torchRequirement

    extension(without_torch, lambda **_: None)
    without_torch.setattr(f"{torchRequirement.__name__}.{name}", value)
    without_torch.setattr(torchRequirement, "NEEDED_GB", 0.0 if "free" not in words else 8.0)
    without_torch.setattr(torchRequirement, "LONGEST_WINDOWS_FOLDER", 3)
    host.ui.segmentButton.click()
    assert words in host.ui.statusLabel.text
    assert host.asked == []


@pytest.mark.usefixtures("host")
def test_sample_data_and_terms_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    from CovidLesionSegLib.app import startup

    sources: list[dict[str, Any]] = []
    loaded: list[str] = []

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(**values: Any) -> None:
            sources.append(values)

    class Terminologies:
        def LoadTerminologyFromFile(self, path: str) -> None:
            loaded.append(path)

    module = types.ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "SampleData", module)
    handle = types.SimpleNamespace(logic=Terminologies)
    monkeypatch.setattr(slicer.modules, "terminologies", handle, raising=False)
    for started in slicer.app.started:
        started()
    assert [Path(path).suffixes for path in loaded] == [[".term", ".json"]]
    assert all(Path(path).is_file() for path in loaded)
    assert len(sources) == 2
    for source in sources:
        assert Path(source["thumbnailFileName"]).is_file()
        assert source.get("customDownloader") is startup.loadPhantom or source["checksums"]


def test_reload_takes_the_package_anew(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    import CovidLesionSegLib.app.texts

    before = {name: module for name, module in sys.modules.items() if "CovidLesionSeg" in name}
    called: list[bool] = []
    base = type(host.widget).__mro__[1]
    monkeypatch.setattr(base, "onReload", lambda _self: called.append(True))
    host.widget.onReload()
    assert called == [True]
    assert CovidLesionSegLib.app.texts.__name__ not in sys.modules
    assert "CovidLesionSeg" in sys.modules
    sys.modules.update(before)


def test_an_old_slicer_is_told_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    monkeypatch.setattr(type(slicer.app), "minorVersion", 10)
    host.addCt(reviewable_result().ct)
    assert not host.ui.segmentButton.enabled
    assert "needs 3D Slicer 5.12 or newer; this is 5.10" in host.ui.segmentButton.toolTip


def test_what_is_no_ct_is_refused_before_the_click(host: Host) -> None:
    node = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    host.ui.inputSelector.setCurrentNode(node)
    assert not host.ui.segmentButton.enabled
    assert "has no voxels" in host.ui.segmentButton.toolTip


@pytest.mark.parametrize(
    ("button", "words"),
    [
        ("intendedUseButton", "must not be used for diagnosis"),
        ("licenceButton", "Apache License 2.0"),
        ("modelCardButton", DEFAULT_MODEL),
    ],
)
def test_the_small_print_is_one_click_away(host: Host, button: str, words: str) -> None:
    getattr(host.ui, button).click()
    assert words in host.panel._dialogs._help.toPlainText()


def test_what_is_not_commercial_says_so_where_everybody_looks(host: Host) -> None:
    import slicer

    import CovidLesionSeg
    from CovidLesionSegLib.app.choices import default_store
    from CovidLesionSegLib.app.texts import licenceText, termsText

    terms = termsText()
    assert host.ui.termsLabel.text == terms
    assert not host.ui.termsLabel.isHidden()
    assert terms in CovidLesionSeg.CovidLesionSeg(types.SimpleNamespace()).parent.helpText
    slicer.app.started.pop()
    repository = Path(__file__).resolve().parents[2]
    assert terms in (repository / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "none of the bundled ones may be used commercially" in licenceText()
    # The sentence speaks for all of them: it has to change with the first that is free.
    for stored in default_store().models():
        licence = stored.entry.card.licence
        assert "-NC-" in licence or licence.startswith("Research only"), stored.entry.id


@pytest.mark.usefixtures("ct")
def test_choices_reach_the_worker_and_stay_in_the_scene(host: Host) -> None:
    from CovidLesionSegLib.app.choices import optionsOf

    ui, parameters = host.ui, host.widget._parameterNode
    assert optionsOf(parameters) == {"device": "auto", "model": DEFAULT_MODEL}
    assert not ui.thresholdSlider.enabled
    ui.thresholdCheckBox.setChecked(True)
    assert ui.thresholdSlider.enabled
    ui.thresholdSlider.setValue(0.35)
    ui.deviceComboBox.setCurrentIndex(ui.deviceComboBox.findData("cpu"))
    ui.weightsPathLineEdit.setCurrentPath("mine.safetensors")
    options = optionsOf(parameters)
    assert (options["threshold"], options["device"]) == (0.35, "cpu")
    assert options["weights"] == "mine.safetensors"
    node = parameters.parameterNode
    assert node.GetParameter("device") == "cpu"
    assert node.GetScene() is host.scene


@pytest.fixture
def two_models(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A catalogue in which a consensus is possible; what the list shows."""
    from CovidLesionSegLib.app import choices

    monkeypatch.setattr(choices, "consensusMembers", lambda: ("bsnet-lite", DEFAULT_MODEL))
    choices.fillChoices(host.ui)
    box = host.ui.modelComboBox
    return [box.itemData(row) for row in range(box.count)]


@pytest.mark.usefixtures("ct")
def test_fast_or_accurate_is_chosen_and_remembered(host: Host, two_models: list[str]) -> None:
    from CovidLesionSegLib.app.choices import fillChoices, optionsOf

    box = host.ui.modelComboBox
    assert two_models[:2] == [DEFAULT_MODEL, "consensus"]
    assert box.itemText(0).startswith("Fast: ")
    assert box.itemText(1).startswith("Accurate: consensus of 2 models")
    box.setCurrentIndex(1)
    assert optionsOf(host.widget._parameterNode)["model"] == "consensus"
    host.ui.deviceComboBox.setCurrentIndex(host.ui.deviceComboBox.findData("cpu"))
    host.scene.Clear(0)
    host.rest(0.05)
    assert optionsOf(host.widget._parameterNode) == {"device": "cpu", "model": "consensus"}
    box.setCurrentIndex(0)
    fillChoices(host.ui)


@pytest.mark.usefixtures("ct")
def test_a_research_model_comes_last_and_warns(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    import qt

    from CovidLesionSegLib.app import choices, modelCard
    from CovidLesionSegLib.engine.flags import research_flag, warnings_for

    default, *others = (e for e in choices.infectionModels() if e.role != "research")
    scores = {"pipeline": {"dice_diseased": {"mean": 0.714, "low": 0.6, "high": 0.8}}}
    card = replace(default.card, scores=scores)
    study = replace(default, id="a-study", role="research", card=card)
    stored = [SimpleNamespace(entry=entry) for entry in (study, *others, default)]
    monkeypatch.setattr(choices, "default_store", lambda: SimpleNamespace(models=lambda: stored))
    choices.fillChoices(host.ui)
    box = host.ui.modelComboBox
    last = box.count - 1
    assert (box.itemData(0), box.itemData(last)) == (default.id, "a-study")
    assert box.itemText(last) == "Research: a-study"
    choices.showTimes(host.ui, "auto", 0)
    assert warnings_for([research_flag(0.714)])[0] in box.itemData(last, qt.Qt.ToolTipRole)
    assert "a-study (research)" in modelCard.modelCardText("a-study")
    monkeypatch.undo()
    choices.fillChoices(host.ui)


@pytest.mark.usefixtures("two_models")
def test_times_come_from_runs_that_were_timed(host: Host) -> None:
    from CovidLesionSegLib.app.choices import fillChoices, showTimes
    from CovidLesionSegLib.app.runTime import expectedTime, rememberTime

    box, ct = host.ui.modelComboBox, reviewable_result().ct
    rememberTime("consensus", "auto", ct.hu.size, 30.0)
    host.addCt(ct)
    assert box.itemText(1).endswith("models · about 30 s")
    time = expectedTime("consensus", "auto", 4 * ct.hu.size)
    assert time is not None
    # A chest as small as this takes little longer than starting.
    assert 30.0 < time.seconds < 40.0
    showTimes(host.ui, "auto", 100_000_000)
    assert box.itemText(1).endswith("models · about 2 min")
    rememberTime("consensus", "cuda:0", 1000, 5.0)
    time = expectedTime("consensus", "cuda:0", 4000)
    assert time is not None
    assert time.seconds == pytest.approx(20.0)  # nobody has recorded two sizes there
    assert expectedTime("consensus", "cuda:1", 1000) is None
    host.segment()
    seconds = host.panel.run.seconds
    own = expectedTime(DEFAULT_MODEL, "auto", ct.hu.size)
    assert own is not None
    assert own.seconds == pytest.approx(seconds)
    assert f"about {max(1, round(seconds))} s" in box.itemText(0)
    fillChoices(host.ui)


@pytest.mark.usefixtures("host")
def test_the_record_of_times_is_what_the_benchmark_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from CovidLesionSegLib.app import runTime

    entry = {
        "model": DEFAULT_MODEL,
        "device": "cpu",
        "machine": "a laptop",
        "shape_zyx": [10, 20, 30],
        "median_s": {"read": 1.0, "infection": 5.0},
    }
    (tmp_path / "run-times.json").write_text(json.dumps([entry]))
    monkeypatch.setattr(runTime, "resources_dir", lambda: tmp_path)
    time = runTime.expectedTime(DEFAULT_MODEL, "auto", 12000)
    assert time == runTime.RunTime(12.0, "a laptop")
    assert runTime.expectedTime(DEFAULT_MODEL, "cuda:0", 12000) is None
    larger = {**entry, "shape_zyx": [10, 20, 60], "median_s": {"read": 8.0}}
    (tmp_path / "run-times.json").write_text(json.dumps([larger, entry]))
    time = runTime.expectedTime(DEFAULT_MODEL, "auto", 18000)
    assert time is not None
    assert time.seconds == pytest.approx(4.0 + 18000 * 2.0 / 6000)


@pytest.mark.usefixtures("ct")
def test_diagnostics_hold_versions_and_the_last_error_but_no_names(host: Host) -> None:
    import qt

    host.work("fail")
    host.ui.segmentButton.click()
    host.wait(lambda: not host.panel.run.isBusy)
    host.ui.diagnosticsButton.click()
    text = qt.QApplication.clipboard().text()
    facts = json.loads(text)
    assert facts["versions"]["Slicer"] == "5.12.0-host"
    assert facts["last_error"][0] == "input-not-hu"
    assert "Chest CT" not in text


def test_importing_the_entry_file_imports_nothing_else() -> None:
    import subprocess

    code = (
        "import sys, types\n"
        "for name in ('slicer', 'vtk', 'slicer.i18n', 'slicer.util', "
        "'slicer.ScriptedLoadableModule'):\n"
        "    module = types.ModuleType(name)\n"
        "    module.__getattr__ = lambda attribute: type(attribute, (), {})\n"
        "    sys.modules[name] = module\n"
        "sys.modules['vtk'].calldata_type = lambda kind: lambda function: function\n"
        "sys.modules['vtk'].VTK_OBJECT = 0\n"
        "import CovidLesionSeg\n"
        "heavy = {'numpy', 'scipy', 'torch', 'SimpleITK', 'qt', 'CovidLesionSegLib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    folder = Path(__file__).resolve().parents[2] / "CovidLesionSeg"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
