"""Runs on single slices: exact resume, both stages, propagation, maps and schedules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.registry import create_from_config
from Testing.support.tiny_slices import LABELLED, UNLABELLED, tiny_semiseg, write_slices
from training.config import OptimisationConfig, TrainingConfig, load_config
from training.loop import Trainer
from training.optimisation import learning_rate_factor
from training.run_folder import RunFolder
from training.semiseg.lesson import SemisegLesson
from training.semiseg.maps import edge_of
from training.semiseg.predict import predict
from training.semiseg.propagation import Propagation, PropagationConfig
from training.semiseg.slices import layout_folders, open_layout
from training.semiseg.table import markdown, own_rows, score_row
from training.splits import Split

_CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs" / "semiseg"


@pytest.fixture
def slices_dir(tmp_path: Path) -> Path:
    write_slices(tmp_path / "data")
    return tmp_path / "data"


def _trainer(config: TrainingConfig, data: Path, out: Path) -> Trainer:
    slices = open_layout("labelled", data, 64, data.parent / "cache")
    rows = slices.rows(LABELLED)
    run = RunFolder(out)
    run.open(config, Split("tiny", LABELLED[:3], LABELLED[3:]), {slices.name: slices.digest})
    lesson = SemisegLesson(config, [(slices, rows[:3])], (slices, rows[3:]))
    return Trainer(config, lesson, run, Fabric(accelerator="cpu"), pretrained=False)


@pytest.mark.parametrize(
    ("stage", "family"), [("infection", "inf-net"), ("classes", "inf-net-multi-class")]
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    stage: str, family: str, slices_dir: Path, tmp_path: Path
) -> None:
    config = tiny_semiseg(stage, family)
    whole = _trainer(config, slices_dir, tmp_path / "whole")
    assert whole.run()
    assert not _trainer(config, slices_dir, tmp_path / "parts").run(lambda step: step == 3)
    resumed = _trainer(config, slices_dir, tmp_path / "parts")
    assert resumed.run()
    expected, found = (t.state.average.module.state_dict() for t in (whole, resumed))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    rows = RunFolder(tmp_path / "parts").read("validation")
    assert rows == RunFolder(tmp_path / "whole").read("validation")
    assert all(0.0 <= value <= 1.0 for value in rows[-1].values() if value != 4)


@pytest.mark.parametrize("family", ["bsnet", "co-supervision"])
@pytest.mark.parametrize("loss", ["intended", "released"])
def test_the_other_families_learn_from_slices(
    family: str, loss: str, slices_dir: Path, tmp_path: Path
) -> None:
    config = tiny_semiseg(family=family, loss=loss, augment=loss == "intended")
    slices = open_layout("labelled", slices_dir, 64, tmp_path / "cache")
    lesson = SemisegLesson(config, [(slices, slices.rows(LABELLED))])
    model = create_from_config(config.model)
    value = lesson.loss(model, 0, torch.device("cpu"))
    gradients = torch.autograd.grad(value, list(model.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def _start(config: TrainingConfig, folder: Path) -> Path:
    """Weights to propagate from, as a checkpoint keeps them."""
    torch.manual_seed(0)
    path = folder / "start.ckpt"
    torch.save({"average": create_from_config(config.model).state_dict()}, path)
    return path


def _propagation(config: TrainingConfig, data: Path, start: Path, out: Path) -> Propagation:
    rules = PropagationConfig(group_size=3, epochs=2)
    places = (data, data.parent / "cache", out)
    return Propagation(config, rules, start, places, Fabric(accelerator="cpu"))


def test_a_killed_propagation_ends_with_the_same_labels(slices_dir: Path, tmp_path: Path) -> None:
    config = tiny_semiseg(steps=1, batch_size=8, scales=(1.0,))
    start = _start(config, tmp_path)
    whole = _propagation(config, slices_dir, start, tmp_path / "whole")
    assert whole.run()
    assert sorted(key for group in whole.groups for key in group) == sorted(UNLABELLED)
    stopped = _propagation(config, slices_dir, start, tmp_path / "parts")
    assert not stopped.run(lambda step: step == 1)
    assert stopped.done == 0
    # A kill may also fall between a map and its edge.
    (tmp_path / "parts" / "Edge" / f"{stopped.groups[0][1]}.png").unlink()
    resumed = _propagation(config, slices_dir, start, tmp_path / "parts")
    assert resumed.run()
    assert _pictures(tmp_path / "parts") == _pictures(tmp_path / "whole")
    assert resumed.run()
    assert _pictures(tmp_path / "parts") == _pictures(tmp_path / "whole")
    with Image.open(tmp_path / "whole" / "GT" / "u1.png") as image:
        assert image.size == (40, 44)


def _pictures(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("*/*.png"))}


def test_another_propagation_does_not_go_on_in_the_same_folder(
    slices_dir: Path, tmp_path: Path
) -> None:
    config = tiny_semiseg(steps=1)
    start = _start(config, tmp_path)
    _propagation(config, slices_dir, start, tmp_path / "labels")
    rules = PropagationConfig(group_size=4, epochs=0)
    places = (slices_dir, tmp_path / "cache", tmp_path / "labels")
    with pytest.raises(InputError) as caught:
        Propagation(config, rules, start, places, Fabric(accelerator="cpu"))
    assert caught.value.code == "training-run-differs"


def test_a_new_option_does_not_end_an_old_propagation(slices_dir: Path, tmp_path: Path) -> None:
    config = tiny_semiseg(steps=1)
    start = _start(config, tmp_path)
    _propagation(config, slices_dir, start, tmp_path / "labels")
    path = tmp_path / "labels" / "propagation.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["config"]["augmentation"]["own_stream"]
    path.write_text(json.dumps(values), encoding="utf-8")
    _propagation(config, slices_dir, start, tmp_path / "labels")


def test_maps_have_the_size_of_their_slices_and_a_row_in_the_table(
    slices_dir: Path, tmp_path: Path
) -> None:
    images = slices_dir / "covid_semiseg/TestingSet/LungInfection-Test/Imgs"
    folders = layout_folders("labelled", slices_dir)
    truths = {
        "LungInfection-Test/GT": "masks",
        "MultiClassInfection-Test/GT-1": "masks",
        "MultiClassInfection-Test/GT-2": "masks",
    }
    images.parent.mkdir(parents=True)
    images.symlink_to(folders["images"])
    for name, role in truths.items():
        link = slices_dir / "covid_semiseg/TestingSet" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folders[role])
    for name, stage, family in (
        ("one", "infection", "inf-net"),
        ("two", "classes", "inf-net-multi-class"),
    ):
        _trainer(tiny_semiseg(stage, family, steps=1), slices_dir, tmp_path / "runs" / name).run()
    cache = tmp_path / "cache"
    one, two = (tmp_path / "runs" / name / "test" for name in ("one", "two"))
    predict(RunFolder(one.parent), folders, one, cache, "cpu", flips=True)
    predict(RunFolder(two.parent), folders, two, cache, "cpu", priors=one, scales=(1.0, 2.0))
    with Image.open(one / "10.png") as image:
        assert image.size == (48, 43)
    found = {
        name: np.asarray(Image.open(two / name / "10.png"))
        for name in ("ground_glass", "consolidation")
    }
    assert set(np.unique(np.concatenate([*found.values()]))) <= {0, 255}
    assert not (found["ground_glass"] & found["consolidation"]).any()
    rows = own_rows(tmp_path / "runs")
    assert rows[1].label == "two, 1 steps; mean of 2 sizes"
    assert [row.target for row in rows] == ["infection", "ground glass", "consolidation"]
    results = [score_row(row, slices_dir, 0.5) for row in rows]
    assert all(result["images"] == 4 for result in results)
    text = markdown(results)
    mean_dice = results[0]["summary"]["published_protocol"]["mean_dice"]
    assert f"| one, 1 steps | {mean_dice:.3f} [" in text


def test_the_class_stage_refuses_to_go_without_infection_maps(
    slices_dir: Path, tmp_path: Path
) -> None:
    config = tiny_semiseg("classes", "inf-net-multi-class", steps=1)
    _trainer(config, slices_dir, tmp_path / "run").run()
    folders = layout_folders("labelled", slices_dir)
    with pytest.raises(InputError) as caught:
        predict(RunFolder(tmp_path / "run"), folders, tmp_path / "out", tmp_path / "cache", "cpu")
    assert caught.value.code == "training-priors-absent"


def test_published_schedules() -> None:
    released = OptimisationConfig(schedule="released", epoch_steps=9, warmup_steps=0)
    by_epoch = {e: 1e-4 * learning_rate_factor(9 * (e - 1), released) for e in (1, 49, 50, 51, 55)}
    assert by_epoch == pytest.approx({1: 1e-4, 49: 1e-4, 50: 1e-5, 51: 1e-6, 55: 1e-10})
    intended = OptimisationConfig(schedule="intended", epoch_steps=9, warmup_steps=0)
    assert learning_rate_factor(9 * 49 - 1, intended) == 1.0
    assert learning_rate_factor(9 * 98, intended) == pytest.approx(0.1)
    with pytest.raises(InputError):
        OptimisationConfig(schedule="released")


def test_edge_of_a_map_is_one_pixel_on_either_side() -> None:
    levels = np.zeros((9, 9), dtype=np.uint8)
    levels[3:6, 3:6] = 200
    edge = edge_of(levels) > 0
    assert edge.sum() == 24
    assert not edge[4, 4]


def test_configs_in_the_repository_are_complete() -> None:
    paths = sorted(_CONFIGS.glob("*.json"))
    assert paths
    for path in paths:
        config = load_config(path)
        assert config.name == f"semiseg-{path.stem}"
        assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
