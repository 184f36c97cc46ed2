"""Orders that rest too long are taken back; exits go out again until nothing is held, whatever the broker does."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.bus.records import Record
from angelx.domain.errors import BrokerUnreachable
from angelx.domain.events import (
    CancelRequested,
    CommandReceived,
    Event,
    IncidentReported,
    OrderApproved,
    OrderClosed,
    OrderEnded,
    OrderFilled,
    SessionStarted,
    Signal,
)
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, EXCHANGE_AT, INSTRUMENT, LAST, TickBatch, batch_of
from angelx.research.session_facts import SessionFacts
from angelx.services.patience import CHASES
from angelx.signals.strategy import Strategy
from angelx.sim.loop import simulate
from tests.flow.live_house import FickleBroker, LivePlay
from tests.flow.small_house import CALL, CAPITAL, LIMITS, LOT, OPENS_AT, TICK, Gambler, Play, market
from tests.flow.venue_house import BROKERS, Wired, played

PLACE = 1
SESSION = SessionStarted(OPENS_AT, "flow", "paper", "{}", "", "", 1, CAPITAL, "INR", resumed=False)
ALL = 4 * LOT
"""What `LIMITS` buys."""
LATENCY = 50_000_000


def row(at_s: float, bid: int, size: int = ALL, *, spread: int = 1) -> TickBatch:
    """One quote so many seconds after the open, in ticks; sizes of both sides. No bid where it is 0."""
    at = OPENS_AT + int(at_s * NS)
    cells = {
        INSTRUMENT: PLACE, AT: at, EXCHANGE_AT: at - 1000, BID: bid * TICK, ASK: (bid + spread) * TICK, LAST: TICK,
        BID_SIZE: size if bid else 0, ASK_SIZE: size,
    }  # fmt: skip
    return batch_of({field: np.array([value]) for field, value in cells.items()})


class Once(Strategy):
    """Buys at its first quote and says flat once, a while later: as plain as a person's own strategy may be."""

    name = "once"

    def __init__(self, out_at_s: float = 3.0) -> None:
        self._out_at, self.closed = OPENS_AT + int(out_at_s * NS), list[OrderClosed]()
        self._is_in = self._is_out = False

    def watches(self) -> Sequence[int]:
        return (PLACE,)

    def on_tick(self, place: int) -> None:
        if not self._is_in:
            self._is_in = self.desk.long(place, why="in")
        elif not self._is_out and self.desk.now >= self._out_at:
            self._is_out = self.desk.flat(place, why="out")

    def on_closed(self, event: OrderClosed) -> None:
        self.closed.append(event)


def play_of(*rows: TickBatch, strategy: Strategy | None = None, latency_ns: int = LATENCY, **more: Any) -> Play:
    play = Play([strategy or Once()], latency_ns=latency_ns, **more)
    for one in rows:
        play.feed(one)
    return play


def left_behind(*, thin: int = ALL, **more: Any) -> Play:
    """Four lots are held and said flat of at 100; when that order arrives the bid is at 90."""
    return play_of(row(1, 100), row(3, 100, ALL + LOT), row(3.01, 90, thin), **more)


def asked(play: Play) -> list[int]:
    """Seconds after the open of what patience took back."""
    return [round((one.at - OPENS_AT) / NS) for one in play.of(CancelRequested) if one.why.startswith("patience")]


# ---------------------------------------------------------------- on paper
def test_an_exit_that_missed_the_touch_goes_out_again_at_the_touch_of_then() -> None:
    play = left_behind().pass_time(4)

    first, again = (one for one in play.of(OrderApproved) if one.reduces)
    assert asked(play) == [5]
    assert (first.limit, again.limit) == (100 * TICK, 89 * TICK), "the second a tick beyond the touch"
    assert [one.price for one in play.of(OrderFilled)] == [101 * TICK, 90 * TICK]
    assert [(one.direction, one.why, one.urgency) for one in play.of(Signal)][1:] == [
        (0, "out", 0), (0, "patience:try_2", 1)
    ]  # fmt: skip
    assert play.held == {}
    assert not play.of(IncidentReported)
    (trip,) = SessionFacts.of([SESSION, *play.events]).trips
    assert (trip.entry_why, trip.exit_why) == ("in", "out"), "a report has the strategy's reason"


def test_an_entry_that_missed_the_touch_is_taken_back_and_its_strategy_hears_of_it() -> None:
    strategy = Once()
    play = play_of(row(1, 100), row(1.01, 110), strategy=strategy).pass_time(30)

    assert asked(play) == [11]
    assert [(one.outcome, one.filled) for one in strategy.closed] == [("cancelled", 0)]
    assert len(play.of(Signal)) == 1, "it is not sent again"
    assert not play.house.book.live
    assert not play.house.book.reserved


def test_the_rest_of_an_entry_is_taken_back_and_what_it_bought_can_be_sold() -> None:
    strategy = Once(2.0)
    play = play_of(row(1, 100, LOT), row(2, 100, 2 * LOT), strategy=strategy)
    assert play.held == {CALL.id: LOT}
    play.pass_time(15).feed(row(20, 100)).pass_time(1)
    assert [one.quantity for one in play.of(OrderApproved)] == [ALL, 3 * LOT]
    assert play.held == {}


@pytest.mark.parametrize("latency", [0, LATENCY])
def test_a_thin_book_takes_an_exit_in_parts_and_never_too_much(latency: int) -> None:
    """A lot each time the quote changes; sizes that change show a lot more."""
    play = left_behind(thin=LOT, latency_ns=latency)
    for second in range(5, 60, 5):
        play.feed(row(second, 90 - second // 5, LOT))
    play.pass_time(30)
    assert play.held == {}
    sold = sum(one.quantity for one in play.of(OrderFilled) if one.side < 0)
    assert sold == ALL


def test_nobody_to_trade_with_is_told_once_and_the_first_who_comes_is_taken() -> None:
    play = play_of(row(1, 100), row(3, 100, ALL + LOT), row(3.01, 0, spread=100)).pass_time(600)

    assert play.held == {CALL.id: ALL}
    assert len(play.of(Signal)) == 2, "nothing is asked for without a bid"
    assert len([one for one in play.of(IncidentReported) if "chases" in one.what]) == 1
    play.feed(row(700, 40)).pass_time(15)
    assert play.held == {}
    assert play.of(OrderFilled)[-1].price == 40 * TICK


def falling(limits: Any = LIMITS) -> Play:
    """A bid of less than a lot for two minutes: every exit rests, however far its limit goes."""
    return left_behind(thin=LOT - 1, limits=limits).pass_time(120)


def test_chases_widen_are_told_after_three_and_stay_below_twenty_cancels_a_minute() -> None:
    play = falling()
    limits = [one.limit // TICK for one in play.of(OrderApproved) if one.reduces]
    assert limits[:5] == [100, 89, 88, 86, 86]
    assert set(limits[4:]) == {86}, "no further than the most urgent collar"
    times = asked(play)
    assert times[:4] == [5, 7, 10, 12], "two seconds, and a quarter on the line"
    assert {later - earlier for earlier, later in pairwise(times[4:])} <= {10, 11}
    assert max(sum(at <= one < at + 60 for one in times) for at in times) <= 20
    told = play.of(IncidentReported)
    assert [one.what for one in told] == [
        f"the exit of {CALL.id} of once has not filled in {CHASES} chases: it goes on, slowly"
    ]
    play.feed(row(130, 80)).pass_time(15)
    assert play.held == {}


def test_nothing_is_taken_back_where_the_wait_is_0() -> None:
    play = left_behind(exit_wait_ns=0, entry_wait_ns=0).pass_time(3600)
    assert not play.of(CancelRequested)
    assert play.held == {CALL.id: ALL}


def test_orders_that_fill_where_they_arrive_leave_no_timer() -> None:
    play = play_of(row(1, 100), row(3, 100, ALL + LOT), latency_ns=0)
    assert play.held == {}
    assert not any("patience" in repr(timer) for _, _, timer in play.bus._timers)


def test_a_broker_that_refuses_every_exit_is_asked_at_a_steady_pace() -> None:
    play = left_behind(thin=LOT - 1)
    play.house.broker._venue._reject_rate = 1.0
    play.pass_time(120)
    asks = [one.at for one in play.of(Signal) if one.why.startswith("patience")]
    assert CHASES < len(asks) <= CHASES + 12
    assert min(later - earlier for earlier, later in pairwise(asks)) >= 2 * NS
    play.house.broker._venue._reject_rate = 0.0
    play.feed(row(130, 80)).pass_time(30)
    assert play.held == {}


@pytest.mark.parametrize("verb", ["silent", "stop"])
def test_an_exit_stays_where_nothing_could_go_in_its_place(verb: str) -> None:
    play = left_behind()
    play.bus.publish(CommandReceived(play.bus.now, verb, "test", "operator"))
    play.pass_time(60)
    assert not asked(play)
    assert len(play.house.book.live) == 1


def test_exits_go_on_at_halt() -> None:
    play = left_behind()
    play.bus.publish(CommandReceived(play.bus.now, "halt", "test", "operator"))
    play.pass_time(5)
    assert play.held == {}


def test_what_is_safe_exits_is_left_to_it() -> None:
    play = left_behind(thin=LOT - 1)
    play.bus.publish(CommandReceived(play.bus.now, "flatten", "test", "operator"))
    play.pass_time(120)
    cancels = [round((one.at - OPENS_AT) / NS) for one in play.of(CancelRequested)]
    assert not asked(play)
    assert 10 <= sum(at < 63 for at in cancels) <= 20, "SPEC 5.4"
    play.feed(row(130, 80)).pass_time(5)
    assert play.held == {}


def test_an_exit_that_the_close_ended_goes_on_at_the_next_open() -> None:
    class Carrying(Once):
        intraday = False

    play = left_behind(strategy=Carrying(), thin=LOT - 1)
    play.bus.advance(OPENS_AT + 24 * 3600 * NS - NS)
    assert not play.house.book.live
    expired = [one for one in play.of(OrderEnded) if one.outcome == "expired"]
    assert expired
    assert play.of(Signal)[-1].at <= expired[-1].at, "not while the market is closed"
    play.bus.advance(OPENS_AT + 24 * 3600 * NS)
    play.feed(row(24 * 3600 + 1, 80)).pass_time(15)
    assert play.held == {}


def test_a_position_bought_anew_is_not_chased() -> None:
    class Twice(Once):
        def on_closed(self, event: OrderClosed) -> None:
            super().on_closed(event)
            if not self.desk.position(PLACE):
                self.desk.long(PLACE, why="in again")

    play = left_behind(strategy=Twice()).pass_time(5)
    play.feed(row(9, 90)).pass_time(60)
    assert play.held == {CALL.id: ALL}
    assert [one.why for one in play.of(Signal)] == ["in", "out", "patience:try_2", "in again"]


# ---------------------------------------------------------------- every cut, every crash
@pytest.mark.parametrize("latency", [0, LATENCY, 900_000_000])
def test_the_same_journal_whatever_the_batches(latency: int) -> None:
    batch = market(8, 900, gap_ns=400_000_000)

    def records(size: int) -> list[Any]:
        crowd: list[Strategy] = [Gambler("one", 1, eager=0.3), Gambler("two", 2, (1, 2), eager=0.3)]
        play = Play(crowd, latency_ns=latency, jitter_ns=latency // 3, reject_rate=0.05, entry_wait_ns=3 * NS)
        play.feed(batch, size).pass_time(60)
        whys = Counter(one.why for one in play.of(CancelRequested))
        if latency:
            assert whys["patience:exit after 2 s"] > 10 < whys["patience:entry after 3 s"], whys
        return play.journal.records

    one = records(1)
    assert all(records(size) == one for size in (7, 900))


def restarted(records: Sequence[Record], **more: Any) -> Play:
    play = Play([Once()], latency_ns=LATENCY, records=records, start=False, **more)
    play.bus.advance(records[-1].event.at)
    play.house.start(unclean=True)
    return play


def test_killed_anywhere_a_position_that_was_to_be_closed_is_closed() -> None:
    whole = left_behind(thin=LOT - 1).pass_time(16)
    said_flat = next(n for n, one in enumerate(whole.events) if isinstance(one, OrderApproved) and one.reduces)
    for count in range(said_flat + 2, len(whole.records) + 1):
        play = restarted(whole.records[:count])
        play.warm(row(16, 90, LOT - 1))
        play.feed(row(30, 80)).pass_time(30)
        if any(isinstance(one, OrderEnded) and one.outcome == "absent" for one in play.events):
            continue  # it never arrived: the reconciler says so later, and then it goes on
        assert play.held == {}, f"after {count} records: {play.events[-3:]}"
        sold = sum(one.quantity for one in play.of(OrderFilled) if one.side < 0)
        assert sold == ALL


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, LATENCY, 700_000_000]))
def test_never_more_than_is_held(seed: int, latency: int) -> None:
    """Fills cross cancels all the time; no order sells what another one sells."""
    crowd: list[Strategy] = [Gambler("one", seed, eager=0.4), Gambler("two", seed + 1, (1, 2), eager=0.4)]
    play = Play(crowd, latency_ns=latency, jitter_ns=latency // 2, reject_rate=0.05, exit_wait_ns=NS, entry_wait_ns=NS)
    play.feed(market(seed, 500, gap_ns=300_000_000)).pass_time(30)
    owner = {one.order: one for one in play.of(OrderApproved)}
    held, filled = Counter[tuple[str, str]](), Counter[str]()
    for event in play.events:
        if isinstance(event, OrderFilled):
            order = owner[event.order]
            held[order.strategy, order.instrument] += event.side * event.quantity
            filled[event.order] += event.quantity
            assert held[order.strategy, order.instrument] >= 0
            assert filled[event.order] <= order.quantity
    assert +held == Counter(play.house.book.held)


# ---------------------------------------------------------------- real brokers
class Unwilling(FickleBroker):
    """What arrives rests; a cancel may cross a fill, or its answer may be lost."""

    def __init__(self, trouble: str) -> None:
        super().__init__(1, ("none",))
        self.trouble, self.cancels = trouble, 0

    async def cancel(self, order: str) -> None:
        self.cancels += 1
        known = self.orders[order]
        if self.trouble == "crosses" and known.side < 0 and known.state == "working":
            self.held[known.instrument] -= known.quantity
            values = {name: getattr(known, name) for name in known.__struct_fields__}
            self.orders[order] = type(known)(**{**values, "filled": known.quantity, "state": "filled"})
            self.on_report(
                OrderFilled(0, order, known.instrument, -1, known.quantity, known.limit, 0, f"Y{self.cancels}")
            )
        if self.trouble == "lost_request" and self.cancels % 2:
            raise BrokerUnreachable("no route")
        await super().cancel(order)
        if self.trouble == "lost_reply" and self.cancels % 2:
            raise BrokerUnreachable("connection reset")


class Timed(Once):
    """Says flat by the clock, once."""

    every_s = 1.0

    def on_timer(self) -> None:
        if self.desk.position(PLACE):
            self.on_tick(PLACE)


@pytest.mark.parametrize("trouble", ["none", "crosses", "lost_request", "lost_reply"])
def test_an_exit_at_a_real_broker_is_chased_until_it_fills(trouble: str) -> None:
    broker = Unwilling(trouble)
    tape = market(3, 1500)
    play = LivePlay(broker, tape, [Timed(20.0)], 120.0)

    async def run() -> LivePlay:
        loop = asyncio.get_running_loop()
        loop.call_later(19.0, lambda: setattr(broker, "fills", False))
        loop.call_later(40.0, lambda: setattr(broker, "fills", True))
        return await play.run()

    simulate(run)
    exits = [one for one in play.of(OrderApproved) if isinstance(one, OrderApproved) and one.reduces]
    assert len(exits) == 1 if trouble == "crosses" else len(exits) > CHASES
    assert not play.house.router.live
    assert not play.house.book.net
    assert not any(broker.held.values())
    assert max(Counter(broker.posted).values()) == 1


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("what", ["lost_request", "lost_reply", "slow_reply", "status"])
def test_cancels_that_get_lost_at_a_real_adapter(broker: str, what: str) -> None:
    """`played` compares both sides at the end."""
    begun = []

    async def story(wired: Wired) -> None:
        path, method = ("*/cancelOrder", "POST") if broker == "angelone" else ("/v2/orders/*", "DELETE")
        more: dict[str, Any] = {"delay_s": 2.0} if what == "slow_reply" else {"status": 503} if what == "status" else {}
        wired.fault(what, where=path, method=method, rate=0.5, **more)
        begun.append(wired.bus.now)
        await wired.until(lambda: lost(wired) >= 3 and len(taken_back(wired)) >= 5, 900)

    def lost(wired: Wired) -> int:
        return sum(line["happened"] for line in wired.faults.menu())  # type: ignore[misc]

    def taken_back(wired: Wired) -> list[Event]:
        return [one for one in wired.of(CancelRequested) if one.why.startswith("patience") and one.at > begun[0]]

    wired = played(broker, story, seconds=1200.0)
    for fill in wired.side.exchange.fills():
        assert fill.position >= 0, "never more than was held"
