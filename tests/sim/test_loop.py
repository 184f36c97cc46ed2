"""The virtual-time loop: it jumps, repeats by seed, explores other orders, and says when nothing can come."""

import asyncio

import pytest

from angelx.sim.loop import Deadlock, simulate


def test_sleeping_moves_the_clock_and_timers_fire_in_order() -> None:
    async def main() -> list[tuple[str, float]]:
        loop, log = asyncio.get_running_loop(), list[tuple[str, float]]()

        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            log.append((name, round(loop.time(), 6)))

        async with asyncio.TaskGroup() as group:
            for name, seconds in (("c", 7_200.0), ("a", 1.0), ("b", 60.0)):
                group.create_task(wait(name, seconds))
        return log

    assert simulate(main) == [("a", 1.0), ("b", 60.0), ("c", 7_200.0)]


def test_waiting_for_what_cannot_come_raises() -> None:
    async def main() -> None:
        await asyncio.sleep(5)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match=r"at 5\.0"):
        simulate(main)


async def race() -> list[int]:
    log: list[int] = []

    async def step(name: int) -> None:
        for _ in range(4):
            log.append(name)
            await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, log.append, 10 + name)

    async with asyncio.TaskGroup() as group:
        for name in range(5):
            group.create_task(step(name))
    return log


def test_a_seed_repeats_and_shuffling_explores() -> None:
    plain = simulate(race)
    assert plain == simulate(race)
    shuffled = [simulate(race, seed=seed, shuffle=True) for seed in range(6)]
    assert shuffled == [simulate(race, seed=seed, shuffle=True) for seed in range(6)]
    assert len({tuple(order) for order in shuffled}) > 3
    assert all(sorted(order) == sorted(plain) for order in shuffled)


def test_time_goes_on_years_into_a_session() -> None:
    """A recording may have years between two rows: the float of virtual seconds must not stand still there."""

    async def main() -> float:
        await asyncio.sleep(20_750_460.123456789)
        for _ in range(100):
            await asyncio.sleep(1.1e-9)
            await asyncio.sleep(0.1)
        return asyncio.get_running_loop().time()

    assert simulate(main) > 20_750_470
