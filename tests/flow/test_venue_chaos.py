"""`make chaos` in virtual time: rounds of trouble drawn from a seed, the daemon killed, the venue gone for a while.

A seed takes a second or two and is the same every time: `ANGELX_VENUE_CHAOS="4 5 6"` plays others.
"""

import asyncio
import os
from collections import Counter
from random import Random

import pytest

from tests.e2e.test_chaos import DRAWS
from tests.flow.venue_house import BROKERS, Wired, played

SEEDS = [int(seed) for seed in os.environ.get("ANGELX_VENUE_CHAOS", "1 2 3").split()]
ROUNDS = 5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("broker", BROKERS)
def test_both_sides_agree_after_chaos(broker: str, seed: int) -> None:
    """`played` compares orders, fills and positions, and that nothing was sent twice."""

    async def story(wired: Wired) -> None:
        for _ in range(ROUNDS):
            await _round(wired.random, broker, wired)

    played(broker, story, seed=seed, seconds=10_000.0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("broker", BROKERS)
def test_chaos_while_it_flattens_ends_flat(broker: str, seed: int) -> None:
    async def story(wired: Wired) -> None:
        await _trouble(wired.random, broker, wired, honest=True)
        await wired.feed.command("flatten", "test", "operator")
        await _end(wired.random, wired)
        exchange = wired.side.exchange
        await wired.until(lambda: not any(one.quantity for one in exchange.positions()), 300)
        await wired.until(lambda: not wired.house.router.live and not any(wired.house.book.net.values()), 300)
        await wired.feed.command("resume", "test", "operator")
        await wired.traded(3)

    wired = played(broker, story, seed=seed, seconds=10_000.0)
    sold: Counter[str] = Counter()
    for fill in wired.side.exchange.fills():
        sold[fill.instrument] += fill.side * fill.quantity
        assert sold[fill.instrument] >= 0, "never more than was held"


async def _round(random: Random, broker: str, wired: Wired) -> None:
    await _trouble(random, broker, wired)
    await _end(random, wired)
    await wired.traded(3)


async def _trouble(random: Random, broker: str, wired: Wired, *, honest: bool = False) -> None:
    """`honest`: who says that an order was turned away did not take it. It is believed, for else no other exit could
    go for a quarter of a minute; where it was a lie the two exits are one too many."""
    for _ in range(random.randint(1, 4)):
        what = random.choice(sorted(DRAWS))
        drawn = DRAWS[what](random, broker)
        if honest and drawn.get("status", 500) < 500:
            drawn["done"] = False
        wired.fault(what, **drawn)
    await asyncio.sleep(random.uniform(2, 20))


async def _end(random: Random, wired: Wired) -> None:
    """Of the trouble; perhaps the daemon is killed before, or the venue gone for a while."""
    await asyncio.sleep(random.choice((0.0, random.random(), random.uniform(1, 5))))
    end = random.random()
    if end < 0.5:
        left = await wired.kill()
        await asyncio.sleep(
            random.uniform(1.5, 30)
        )  # A process is not up within a second: one log-in is allowed in it.
        wired.faults.remove()
        await wired.start(10_000.0, left)
    elif end < 0.7:
        wired.wire.is_up = False
        wired.wire.cut()
        await asyncio.sleep(random.uniform(0.1, 20))
        wired.wire.is_up = True
    wired.faults.remove()
