"""How Ray's resources are divided; needs no Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from CovidLesionSegLib.batch.ray_workers import actor_share

HEAD, SMALL, BIG = {"CPU": 16.0}, {"CPU": 8.0, "GPU": 1.0}, {"CPU": 64.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("nodes", "count", "scarce", "cpus", "gpus"),
    [
        ([{"CPU": 2.0}], None, "CPU", 2, 0),
        ([{"CPU": 2.0}], 2, "CPU", 1, 0),
        ([{"CPU": 2.0}], 5, "CPU", 0.4, 0),
        ([HEAD, SMALL], None, "GPU", 8, 1),
        ([{"CPU": 0.0}, SMALL, BIG], None, "GPU", 8, 1),
        ([SMALL], 2, "GPU", 4, 0.5),
        ([BIG], 2, "GPU", 32, 1),
        ([SMALL, BIG], 7, "GPU", 4, 0.5),
        ([{"memory": 1.0}], None, "CPU", 1, 0),
        ([], None, "CPU", 1, 0),
    ],
)
def test_an_actor_fits_onto_a_node(
    nodes: Sequence[Mapping[str, float]], count: int | None, scarce: str, cpus: float, gpus: float
) -> None:
    share = actor_share(nodes, count, scarce)
    assert share == {"num_cpus": cpus, "num_gpus": gpus}
