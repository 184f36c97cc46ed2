"""The live driver: what it leaves out when too much comes, what it hands on, and when it goes."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import structlog

from angelx.domain.events import CommandReceived, HealthChanged, SessionEnded
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import AT, EXCHANGE_AT, INSTRUMENT, LAST, NOT_A_NUMBER, Rows, TickBatch
from angelx.services import data_feed
from angelx.services.live_feed import FEED, MOST_ROWS
from angelx.signals.strategy import Strategy
from angelx.sim.loop import simulate
from tests.flow.live_house import FickleBroker, LivePlay
from tests.flow.small_house import Gambler, market

BURST = MOST_ROWS + 904


class Bursts:
    """A feed that says what it is told to, seconds after the start."""

    def __init__(self, says: dict[float, Callable[["Bursts"], None]]) -> None:
        self._says = says
        self.on_rows: Callable[[TickBatch], None] = print
        self.on_state: Callable[[bool, str], None] = print

    async def subscribe(self, table: InstrumentTable, places: Sequence[int]) -> None: ...

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for after_s, say in self._says.items():
            await asyncio.sleep(max(after_s - loop.time(), 0.0))
            say(self)
        await loop.create_future()


def play_of(
    says: dict[float, Callable[[Bursts], None]], strategies: Sequence[Strategy] = (), seconds: float = 1000.0
) -> LivePlay:
    play = LivePlay(FickleBroker(1, ("none",)), market(1, 5), strategies, seconds)
    bursts = Bursts(says)
    bursts.on_rows, bursts.on_state = play.market.on_rows, play.market.on_state
    play.market = bursts  # type: ignore[assignment]
    return play


def test_too_many_rows_in_one_turn_are_conflated_and_counted() -> None:
    burst = market(3, BURST)
    later = market(4, MOST_ROWS, begins_at=int(burst.table[AT, -1]) + NS)
    last = {int(burst.table[INSTRUMENT, row]): int(burst.table[LAST, row]) for row in range(BURST)}
    broken = np.ascontiguousarray(burst.table[:, -1:])
    broken[LAST] = NOT_A_NUMBER
    torn = TickBatch(np.concatenate([burst.table, broken], axis=1))
    play = play_of({1.0: lambda feed: feed.on_rows(torn), 2.0: lambda feed: feed.on_rows(later)})
    heard: list[tuple[int, int]] = []
    seen: list[tuple[int, int]] = []
    play.feed.received = lambda batch, row: heard.append((batch.rows, row))
    play.bus.subscribe(Rows, lambda rows: seen.extend(_rows(rows)))
    simulate(play.run)
    first = heard[0][0]
    assert first <= 4 * 3, "first, last, highest, lowest"
    assert dict(seen[:first]) == last, "the newest that can be true: a broken row hides none"
    assert play.feed.conflated == BURST - first
    assert play.feed.figures() == {"waiting": 0, "conflated": BURST - first, "ahead_of_clock": 0}
    assert heard[0][1] == 0
    assert heard[1][1] == first
    assert play.bus.row == sum(rows for rows, _ in heard)
    assert play.bus.row > MOST_ROWS // 2, "as many as it can take go on whole"


def _rows(rows: Rows) -> list[tuple[int, int]]:
    table = rows.batch.table[:, rows.start : rows.stop]
    return [(int(place), int(last)) for place, last in zip(table[INSTRUMENT], table[LAST], strict=True)]


def test_rows_that_came_apart_and_late_go_on_in_order_at_one_time() -> None:
    first, second = market(3, 40), market(4, 40)

    def both(feed: Bursts) -> None:
        feed.on_rows(first)
        feed.on_rows(second)

    times: list[int] = []
    play = play_of({5.0: both})
    play.bus.subscribe(Rows, lambda rows: times.extend(rows.batch.table[AT, rows.start : rows.stop].tolist()))
    simulate(play.run)
    assert len(times) > 40
    assert bool((np.diff(times) >= 0).all())
    assert play.feed.conflated == 0


def test_ticks_of_the_hosts_future_are_refused_and_that_is_told_once_a_minute() -> None:
    """A clock that is minutes late would else look like a silent market."""
    tape = market(3, 40)
    tape.table[EXCHANGE_AT] = tape.table[AT] + 3600 * NS
    play = play_of(dict.fromkeys((1.0, 2.0, 3.0, 70.0), lambda feed: feed.on_rows(tape)))
    with structlog.testing.capture_logs() as logs:
        simulate(play.run)
    told = [line["rows"] for line in logs if line["event"] == "ticks_ahead_of_clock"]
    assert told == [40, 160]
    assert play.bus.row == 0
    assert play.feed.figures()["ahead_of_clock"] == 160


def test_a_feed_that_breaks_is_told_with_its_reason() -> None:
    play = play_of({1.0: lambda feed: feed.on_state(False, "socket closed"), 2.0: lambda feed: feed.on_state(True, "")})
    simulate(play.run)
    told = [(e.state, e.reason) for e in play.of(HealthChanged) if isinstance(e, HealthChanged) and e.service == FEED]
    assert told == [("recovering", "socket closed"), ("healthy", "data flows")]


def test_told_to_stop_with_nothing_at_work_it_goes_at_once_and_says_why() -> None:
    play = play_of({})

    async def run() -> LivePlay:
        asyncio.get_running_loop().call_later(3.0, play.feed.command, "stop", "lunch", "operator")
        return await play.run()

    simulate(run)
    ended = play.of(SessionEnded)[-1]
    assert isinstance(ended, SessionEnded)
    assert ended.reason == "stopped by operator: lunch"
    assert play.bus.now - play.of(CommandReceived)[-1].at < NS


@pytest.mark.parametrize("at_once", [False, True])
def test_a_second_signal_does_not_wait_for_what_is_at_work(at_once: bool) -> None:
    broker = FickleBroker(2, ("none",))
    broker.fills = broker.takes_back = False
    play = LivePlay(broker, market(2, 300), [Gambler("g", 2, eager=1.0)], 60.0)

    def leave() -> None:
        play.feed.stopping, play.feed.at_once = "stopped at once by SIGTERM", True

    async def run() -> LivePlay:
        loop = asyncio.get_running_loop()
        loop.call_later(3.0, play.feed.command, "stop", "SIGTERM", "signal")
        if at_once:
            loop.call_later(3.5, leave)
        return await play.run()

    with structlog.testing.capture_logs() as logs:
        simulate(run)
    left = [line["orders"] for line in logs if line["event"] == "left_at_work"]
    assert left == ([] if at_once else [play.link.at_work()])
    waited = play.bus.now - play.of(CommandReceived)[-1].at
    assert waited < NS if at_once else waited >= 5 * NS
    assert play.link.at_work()


def test_it_breathes_between_inputs_so_that_a_file_is_seen_and_heads_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_feed, "BREATHE_NS", -1)
    breaths: list[int] = []
    play = play_of({}, seconds=5.0)
    play.feed.on_breath = lambda: breaths.append(play.bus.now)
    simulate(play.run)
    assert len(breaths) > 15
    assert max(np.diff(breaths)) <= NS
