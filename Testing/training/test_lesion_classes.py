"""Ground glass and consolidation against experts: the HU scale, the rules and their scores."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from CovidLesionSegLib.engine.definitions import CONSOLIDATION_FROM_HU
from CovidLesionSegLib.engine.lesion_classes import (
    BORDER_SCORES,
    OWN_SCORES,
    open_class_model,
)
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.outputs import ModelOutput
from CovidLesionSegLib.nets.registry import create_from_config
from CovidLesionSegLib.weights.catalogue import RESEARCH, format_catalogue, read_catalogue
from CovidLesionSegLib.weights.store import WeightsStore
from Testing.support.tiny_volumes import write_case
from training.config import TrainingConfig, load_config
from training.data.volumes import LabelledVolume
from training.lesion_classes import head
from training.lesion_classes.__main__ import evaluate, main
from training.lesion_classes.learned import CONFIG, learned_calls
from training.lesion_classes.network import consolidation_of, network_calls
from training.lesion_classes.rules import Calls, calls_of, chosen_rule, smoothed
from training.lesion_classes.scale import GreyScale, estimate_scale
from training.lesion_classes.slices import ClassSlice, grid_of, on_canvas, read_class_slices
from training.lesion_classes.train import open_classes
from training.lesion_classes.volumes import compare
from training.model_cards import with_scores
from training.semiseg.slices import LAYOUTS, load_folds

_CONFIG = Path(__file__).parents[2] / "training" / "configs" / "lesion-classes-lite.json"
_HEIGHT, _WIDTH = 240, 300


def _with_steps(steps: int) -> TrainingConfig:
    config = load_config(CONFIG)
    return replace(config, optimisation=replace(config.optimisation, steps=steps))


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("__main__", "head"):
        monkeypatch.setattr(
            f"training.lesion_classes.{module}.load_config", lambda _: _with_steps(3)
        )


def _chest(seed: int = 0) -> NDArray[np.float64]:
    """HU of a chest: muscle with fat around it, two lungs, a trachea and a patch of disease."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((_HEIGHT, _WIDTH))
    hu = rng.normal(45.0, 12.0, (_HEIGHT, _WIDTH))
    hu[np.hypot((y - 120) / 110, (x - 150) / 140) > 1] = -100.0
    hu[np.hypot((y - 120) / 85, (x - 80) / 50) < 1] = -860.0
    hu[np.hypot((y - 120) / 85, (x - 220) / 50) < 1] = -860.0
    hu[_disease() == 1] = -600.0
    hu[_disease() == 2] = -100.0
    hu[np.hypot(y - 80, x - 150) < 9] = -1000.0
    hu += ndimage.gaussian_filter(rng.normal(0.0, 60.0, hu.shape), 1.0)
    return hu


def _disease() -> NDArray[np.uint8]:
    """Ground glass with consolidation below it, in one lung."""
    y, x = np.indices((_HEIGHT, _WIDTH))
    classes = np.zeros((_HEIGHT, _WIDTH), dtype=np.uint8)
    classes[np.hypot(y - 140, x - 80) < 30] = 1
    classes[(np.hypot(y - 140, x - 80) < 30) & (y > 150)] = 2
    return classes


def _picture(hu: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.clip(np.round((hu - low) * 255.0 / (high - low)), 0, 255).astype(
        np.uint8
    )
    return levels


def _slice(hu: NDArray[np.float32], classes: NDArray[np.uint8], key: str = "0") -> ClassSlice:
    return ClassSlice(key, hu, classes, 1.0, GreyScale(20.0, 200.0, None, 6.0, -1120.0))


@pytest.mark.parametrize("window", [(-1250.0, 250.0), (-1350.0, 150.0), (-1050.0, 400.0)])
def test_the_window_of_a_picture_is_found_again(window: tuple[float, float]) -> None:
    scale = estimate_scale(_picture(_chest(), *window))
    assert scale is not None
    assert scale.fat_hu == pytest.approx(-100.0, abs=25.0)
    assert scale.window_hu == pytest.approx(window, abs=40.0)
    border = _picture(np.array([[float(CONSOLIDATION_FROM_HU)]]), *window)
    assert scale.hu(border)[0, 0] == pytest.approx(CONSOLIDATION_FROM_HU, abs=20.0)


def test_black_corners_are_not_air() -> None:
    picture = _picture(_chest(), -1350.0, 150.0)
    expected = estimate_scale(picture)
    y, x = np.indices(picture.shape)
    picture[y + x < 60] = 0
    padded = estimate_scale(picture)
    assert expected is not None
    assert padded is not None
    assert padded.air == pytest.approx(expected.air, abs=2.0)
    assert padded.air > 30.0


def test_soft_tissue_that_is_white_leaves_fat_or_nothing() -> None:
    scale = estimate_scale(_picture(_chest(), -1200.0, -10.0))
    assert scale is not None
    assert scale.soft_tissue is None
    assert scale.fat is not None
    assert scale.window_hu == pytest.approx((-1200.0, -10.0), abs=40.0)
    assert estimate_scale(_picture(_chest(), -1300.0, -250.0)) is None


def test_scores_by_hand() -> None:
    scores = Calls(hits=6, false=2, consolidation=10, ground_glass=30).scores()
    assert scores["consolidation_dice"] == pytest.approx(2 * 6 / (8 + 10))
    assert scores["ground_glass_dice"] == pytest.approx(2 * 28 / (32 + 30))
    assert scores["share_error"] == pytest.approx(100.0 * (10 - 8) / 40)
    alone = Calls(hits=0, false=3, consolidation=0, ground_glass=30).scores()
    assert alone["consolidation_dice"] is None
    assert alone["share_error"] == pytest.approx(10.0)


def test_what_lies_beside_the_infection_does_not_count() -> None:
    classes = _disease()
    called = calls_of(np.ones(classes.shape, dtype=bool), classes)
    assert called.false == called.ground_glass == int((classes == 1).sum())
    hu = np.where(classes > 0, -500.0, 300.0).astype(np.float32)
    inside = smoothed(_slice(hu, classes), 3.0)[classes > 0]
    np.testing.assert_allclose(inside, -500.0, atol=0.1)


def test_a_slice_decides_nothing_about_its_own_rule() -> None:
    good, bad = Calls(9, 1, 10, 10), Calls(1, 9, 10, 10)
    rules = {
        (0.0, -300): {"a": bad, "b": good, "c": good},
        (0.0, -400): {"a": good, "b": bad, "c": bad},
    }
    calls, chosen = chosen_rule(rules, [["a"], ["b", "c"]])
    assert chosen[0]["border_hu"] == -300
    assert calls["a"] is bad
    assert chosen[1]["border_hu"] == -400


def test_smoothing_a_ct_stays_within_slices_and_infection() -> None:
    hu = np.full((3, 20, 20), 100, dtype=np.int16)
    infection = np.zeros(hu.shape, dtype=np.uint8)
    infection[1:, 5:15, 5:15] = 1
    hu[1, 5:15, 5:15] = -500
    hu[1, 10, 10] = 0
    ct = CtVolume.from_array(hu, np.diag([1.0, 1.0, 5.0, 1.0]), Provenance("nifti", "a"))
    found = compare(LabelledVolume("a", ct, infection, None), 2.0, -350.0)
    assert found["infected_ml"] == pytest.approx(200 * 5.0 / 1000.0)
    assert found["voxel_percent"] == pytest.approx(100.0 * 101 / 200)
    assert found["smoothed_percent"] == pytest.approx(50.0)
    assert found["changed_percent"] == pytest.approx(0.5)


def _all_slices(hu: NDArray[np.float32], classes: NDArray[np.uint8]) -> list[ClassSlice]:
    return [_slice(hu, classes, key) for fold in load_folds() for key in fold[:1]]


@pytest.mark.usefixtures("few_steps")
def test_the_engine_is_right_where_its_border_was_drawn_by() -> None:
    classes = _disease()
    hu = np.where(classes == 2, CONSOLIDATION_FROM_HU, CONSOLIDATION_FROM_HU - 1.0)
    near = (slice(100, 180), slice(40, 120))
    report = evaluate(_all_slices(hu.astype(np.float32)[near], classes[near]))
    engine = report["rules"]["engine"]
    assert engine["ground_glass_dice"]["mean"] == engine["consolidation_dice"]["mean"] == 1.0
    assert engine["share_error"]["mean"] == 0.0
    assert report["rules"]["smoothed 2 mm"]["consolidation_dice_gain"]["mean"] < 0.0
    assert report["hu_percentiles"]["consolidation"]["50"] == CONSOLIDATION_FROM_HU


class _ByBrightness(nn.Module):
    """Calls consolidation what is brighter than a HU, by the windowed channel 1."""

    def __init__(self, border_hu: float, recipe: SliceRecipe) -> None:
        super().__init__()
        low, high = recipe.window_hu
        self._border = (border_hu - low) / (high - low)
        self._mean, self._std = float(np.mean(recipe.mean)), float(np.mean(recipe.std))

    def forward(self, images: Tensor) -> ModelOutput:
        """Return class logits ``(B, 3, H, W)``."""
        value = images[:, 1:2] * self._std + self._mean - self._border
        return ModelOutput(torch.cat([-value, value, value], dim=1), None, {})


def test_a_network_answers_on_the_slice_s_own_grid() -> None:
    recipe = load_config(_CONFIG).recipe
    hu = _chest().astype(np.float32)
    item = _slice(ndimage.gaussian_filter(hu, 2.0), _disease())
    assert grid_of(item, recipe) == (133, 167)
    found = consolidation_of(_ByBrightness(-300.0, recipe), item, recipe)
    expected = item.hu >= -300.0
    inside = item.classes > 0
    assert (found == expected)[inside].mean() > 0.97


def test_the_canvas_keeps_classes_in_place() -> None:
    item = _slice(_chest().astype(np.float32), _disease())
    image, classes = on_canvas(item, SliceRecipe(pixel_mm=2.0), 160)
    assert image.shape == classes.shape == (160, 160)
    assert (classes == 2).sum() == pytest.approx((item.classes == 2).sum() / 4, rel=0.1)
    assert image[classes == 2].mean() > image[classes == 1].mean() + 40
    cut, _ = on_canvas(item, SliceRecipe(pixel_mm=2.0), 96)
    assert cut.shape == (96, 96)


def _write(data_dir: Path, keys: Iterable[str]) -> None:
    classes = _disease()
    hu = _chest()
    pictures = {
        "images": _picture(hu, -1250.0, 250.0),
        "masks": np.where(classes > 0, 255, 0).astype(np.uint8),
        "edges": np.zeros_like(classes),
        "classes": classes,
    }
    for role, picture in pictures.items():
        folder = data_dir / LAYOUTS["labelled"][role]
        folder.mkdir(parents=True)
        for key in keys:
            image = Image.fromarray(picture.T)
            if role == "classes":
                image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
            image.save(folder / f"{key}.png")


def test_slices_are_turned_and_learned_from(tmp_path: Path) -> None:
    _write(tmp_path / "data", ("0", "1", "4"))
    slices = read_class_slices(tmp_path / "data")
    np.testing.assert_array_equal(slices[0].classes, _disease())
    assert slices[0].pixel_mm == pytest.approx(280.0 / _WIDTH)
    config = load_config(_CONFIG)
    split, curriculum = open_classes(config, tmp_path / "data", tmp_path / "cache")
    assert split.training == ("0", "1", "4")
    torch.manual_seed(0)
    loss = curriculum.lesson.loss(create_from_config(config.model), 0, torch.device("cpu"))
    assert 0.0 < loss.item() < 10.0


@pytest.mark.usefixtures("few_steps")
def test_the_command_writes_report_and_table(tmp_path: Path) -> None:
    for source in ("coronacases", "medseg_p9"):
        write_case(tmp_path / "data" / source, source, seed=0)
    _write(tmp_path / "data", [key for fold in load_folds() for key in fold[:1]])
    path = tmp_path / "report.json"
    assert main(["--data", str(tmp_path / "data"), "--json", str(path)]) == 0
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["slices"] == len(report["scales"]) == 5
    assert report["checkpoints_sha256"] == {}
    assert report["command"] == "python -m training.lesion_classes --data DATA"
    engine = report["rules"]["engine"]["consolidation_dice"]["mean"]
    assert engine > 0.9
    assert f"{engine:.3f}" in path.with_suffix(".md").read_text(encoding="utf-8")


def test_a_rule_is_learned_from_the_other_folds() -> None:
    config = _with_steps(100)
    near = (slice(105, 175), slice(45, 115))
    classes, hu = _disease()[near], _chest().astype(np.float32)[near]
    right = [_slice(hu, classes, key) for key in ("a", "b", "c")]
    swapped = np.where(classes > 0, 3 - classes, 0).astype(np.uint8)
    slices = [*right, _slice(hu, swapped, "d")]
    calls = learned_calls(slices, [["a", "b", "c"], ["d"]], config)
    again = learned_calls(slices, [["a", "b", "c"], ["d"]], config)
    assert calls == again
    learned = calls["d"].scores()["consolidation_dice"]
    assert learned is not None
    assert learned < 0.1
    assert calls_of(classes == 2, classes).scores()["consolidation_dice"] == 1.0


@pytest.mark.usefixtures("few_steps")
def test_the_bundled_network_is_made_and_scored_by_one_command(tmp_path: Path) -> None:
    _write(tmp_path / "data", [key for fold in load_folds() for key in fold[:1]])
    report, out = tmp_path / "report.json", tmp_path / "out"
    (cards := tmp_path / "cards").mkdir()
    places = {"data": tmp_path / "data", "out": out, "json": report, "cards": cards}
    places["pictures"] = tmp_path / "pictures"
    arguments = [word for name, path in places.items() for word in (f"--{name}", str(path))]
    assert head.main(arguments) == 0
    values = json.loads(report.read_text(encoding="utf-8"))
    (entry,) = read_catalogue(out / "models.json")
    assert values["weights_sha256"] == {entry.id: entry.sha256}
    assert entry.role == RESEARCH
    assert len(values["cases"]) == 5
    assert set(values["summary"]) == {OWN_SCORES, BORDER_SCORES}
    assert set(values["calibration"]["as given"]["cases"]) == set(values["cases"])
    assert [path.name for path in cards.iterdir()] == [f"{entry.id}-reliability.png"]
    pictures = {path.name for path in places["pictures"].iterdir()}
    assert pictures == {f"{entry.id}-{wrong['key']}.png" for wrong in values["failures"]}
    assert pictures
    store = WeightsStore(out, tmp_path / "nobody")
    assert open_class_model(entry.id, store).scores == {}
    scored = with_scores(entry, values)
    (out / "models.json").write_text(format_catalogue((scored,)), encoding="utf-8")
    expected = {name: figures["mean"] for name, figures in values["summary"][OWN_SCORES].items()}
    assert open_class_model(entry.id, store).scores[OWN_SCORES] == expected


def test_every_fold_needs_its_network() -> None:
    item = _slice(_chest().astype(np.float32), _disease())
    with pytest.raises(InputError) as caught:
        network_calls([item], [])
    assert caught.value.code == "training-folds-incomplete"


def test_the_network_without_the_deepest_stage_is_small() -> None:
    small = create_from_config(load_config(_CONFIG).model)
    whole = create_from_config(ModelConfig("inf-net-multi-class"))
    counts = [sum(p.numel() for p in model.parameters()) for model in (small, whole)]
    assert 2 * counts[0] < 3e6
    assert counts[0] < 0.3 * counts[1]
    assert small.eval()(torch.zeros(1, 6, 64, 96)).infection.shape == (1, 3, 64, 96)


@pytest.mark.data
def test_the_scale_of_real_slices(data_dir: Path) -> None:
    slices = read_class_slices(data_dir)
    assert len(slices) == 48
    fat = [hu for item in slices if (hu := item.scale.fat_hu) is not None]
    assert len(fat) > 10
    assert np.mean(fat) == pytest.approx(-100.0, abs=25.0)
    for item in slices:
        low, high = item.scale.window_hu
        assert -1400 < low < -1000
        assert 0 < high < 500
