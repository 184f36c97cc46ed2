"""Live trading killed anywhere: what was recorded since the last intent may be lost, the broker goes on meanwhile."""

import asyncio
from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.domain.events import OrderApproved, OrderFilled
from angelx.domain.scalars import NS
from angelx.services.kill_switch import LEVELS
from angelx.sim.loop import simulate
from tests.flow.live_house import FAULTS, FickleBroker, LivePlay
from tests.flow.small_house import OPENS_AT, Gambler, market
from tests.flow.test_live_house import check

NEVER_LATE = tuple(fault for fault in FAULTS if fault != "late")
"""What arrives after it was given up for absent cannot be kept from trading beside what went in its place."""
seeds = st.integers(0, 10**6)


class Lives:
    """One session in several processes, each killed and followed by another, on one loop and one clock."""

    def __init__(self, seed: int, faults: tuple[str, ...]) -> None:
        self.random, self.seed = Random(seed), seed
        self.broker = FickleBroker(seed, faults)
        self.play = self._play(0.0)

    def _play(self, now_s: float) -> LivePlay:
        tape = market(self.seed, 1500, begins_at=OPENS_AT + int((now_s + 1) * NS))
        return LivePlay(self.broker, tape, [Gambler("g", self.seed, eager=0.2)], now_s + 300)

    def begin(self) -> None:
        self.running = asyncio.get_running_loop().create_task(self.play.run())

    async def kill(self) -> None:
        """And start again some time later."""
        self.running.cancel()
        await asyncio.wait([self.running])
        journal, level, reason = self.play.journal, self.play.latch.level, self.play.latch.reason
        kept = self.random.randint(journal.durable, len(journal.records))
        await asyncio.sleep(self.random.uniform(0.1, 40))
        now_s = asyncio.get_running_loop().time()
        self.play = self._play(now_s)
        self.play.latch.level, self.play.latch.reason = level, reason
        if kept:
            self.play.restore(journal.records[:kept], OPENS_AT + int(now_s * NS))
        self.begin()


@settings(max_examples=12, deadline=None)
@given(seeds)
def test_nothing_is_sent_twice_and_no_fill_is_lost(seed: int) -> None:
    async def run() -> Lives:
        lives = Lives(seed, FAULTS)
        lives.begin()
        for _ in range(lives.random.randint(1, 3)):
            await asyncio.sleep(lives.random.uniform(0.5, 45))
            await lives.kill()
        await lives.running
        return lives

    check(simulate(run, seed=seed).play)


@settings(max_examples=12, deadline=None)
@given(seeds)
def test_killed_while_it_flattens_it_ends_flat_and_never_sells_more_than_it_holds(seed: int) -> None:
    async def run() -> Lives:
        lives = Lives(seed, NEVER_LATE)
        lives.begin()
        await asyncio.sleep(lives.random.uniform(5, 40))
        lives.play.feed.command("flatten", "test", "operator")
        for _ in range(lives.random.randint(1, 2)):
            await asyncio.sleep(lives.random.choice((0.5, 15.0)) * lives.random.random() + 0.3)
            await lives.kill()
        await lives.running
        return lives

    lives = simulate(run, seed=seed)
    check(lives.play)
    assert lives.play.latch.level == LEVELS.index("flatten")
    assert not any(lives.broker.held.values())
    sold = Counter[str]()
    for fill in (event for event in lives.broker.told if isinstance(event, OrderFilled)):
        sold[fill.instrument] += fill.side * fill.quantity
        assert sold[fill.instrument] >= 0
    assert lives.play.of(OrderApproved)
