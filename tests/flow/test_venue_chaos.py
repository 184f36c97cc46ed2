"""`make chaos` in virtual time: rounds of trouble drawn from a seed, the daemon killed, the venue gone for a while.

A seed takes a second or two and is the same every time: `ANGELX_VENUE_CHAOS="4 5 6"` plays others.
"""

import asyncio
import os
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


async def _round(random: Random, broker: str, wired: Wired) -> None:
    for _ in range(random.randint(1, 4)):
        what = random.choice(sorted(DRAWS))
        wired.fault(what, **DRAWS[what](random, broker))
    await asyncio.sleep(random.uniform(2, 20))
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
    await wired.traded(3)
