"""Slow work comes back as an event whatever becomes of it, and the stream does not wait for it."""

import time
from typing import Any

import pytest

from angelx.adapters.worker_pool import WorkerPool
from angelx.bus.bus import Bus
from angelx.domain.events import Event, WorkDone, WorkFailed
from angelx.domain.scalars import NS
from angelx.services.isolation import InlinePool, Isolation, Pool, RecordedPool
from tests.services.slow_work import broken, doubled, dying, hanging, unspeakable


def heard(bus: Bus) -> list[Event]:
    found: list[Event] = []
    bus.subscribe(WorkDone, found.append)
    bus.subscribe(WorkFailed, found.append)
    return found


def played(pool: Pool, *works: tuple[Any, ...], waits: bool = True, timeout_s: float = 20.0) -> list[Event]:
    """Submit at second 10, and let a minute pass."""
    bus = Bus()
    found = heard(bus)
    isolation = Isolation(bus, pool, waits=waits)
    bus.advance(10 * NS)
    for number, (function, *args) in enumerate(works, 1):
        assert isolation.submit(function.__name__, function, *args, timeout_s=timeout_s) == number
    bus.advance(70 * NS)
    return found


def test_result_exception_and_death_come_back_at_one_place_of_the_stream() -> None:
    pool = WorkerPool(most=2)
    try:
        found = played(pool, (doubled, [1.5, 2.0]), (broken, "no"), (dying,), (unspeakable,))
    finally:
        pool.close()
    at = 11 * NS
    assert found[0] == WorkDone(at, 1, "doubled", "[3.0,4.0]")
    assert found[1] == WorkFailed(at, 2, "broken", "raised", "ValueError: no")
    assert found[2] == WorkFailed(at, 3, "dying", "died", "the process ended without an answer")
    assert isinstance(found[3], WorkFailed)
    assert found[3].outcome == "raised"


def test_a_hang_is_ended_at_its_time_and_the_next_is_served() -> None:
    pool = WorkerPool(most=1)
    began = time.monotonic()
    try:
        found = played(pool, (hanging,), (doubled, [1.0]), timeout_s=0.3)
        (worker,) = pool._threads
        assert worker.is_alive()
    finally:
        pool.close()
    assert [getattr(event, "outcome", "done") for event in found] == ["timeout", "done"]
    assert time.monotonic() - began < 15


def test_nothing_waits_for_it_where_time_is_real() -> None:
    """With a hang under way the stream goes on at once, and the answer comes in a later second."""
    bus = Bus()
    found = heard(bus)
    pool = WorkerPool()
    isolation = Isolation(bus, pool, waits=False)
    try:
        began = time.perf_counter()
        isolation.submit("hanging", hanging, timeout_s=0.2)
        bus.advance(20 * NS)
        assert time.perf_counter() - began < 0.1
        assert not found
        pool._events[1].wait(20)
        bus.advance(30 * NS)
        assert [(type(event), event.at) for event in found] == [(WorkFailed, 21 * NS)]
    finally:
        pool.close()


def test_what_does_not_fit_is_refused_by_name() -> None:
    pool = WorkerPool(most=1, waiting=1)
    try:
        for number in range(1, 6):
            pool.start(number, hanging, (), 0.2)
        answers = [pool.answer(number, 0, wait=True) for number in range(1, 6)]
    finally:
        pool.close()
    outcomes = [answer.outcome for answer in answers if answer is not None]
    assert outcomes.count("full") >= 3
    assert outcomes.count("timeout") >= 1


def test_what_pickle_cannot_carry_is_a_failure_not_a_crash() -> None:
    pool = WorkerPool()
    try:
        (found,) = played(pool, (lambda: 1,))
    finally:
        pool.close()
    assert isinstance(found, WorkFailed)
    assert "cannot be sent to a process" in found.detail


def test_closing_ends_what_runs() -> None:
    pool = WorkerPool()
    pool.start(1, hanging, (), 60.0)
    for _ in range(500):
        if pool._processes:
            break
        time.sleep(0.01)  # noqa: TID251 - another process, or no loop
    (process,) = pool._processes
    pool.close()
    process.join(5)
    assert not process.is_alive()


def test_inline_and_recorded_pools_answer_alike() -> None:
    works = ((doubled, [1.0]), (broken, "no"))
    inline = played(InlinePool(), *works)
    assert played(RecordedPool(inline), *works) == inline
    assert played(RecordedPool([WorkDone(33 * NS, 1, "doubled", "[2.0]")]), works[0], waits=False) == [
        WorkDone(33 * NS, 1, "doubled", "[2.0]")
    ]
    assert played(RecordedPool([]), works[0]) == []


def test_numbers_go_on_after_a_restart() -> None:
    isolation = Isolation(Bus(), InlinePool(), waits=True)
    isolation.restore(WorkDone(1, 7, "x", "1"))
    assert isolation.submit("doubled", doubled, [1.0]) == 8


@pytest.mark.parametrize("bad", [{"most": 0}, {"waiting": 0}])
def test_a_pool_of_none_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs most >= 1"):
        WorkerPool(**bad)
