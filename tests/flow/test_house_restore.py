"""State = fold(journal): a house restored from any prefix of a journal is the house that lived through it."""

from collections import Counter
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from angelx.bus.records import Record
from angelx.domain.events import (
    EquityMarked,
    Event,
    OrderAccepted,
    OrderApproved,
    OrderEnded,
    OrderFilled,
    PhaseChanged,
    PositionChanged,
    Signal,
    SignalRefused,
    StrategyFailed,
)
from angelx.domain.scalars import NS
from angelx.orders.states import LIVE
from angelx.risk.gate import MINUTE, SECOND
from angelx.services.kill_switch import LEVELS, MemoryLatch
from angelx.signals.strategy import Strategy
from tests.flow.small_house import CLOSES_AT, LIMITS, OPENS_AT, Gambler, Holder, Play, Sampler, cut, market

LATENCY = 50_000_000
ROWS = 260
GUARDED = replace(LIMITS, duplicate_window_ns=300 * NS, daily_loss_ppm=500_000, max_daily_trades=10**6)


def strategies() -> list[Strategy]:
    return [Gambler("one", 1, eager=0.5), Gambler("two", 2, (1, 2), eager=0.5)]


def restored(records: list[Record], **options: Any) -> Play:
    return Play(strategies(), limits=GUARDED, records=records, start=False, **options)


def state(play: Play) -> dict[str, Any]:
    """All that decisions, exposure and money rest on, in plain values."""
    house, now = play.house, play.bus.now
    book = house.book
    return {
        "cash": (house.ledger.cash, house.ledger.realised, house.ledger.fees),
        "positions": {
            key: (p.quantity, p.cost, p.realised)
            for key, p in house.ledger.positions.items()
            if p.quantity or p.realised
        },
        "net": book.net, "held": book.held, "gross": book.gross, "reserved": book.reserved,
        "lines": {
            name: (line.cost, line.buying, line.selling, book.reserved_in(line))
            for name, line in book.ledger.lines.items()
            if line.is_taken
        },
        "orders": {
            name: (o.approved.strategy, o.approved.side, o.left, o.unit, o.approved.reduces, o.filled)
            for name, o in book.live.items()
        },
        "sent": [at for at in book.sent if at > now - SECOND],
        "rejected": [at for at in book.rejected if at > now - MINUTE],
        "fingerprints": book.fingerprints,
        "entries": book.entries,
        "equity": (book.equity, book.day_start, book.peak, book.loss_floor, book.drawdown_floor, book.max_order),
        "router": {name: (str(order.state), order.filled) for name, order in house.router.orders.items()},
        "unanswered": sorted(house.router.unanswered),
        "signals": (house.host.signals, sorted(house.host.used)),
        "desks": [
            ({place: q for place, q in seat.desk.positions.items() if q}, sorted(seat.desk.busy.items()))
            for seat in house.host._seats
        ],
        "live": sorted(house.router.live),
    }  # fmt: skip


@cache
def lived(latency: int) -> tuple[list[Record], dict[int, dict[str, Any]], dict[int, dict[str, int]]]:
    """A journal, and what the house was whenever a cascade had settled, by the number of records then."""
    play = Play(strategies(), limits=GUARDED, latency_ns=latency, reject_rate=0.1)
    states: dict[int, dict[str, Any]] = {}
    broker: dict[int, dict[str, int]] = {}
    batch = market(11, ROWS, gap_ns=400_000_000)
    for row in range(ROWS):
        play.feed(cut(batch, row, row + 1))
        count = len(play.journal.records)
        states[count] = _copied(state(play))
        broker[count] = play.house.exchange.held()
    return play.records, states, broker


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return tuple(map(_copied, value)) if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("latency", [0, LATENCY])
def test_restored_at_every_settled_moment_it_is_the_house_that_lived(latency: int) -> None:
    records, states, broker = lived(latency)
    assert len(states) > 80
    for count, expected in states.items():
        if not count:
            continue
        play = restored(records[:count], latency_ns=latency)
        assert play.bus.now <= OPENS_AT + ROWS * NS
        found = _copied(state(play))
        for name, value in expected.items():
            if name not in ("sent", "rejected"):  # their windows end at different times
                assert found[name] == value, (count, name)
        assert set(expected["sent"]) <= set(found["sent"])
        assert set(expected["rejected"]) <= set(found["rejected"])
        if not latency:
            assert play.house.exchange.held() == broker[count]


@pytest.mark.parametrize("latency", [0, LATENCY])
def test_restored_from_any_prefix_all_books_say_the_same(latency: int) -> None:
    """Also in mid-cascade: what was reported happened, what was not did not; exposure is what still works."""
    records, _, _ = lived(latency)
    for count in range(1, len(records) + 1):
        play = restored(records[:count], latency_ns=latency)
        house = play.house
        fills = [record.event for record in records[:count] if isinstance(record.event, OrderFilled)]
        held = Counter[str]()
        for fill in fills:
            held[fill.instrument] += fill.side * fill.quantity
        net = {name: units for name, units in held.items() if units}
        cash = house.parts.capital - sum(f.side * f.quantity * f.price + f.fee for f in fills)
        live = {name: order for name, order in house.router.orders.items() if order.state in LIVE}

        assert net == play.held == house.book.net == house.exchange.held()
        assert cash == house.ledger.cash == house.broker.funds().cash
        assert {name: o.left for name, o in house.book.live.items()} == {
            name: order.approved.quantity - order.filled for name, order in live.items()
        }
        assert house.book.reserved == sum(
            (order.approved.quantity - order.filled) * order.approved.limit
            for order in live.values()
            if not order.approved.reduces
        )
        assert len(house.router.orders) == sum(isinstance(r.event, OrderApproved) for r in records[:count])
        assert (play.bus.seq, play.bus.row) == (records[count - 1].seq, records[count - 1].row)


@pytest.mark.parametrize("latency", [0, LATENCY])
def test_after_a_crash_anywhere_no_intent_is_sent_twice_and_no_fill_is_lost(latency: int) -> None:
    records, _, _ = lived(latency)
    batch = market(11, ROWS, gap_ns=400_000_000)
    for count in range(5, len(records), 17):
        prefix = records[:count]
        play = restored(prefix, latency_ns=latency)
        sent: list[str] = []
        submit = play.house.broker.submit
        play.house.broker.submit = lambda order, sent=sent, submit=submit: (sent.append(order.order), submit(order))[1]  # type: ignore[method-assign,misc]
        row = prefix[-1].row
        if row:
            play.warm(cut(batch, 0, row))
        play.house.start(unclean=True)
        play.feed(cut(batch, row, ROWS)).pass_time(20)
        play.feed(market(12, 120, begins_at=play.bus.now + NS, gap_ns=400_000_000)).pass_time(60)

        old = {r.event.order for r in prefix if isinstance(r.event, OrderApproved)}
        assert not old.intersection(sent)
        assert len(set(sent)) == len(sent)
        whole = [r.event for r in prefix] + play.events
        approved = Counter(e.order for e in whole if isinstance(e, OrderApproved))
        assert set(approved.values()) <= {1}
        answers = Counter(e.signal for e in play.of(OrderApproved, SignalRefused))
        assert answers == Counter(e.signal for e in play.of(Signal))
        assert play.held == play.house.exchange.held() == play.house.book.net
        assert play.house.ledger.cash == play.house.broker.funds().cash
        stuck = [name for name in old if play.house.router.orders[name].state in LIVE]
        assert not set(stuck).intersection(play.house.router.unanswered), "every order in doubt was settled"


def test_after_an_unclean_stop_entries_wait_for_two_clean_looks() -> None:
    records, states, _ = lived(LATENCY)
    batch = market(11, ROWS, gap_ns=400_000_000)
    prefix = records[: next(count for count, found in states.items() if count > 100 and len(found["held"]) > 3)]
    play = restored(prefix, latency_ns=LATENCY)
    play.warm(cut(batch, 0, prefix[-1].row))
    play.house.start(unclean=True)
    play.feed(cut(batch, prefix[-1].row, ROWS)).pass_time(20)

    begins = prefix[-1].event.at
    entries = [event.at - begins for event in play.of(OrderApproved) if not event.reduces]
    exits = [event.at - begins for event in play.of(OrderApproved) if event.reduces]
    assert min(entries) >= 13 * NS
    assert min(exits) < 13 * NS


# ---------------------------------------------------------------- what a restart must not forget
def test_a_restart_does_not_begin_a_new_day() -> None:
    """The day's loss and the day's entries count on: a crash re-arms nothing."""
    play = Play([Holder()], limits=replace(LIMITS, daily_loss_ppm=30_000))
    play.feed(market(1, 60))
    book = play.house.book
    loss = EquityMarked(play.bus.now, book.day_start - book.day_start // 50, 0, 0, 0)
    records = [*play.records, Record(len(play.records) + 1, play.bus.seq, play.bus.row, loss)]

    again = Play([Holder()], limits=replace(LIMITS, daily_loss_ppm=30_000), records=records, start=False)
    again.house.start(unclean=True)

    assert (again.house.book.day_start, again.house.book.entries) == (book.day_start, 1)
    assert again.house.book.loss_floor == book.loss_floor


def test_a_new_session_begins_a_new_day() -> None:
    play = Play([Holder()])
    play.feed(market(1, 60))
    assert play.house.book.entries == 1
    play.bus.advance(OPENS_AT + 24 * 3600 * NS + NS)
    assert [e.session for e in play.of(PhaseChanged) if e.phase == "open"] == ["2026-01-05"] * 2 + ["2026-01-06"] * 2
    assert play.house.book.entries == 0
    assert play.house.book.day_start == play.house.book.equity


def test_indicators_stay_warm_through_a_restart() -> None:
    """`start` is called once; what was warmed up is not thrown away when the house starts."""
    batch = market(2, 300)
    whole = Play([Sampler("s", 1)])
    calls: list[int] = []

    class Counting(Sampler):
        def start(self) -> None:
            calls.append(1)
            super().start()

    whole.feed(batch)
    play = Play([Counting("s", 1)], records=whole.records[:2], start=False)
    play.warm(cut(batch, 0, 100))
    play.house.start()
    assert calls == [1]


def test_a_strategy_hears_of_what_it_holds() -> None:
    """Else nobody watches its stop."""

    class Listening(Holder):
        def on_position(self, event: PositionChanged) -> None:
            self.heard.append(event)

    play = Play([Listening()])
    play.feed(market(1, 60))
    (position,) = (p for p in play.house.ledger.positions.values() if p.quantity)
    strategy = Listening()
    again = Play([strategy], records=play.records, start=False)
    again.house.start()

    told = [event for event in strategy.heard if isinstance(event, PositionChanged)]
    assert [(e.instrument, e.quantity, e.cost) for e in told] == [("NFO:call", position.quantity, position.cost)]
    assert not again.of(Signal)


def test_a_strategy_that_failed_is_not_called_again_after_a_restart_and_its_positions_are_closed() -> None:
    class Failing(Holder):
        calls = 0

        def on_tick(self, place: int) -> None:
            Failing.calls += 1
            super().on_tick(place)
            if self.desk.position(1):
                raise ValueError("no more")

    play = Play([Failing()])
    batch = market(1, 60)
    failed = next(row for row in range(60) if play.feed(cut(batch, row, row + 1)).of(StrategyFailed))
    assert play.held
    calls = Failing.calls
    latch = MemoryLatch()
    latch.raise_to(LEVELS.index("halt"), "strategy failed", "strategy_host", 0)

    again = Play([Failing()], records=play.records, start=False, latch=latch)
    again.warm(cut(batch, 0, failed + 1))
    again.house.start(unclean=True)
    again.feed(cut(batch, failed + 1, 60)).pass_time(10)

    assert Failing.calls == calls
    assert not again.held


@pytest.mark.parametrize(
    "stray",
    [
        OrderFilled(0, "foreign", "NFO:call", 1, 75, 1_000_000, 0, "X1"),
        OrderAccepted(0, "foreign", "V1"),
        OrderEnded(0, "foreign", "cancelled", "x", "y"),
        OrderEnded(0, "OURS", "cancelled", "late", "after the fill"),
        OrderEnded(0, "OURS", "rejected", "late", "after the fill"),
    ],
)
def test_what_was_reported_and_survived_is_survived_by_a_restart(stray: Any) -> None:
    """Foreign orders and reports that fit no state are incidents when they come; the restart reads them again."""
    play = Play([Holder()])
    play.feed(market(1, 60))
    ours = play.of(OrderApproved)[0].order
    event: Event = replace(stray, at=play.bus.now, order=ours if stray.order == "OURS" else stray.order)
    play.bus.publish(event)

    again = Play([Holder()], records=play.records, start=False)

    assert str(again.house.router.orders[ours].state) == str(play.house.router.orders[ours].state)
    assert again.house.ledger.cash == play.house.ledger.cash
    assert CLOSES_AT
