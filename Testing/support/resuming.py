"""What resuming promises: a run in two parts ends where an uninterrupted one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from training.loop import Trainer


def assert_resumes_exactly(trainer_in: Callable[[Path], Trainer], folder: Path) -> None:
    """Run once whole, in ``folder/whole``, and once in two parts, in ``folder/parts``."""
    whole = trainer_in(folder / "whole")
    assert whole.run()
    assert not trainer_in(folder / "parts").run(lambda step: step == 2)
    resumed = trainer_in(folder / "parts")
    assert resumed.state.step == 2
    assert resumed.run()
    expected, found = (item.state.average.module.state_dict() for item in (whole, resumed))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
