"""The rate budget in virtual time."""

import asyncio

import pytest

from angelx.adapters.rate_budget import Priority, RateBudget
from angelx.bus.clock import PacedClock
from angelx.domain.errors import RateLimited
from angelx.domain.scalars import NS
from angelx.orders.windows import MINUTE, SECOND, Limit
from angelx.sim.loop import simulate


def test_a_burst_fills_the_window_and_the_rest_waits_its_turn() -> None:
    async def scenario() -> list[float]:
        budget = RateBudget({"orders": [Limit(9, SECOND), Limit(12, MINUTE)]})
        loop, times = asyncio.get_running_loop(), list[float]()

        async def send() -> None:
            await budget.take("orders", Priority.ENTRY)
            times.append(loop.time())

        async with asyncio.TaskGroup() as group:
            for _ in range(14):
                group.create_task(send())
        return times

    times = simulate(scenario)
    assert [sum(t <= at for t in times) for at in (0.5, 1.5, 59, 61)] == [9, 12, 12, 14]


def test_exits_overtake_look_ups_entries_and_polls() -> None:
    async def scenario() -> list[str]:
        budget = RateBudget({"orders": [Limit(1, SECOND)]})
        await budget.take("orders", Priority.ENTRY)
        served = list[str]()

        async def send(priority: Priority) -> None:
            await budget.take("orders", priority)
            served.append(priority.name)

        async with asyncio.TaskGroup() as group:
            for priority in reversed(Priority):
                group.create_task(send(priority))
        return served

    assert simulate(scenario) == ["EXIT", "LOOKUP", "ENTRY", "POLL"]


def test_entries_leave_the_reserve_to_exits() -> None:
    async def scenario() -> tuple[float, float]:
        budget = RateBudget({"orders": [Limit(3, SECOND)]}, reserve={"orders": 1})
        loop = asyncio.get_running_loop()
        await budget.take("orders", Priority.ENTRY)
        await budget.take("orders", Priority.ENTRY)
        entry = loop.create_task(budget.take("orders", Priority.ENTRY))
        await asyncio.sleep(0)
        await budget.take("orders", Priority.EXIT)
        exit_at = loop.time()
        await entry
        return exit_at, loop.time()

    exit_at, entry_at = simulate(scenario)
    assert exit_at == 0
    assert entry_at == pytest.approx(1.02)


def test_who_cannot_wait_is_told_and_uses_nothing() -> None:
    async def scenario() -> float:
        budget = RateBudget({"orders": [Limit(1, SECOND)]})
        await budget.take("orders", Priority.ENTRY)
        with pytest.raises(RateLimited) as refused:
            await budget.take("orders", Priority.ENTRY, within_s=0.25)
        assert refused.value.wait_s == pytest.approx(0.77)
        await budget.take("orders", Priority.ENTRY)
        return asyncio.get_running_loop().time()

    assert simulate(scenario) == pytest.approx(1.02)


def test_a_hold_stops_the_whole_category_and_no_other() -> None:
    async def scenario() -> tuple[float, float]:
        budget = RateBudget({"orders": [Limit(5, SECOND)], "quotes": []})
        loop = asyncio.get_running_loop()
        budget.hold("orders", 60)
        await budget.take("quotes", Priority.POLL)
        quotes_at = loop.time()
        await budget.take("orders", Priority.EXIT)
        return quotes_at, loop.time()

    quotes_at, orders_at = simulate(scenario)
    assert quotes_at == 0
    assert orders_at == pytest.approx(60)


def test_one_that_gave_up_does_not_block_those_behind() -> None:
    async def scenario() -> float:
        budget = RateBudget({"orders": [Limit(1, SECOND)]})
        loop = asyncio.get_running_loop()
        await budget.take("orders", Priority.ENTRY)
        impatient = loop.create_task(budget.take("orders", Priority.EXIT))
        patient = loop.create_task(budget.take("orders", Priority.POLL))
        await asyncio.sleep(0.1)
        impatient.cancel()
        await patient
        return loop.time()

    assert simulate(scenario) == pytest.approx(1.02)


def test_a_hold_may_let_exits_and_look_ups_go_sooner() -> None:
    async def scenario() -> tuple[float, float]:
        budget = RateBudget({"orders": [Limit(5, SECOND)]})
        loop = asyncio.get_running_loop()
        budget.hold("orders", 60, exits_s=1)
        entry = loop.create_task(budget.take("orders", Priority.ENTRY))
        await asyncio.sleep(0)
        await budget.take("orders", Priority.EXIT)
        exit_at = loop.time()
        await entry
        return exit_at, loop.time()

    exit_at, entry_at = simulate(scenario)
    assert exit_at == pytest.approx(1)
    assert entry_at == pytest.approx(60)


def test_a_burst_of_entries_leaves_polls_their_reserve() -> None:
    async def scenario() -> tuple[float, int]:
        budget = RateBudget({"all": [Limit(10, MINUTE)]}, reserve={"all": 2}, poll_reserve={"all": 3})
        loop = asyncio.get_running_loop()
        entries = [loop.create_task(budget.take("all", Priority.ENTRY)) for _ in range(20)]
        await asyncio.sleep(0.1)
        assert budget.waiting() == {"all": 15}
        for _ in range(3):
            await budget.take("all", Priority.POLL)
        with pytest.raises(RateLimited):
            await budget.take("all", Priority.POLL, within_s=1)
        await budget.take("all", Priority.LOOKUP)
        await budget.take("all", Priority.EXIT)
        at = loop.time()
        for entry in entries:
            entry.cancel()
        done = sum(not entry.cancelled() for entry in await asyncio.gather(*map(_quiet, entries)))
        return at, done

    async def _quiet(task: asyncio.Task[None]) -> asyncio.Task[None]:
        await asyncio.wait([task])
        return task

    at, done = simulate(scenario)
    assert at == pytest.approx(1.1)
    assert done == 5


def paced(speed: float) -> PacedClock:
    """Session time on the running loop's seconds."""
    loop = asyncio.get_running_loop()
    return PacedClock(10**18, speed, ticker=lambda: int(loop.time() * NS))


def test_windows_holds_and_longest_waits_are_of_a_fast_session() -> None:
    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        budget = RateBudget({"all": [Limit(200, MINUTE)]}, clock=paced(30))
        for _ in range(200):
            await budget.take("all", Priority.POLL)
        with pytest.raises(RateLimited):
            await budget.take("all", Priority.ENTRY, within_s=15)
        times = [loop.time()]
        await budget.take("all", Priority.ENTRY)
        times.append(loop.time())
        budget.hold("all", 30, exits_s=3)
        await budget.take("all", Priority.EXIT)
        times.append(loop.time())
        await budget.take("all", Priority.ENTRY)
        return [*times, loop.time()]

    assert simulate(scenario) == pytest.approx([0.5, 2.02, 2.12, 3.02])


def test_while_a_venue_stands_still_so_do_its_windows() -> None:
    async def scenario() -> float:
        clock = paced(30)
        budget = RateBudget({"all": [Limit(1, MINUTE)]}, clock=clock)
        await budget.take("all", Priority.EXIT)
        waiting = asyncio.get_running_loop().create_task(budget.take("all", Priority.EXIT))
        await asyncio.sleep(1)
        clock.wait_for(clock.now() - 30 * NS)  # it was down for a second
        await waiting
        return asyncio.get_running_loop().time()

    assert simulate(scenario) == pytest.approx(3.04, abs=0.021)


def test_a_turn_that_comes_as_patience_ends_is_used() -> None:
    """A process that stands still for a while finds both due in the same moment."""

    async def scenario() -> bool:
        loop = asyncio.get_running_loop()
        budget = RateBudget({"all": [Limit(1, SECOND)]})
        await budget.take("all", Priority.ENTRY)
        waiting = asyncio.get_running_loop().create_task(budget.take("all", Priority.ENTRY, within_s=1.5))
        await asyncio.sleep(0)
        loop._jumping.elapsed_s = 2.0  # type: ignore[attr-defined]
        await waiting
        with pytest.raises(RateLimited):
            await budget.take("all", Priority.ENTRY, within_s=0.5)
        return True

    assert simulate(scenario)
