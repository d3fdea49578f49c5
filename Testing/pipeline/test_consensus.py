"""Several models as one: what is joined, what they agree on, and who takes part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from CovidLesionSegLib.engine import inference, models, windowing
from CovidLesionSegLib.engine.inference import predict_infection
from CovidLesionSegLib.engine.models import consensus_members, open_infection_model
from CovidLesionSegLib.engine.pipeline import Networks, segment
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.quantify import quantify
from CovidLesionSegLib.engine.result import Prediction, SegmentationResult
from CovidLesionSegLib.engine.slice_model import Consensus, SliceModel
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.outputs import ModelOutput
from CovidLesionSegLib.resources import resources_dir
from CovidLesionSegLib.weights.packing import pack_model
from CovidLesionSegLib.weights.store import WeightsStore
from CovidLesionSegLib.weights.tensorfile import parse_tensor_file
from Testing.support.models import PackedModel, write_shelf

RECIPE = SliceRecipe(pixel_mm=1.5)
SCORES = {"pipeline": {"dice_diseased": {"mean": 0.714, "low": 0.6, "high": 0.8}}}


class Says(torch.nn.Module):
    """Gives every pixel the same probability."""

    def __init__(self, infection: float, boundary: float | None = None) -> None:
        super().__init__()
        self.infection, self.boundary = infection, boundary

    def forward(self, x: torch.Tensor) -> ModelOutput:
        shape = (x.shape[0], 1, *x.shape[-2:])
        edge = None if self.boundary is None else torch.full(shape, self.boundary).logit()
        return ModelOutput(torch.full(shape, self.infection).logit(), edge, {})


def member(name: str, module: torch.nn.Module, threshold: float = 0.5) -> SliceModel:
    return SliceModel(name, module, RECIPE, "cpu", 1.0, threshold, sha256=name * 2)


def make_ct() -> CtVolume:
    noise = np.random.default_rng(3).integers(-1200, 240, (5, 61, 75))
    return CtVolume.from_array(noise.astype(np.int16), np.diag([0.9, 1.1, 2.0, 1.0]))


def lungs_of(ct: CtVolume) -> np.ndarray:
    lungs = np.zeros(ct.shape_zyx, np.uint8)
    lungs[1:4, 20:50, 10:40] = 1
    return lungs


def test_mean_range_and_the_boundary_of_those_who_have_one() -> None:
    ct = make_ct()
    lungs = lungs_of(ct)
    consensus = Consensus(
        "a+b+c",
        (
            member("a", Says(0.9, 0.2), 0.44),
            member("b", Says(0.6)),
            member("c", Says(0.3, 0.4), 0.6),
        ),
    )
    found = predict_infection(ct, lungs, consensus, Reporter())
    inside = lungs > 0
    assert found.boundary is not None
    assert found.agreement is not None
    assert found.infection[inside] == pytest.approx(0.6, abs=1e-3)
    assert found.boundary[inside] == pytest.approx(0.3, abs=1e-3)
    assert found.agreement[inside] == pytest.approx(1 - 0.6, abs=1e-3)
    assert not found.infection[~inside].any()
    assert not found.boundary[~inside].any()
    assert (found.agreement[~inside] == 1).all()
    assert consensus.threshold == pytest.approx((0.44 + 0.5 + 0.6) / 3, abs=1e-4)
    assert consensus.weights_sha256 == {"a": "aa", "b": "bb", "c": "cc"}


def test_models_without_boundary_heads_have_no_boundary_map() -> None:
    ct = make_ct()
    consensus = Consensus("a+b", (member("a", Says(0.5)), member("b", Says(0.5))))
    assert predict_infection(ct, lungs_of(ct), consensus, Reporter()).boundary is None


def test_a_boundary_that_only_supervises_is_not_shown() -> None:
    ct = make_ct()
    hidden = replace(member("b", Says(0.5, 0.9)), shows_boundary=False)
    assert predict_infection(ct, lungs_of(ct), hidden, Reporter()).boundary is None
    consensus = Consensus("a+b", (member("a", Says(0.5, 0.2)), hidden))
    boundary = predict_infection(ct, lungs_of(ct), consensus, Reporter()).boundary
    assert boundary is not None
    assert boundary.max() == pytest.approx(0.2, abs=1e-3)
    assert not models.open_infection_model("co-supervision-lite", None, "cpu").shows_boundary


def test_no_lung_is_full_agreement() -> None:
    ct = make_ct()
    consensus = Consensus("a+b", (member("a", Says(0.5)), member("b", Says(0.9))))
    found = predict_infection(ct, np.zeros(ct.shape_zyx, np.uint8), consensus, Reporter())
    assert found.agreement is not None
    assert (found.agreement == 1).all()


def test_a_single_model_has_no_agreement() -> None:
    ct = make_ct()
    assert predict_infection(ct, lungs_of(ct), member("a", Says(0.5)), Reporter()).agreement is None


def test_equal_recipes_share_one_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[SliceRecipe] = []
    real = windowing.slice_stack

    def counted(hu: np.ndarray, spacing: tuple[float, float, float], recipe: SliceRecipe):  # type: ignore[no-untyped-def]
        made.append(recipe)
        return real(hu, spacing, recipe)

    monkeypatch.setattr(inference, "slice_stack", counted)
    ct = make_ct()
    coarse = replace(member("c", Says(0.4)), recipe=replace(RECIPE, pixel_mm=3.0))
    consensus = Consensus("a+b+c", (member("a", Says(0.6)), member("b", Says(0.8)), coarse))
    lungs = lungs_of(ct)
    found = predict_infection(ct, lungs, consensus, Reporter())
    assert made == [RECIPE, coarse.recipe]
    assert found.infection[lungs > 0] == pytest.approx(0.6, abs=1e-3)


@pytest.fixture(scope="module")
def lite() -> PackedModel:
    """The bundled model's entry and file."""
    store = WeightsStore(resources_dir(), Path("nowhere"))
    stored = store.find("inf-net-lite")
    return stored.entry, store.read(stored)


def perturbed(lite: PackedModel, name: str, seed: int, **changes: object) -> PackedModel:
    """Return the bundled model under another name, its weights shaken by two per cent."""
    entry, data = lite
    rng = np.random.default_rng(seed)
    tensors = {
        key: (value * (1 + 0.02 * rng.standard_normal(value.shape))).astype(value.dtype)
        if value.dtype.kind == "f"
        else value
        for key, value in parse_tensor_file(data).tensors.items()
    }
    kept = {k: v for k, v in entry.to_dict().items() if k not in ("file", "sha256", "bytes")}
    return pack_model({**kept, "id": name, **changes}, tensors)


@pytest.fixture(scope="module")
def store(lite: PackedModel, tmp_path_factory: pytest.TempPathFactory) -> WeightsStore:
    """The bundled model and a shaken copy, installed; another of the user; the lung model."""
    root = tmp_path_factory.mktemp("store")
    lungs = WeightsStore(resources_dir(), Path("nowhere"))
    lung_model = lungs.find("lung-unet-lite")
    single = {**lite[0].recipe, "context_mm": 0.0}
    shelf = write_shelf(
        root / "bundled",
        lite,
        perturbed(lite, "other-lite", 1, threshold=0.5),
        perturbed(lite, "pictures-only", 2, recipe=single),
        perturbed(lite, "study-only", 4, role="research", scores=SCORES),
        (lung_model.entry, lungs.read(lung_model)),
    )
    store = WeightsStore(shelf, root / "user")
    store.add(*perturbed(lite, "my-own", 3))
    return store


def test_the_consensus_is_what_is_installed_for_volumes(store: WeightsStore) -> None:
    assert consensus_members(store) == ("inf-net-lite", "other-lite")
    model = open_infection_model("consensus", None, "cpu", store)
    assert isinstance(model, Consensus)
    assert model.id == "consensus"
    assert model.threshold == pytest.approx((0.44 + 0.5) / 2)


def test_ids_joined_by_plus_may_name_any_model(store: WeightsStore) -> None:
    model = open_infection_model("my-own+inf-net-lite", None, "cpu", store)
    assert [m.id for m in model.members] == ["my-own", "inf-net-lite"]


def test_a_research_model_warns_alone_and_in_company(store: WeightsStore) -> None:
    for name in ("study-only", "inf-net-lite+study-only"):
        model = open_infection_model(name, None, "cpu", store)
        assert model.flags == ("research-model-dice-0.71",)
    assert open_infection_model("consensus", None, "cpu", store).flags == ()


def test_the_warning_reaches_the_whole_result(phantom_ct: CtVolume) -> None:
    model = replace(member("study", Says(0.01)), flags=("research-model-dice-0.71",))
    lungs = models.open_lung_model("cpu")
    result = segment(phantom_ct, networks=Networks(model, lungs))
    assert all("research-model-dice-0.71" in row.flags for row in result.quantification.rows)
    assert any("0.71" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("inf-net-lite+inf-net-lite", "consensus-repeats"),
        ("inf-net-lite+nothing", "model-unknown"),
        ("inf-net-lite+", "model-unknown"),
        ("inf-net-lite+lung-unet-lite", "model-wrong-task"),
    ],
)
def test_what_makes_no_consensus_is_refused(store: WeightsStore, name: str, code: str) -> None:
    with pytest.raises(InputError) as caught:
        open_infection_model(name, None, "cpu", store)
    assert caught.value.code == code


def test_one_model_alone_is_no_consensus(lite: PackedModel, tmp_path: Path) -> None:
    store = WeightsStore(write_shelf(tmp_path / "bundled", lite), tmp_path / "user")
    store.add(*perturbed(lite, "my-own", 3))
    with pytest.raises(InputError) as caught:
        open_infection_model("consensus", None, "cpu", store)
    assert caught.value.code == "consensus-too-small"
    assert "inf-net-lite" in caught.value.message


def test_a_weights_file_is_no_consensus(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_infection_model("consensus", tmp_path / "x.safetensors", "cpu")
    assert caught.value.code == "consensus-with-weights"


@pytest.fixture(scope="module")
def result(phantom_ct: CtVolume, store: WeightsStore) -> SegmentationResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "default_store", lambda: store)
        return segment(phantom_ct, model="consensus")


def test_the_whole_job_says_who_took_part(result: SegmentationResult) -> None:
    assert result.run.model_id == "consensus"
    assert list(result.run.weights_sha256) == ["inf-net-lite", "other-lite", "lung-unet-lite"]
    assert len(set(result.run.weights_sha256.values())) == 3


def test_lesions_and_table_carry_the_agreement(result: SegmentationResult) -> None:
    assert result.lesions
    agreements = [lesion.agreement for lesion in result.lesions]
    assert all(value is not None and 0 <= value <= 1 for value in agreements)
    assert min(value for value in agreements if value is not None) < 1
    percent = result.quantification.row("total").measures["agreement_percent"].value
    assert percent is not None
    assert 0 < percent < 100


def test_disagreement_widens_the_interval(result: SegmentationResult, phantom_ct: CtVolume) -> None:
    def width(prediction: Prediction) -> float:
        table = quantify(phantom_ct, result.infection, result.anatomy, prediction, result.lesions)
        measure = table.row("total").measures["infected_percent"]
        assert measure.low is not None
        assert measure.high is not None
        return measure.high - measure.low

    alone = replace(result.prediction, agreement=None)
    assert width(result.prediction) > width(alone)
