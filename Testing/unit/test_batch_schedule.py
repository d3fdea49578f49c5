"""Which case runs where and how often when workers die; no process is started."""

from __future__ import annotations

from collections import Counter, deque
from pathlib import Path

import pytest

from CovidLesionSegLib.batch.cases import Case
from CovidLesionSegLib.batch.runner import CASE_TIMEOUT, WORKER_DIED, Reply, Verdict
from CovidLesionSegLib.batch.schedule import MOST_DEATHS, Schedule
from CovidLesionSegLib.errors import CovidLesionSegError

DONE = Reply(Verdict.DONE)
DEAD = Reply(Verdict.SUSPECT, WORKER_DIED)
LATE = Reply(Verdict.OVERDUE, CASE_TIMEOUT)


class Scripted:
    """Workers that answer by script, the one that was asked first first.

    ``poison`` kills whoever computes it or reads it ahead; ``unlucky`` dies at the first try;
    ``stuck`` never ends.
    """

    def __init__(
        self, count: int, poison: set[str], unlucky: set[str], stuck: set[str] = frozenset()
    ) -> None:
        self.count = count
        self.poison, self.unlucky, self.stuck = poison, unlucky, stuck
        self.busy: deque[tuple[int, Case, Case | None]] = deque()
        self.tries: Counter[str] = Counter()
        self.together: dict[str, int] = {}
        self.replaced = 0

    def submit(self, worker: int, case: Case, upcoming: Case | None) -> None:
        assert worker not in {number for number, _, _ in self.busy}
        self.busy.append((worker, case, upcoming))
        self.together[case.id] = len(self.busy)

    def wait(self) -> tuple[int, Reply]:
        worker, case, upcoming = self.busy.popleft()
        self.tries[case.id] += 1
        if case.id in self.stuck:
            return worker, LATE
        in_hand = {case.id} | ({upcoming.id} if upcoming else set())
        if self.poison & in_hand or (case.id in self.unlucky and self.tries[case.id] == 1):
            return worker, DEAD
        return worker, DONE

    def replace(self, worker: int) -> None:
        self.replaced += 1
        assert worker not in {number for number, _, _ in self.busy}


def cases(count: int) -> list[Case]:
    return [Case(f"c{index}", Path(f"c{index}.nii")) for index in range(count)]


def run(
    count: int,
    workers: int,
    poison: set[str] = frozenset(),
    unlucky: set[str] = frozenset(),
    stuck: set[str] = frozenset(),
) -> tuple[Scripted, dict[str, Verdict], list[str]]:
    script = Scripted(workers, set(poison), set(unlucky), set(stuck))
    outcomes: dict[str, Verdict] = {}
    recorded: list[str] = []

    def listener(case: Case, reply: Reply) -> None:
        assert case.id not in outcomes
        outcomes[case.id] = reply.verdict

    Schedule(cases(count), script, listener, lambda case, _: recorded.append(case.id)).run()
    return script, outcomes, recorded


@pytest.mark.parametrize("workers", [1, 3])
def test_every_case_ends_once(workers: int) -> None:
    script, outcomes, recorded = run(10, workers)
    assert set(outcomes) == {f"c{index}" for index in range(10)}
    assert set(script.tries.values()) == {1}
    assert recorded == []


@pytest.mark.parametrize("workers", [1, 3])
def test_one_poisoned_case_fails_alone(workers: int) -> None:
    script, outcomes, recorded = run(100, workers, poison={"c41"})
    assert recorded == ["c41"]
    assert Counter(outcomes.values()) == {Verdict.DONE: 99, Verdict.FAILED: 1}
    assert script.together["c41"] == 1
    assert script.tries["c41"] <= 2
    assert script.replaced == 2


def test_a_worker_that_died_by_chance_costs_nothing_but_time() -> None:
    script, outcomes, recorded = run(7, 2, unlucky={"c3"})
    assert set(outcomes.values()) == {Verdict.DONE}
    assert recorded == []
    assert script.tries["c3"] == 2


def test_a_machine_that_kills_every_worker_ends_the_batch() -> None:
    with pytest.raises(CovidLesionSegError) as caught:
        run(100, 1, poison={f"c{index}" for index in range(100)})
    assert caught.value.code == "batch-workers-die"
    assert MOST_DEATHS < 100


def test_what_every_case_would_meet_ends_the_batch_and_records_nothing() -> None:
    full = CovidLesionSegError("output-full", "Full.")
    script = Scripted(1, set(), set())
    script.wait = lambda: (0, Reply(Verdict.STOP, full))  # type: ignore[method-assign]
    recorded: list[str] = []
    schedule = Schedule(
        cases(3), script, lambda *_: recorded.append("x"), lambda *_: recorded.append("x")
    )
    with pytest.raises(CovidLesionSegError, match="Full"):
        schedule.run()
    assert recorded == []


@pytest.mark.parametrize("workers", [1, 3])
def test_a_case_that_takes_too_long_fails_at_once_and_alone(workers: int) -> None:
    script, outcomes, recorded = run(10, workers, stuck={"c4"})
    assert recorded == ["c4"]
    assert Counter(outcomes.values()) == {Verdict.DONE: 9, Verdict.FAILED: 1}
    assert set(script.tries.values()) == {1}  # neither it nor what was read ahead runs twice
    assert script.replaced == 1


def test_a_case_may_be_stuck_in_its_second_try() -> None:
    script = Scripted(1, set(), set())
    answers = iter([DEAD, LATE])
    script.wait = lambda: (script.busy.popleft()[0], next(answers))  # type: ignore[method-assign]
    outcomes: dict[str, Verdict] = {}
    recorded: list[str] = []
    Schedule(
        cases(1),
        script,
        lambda case, reply: outcomes.update({case.id: reply.verdict}),
        lambda _, reply: recorded.append(reply.error.code if reply.error else ""),
    ).run()
    assert outcomes == {"c0": Verdict.FAILED}
    assert recorded == ["case-timeout"]
    assert script.replaced == 2


def test_many_late_cases_do_not_end_the_batch() -> None:
    late = {f"c{index}" for index in range(MOST_DEATHS + 5)}
    _, outcomes, recorded = run(MOST_DEATHS + 6, 1, stuck=late)
    assert set(recorded) == late
    assert list(outcomes.values()).count(Verdict.DONE) == 1
