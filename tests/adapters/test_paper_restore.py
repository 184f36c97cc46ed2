"""After SIGKILL the broker is rebuilt from what the journal holds, wherever it was cut."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelx.bus.bus import Bus
from angelx.domain.errors import JournalBroken, OrderRejected
from angelx.domain.events import (
    CancelRequested,
    Event,
    OrderAccepted,
    OrderApproved,
    OrderEnded,
    OrderFilled,
    SessionStarted,
)
from tests.venue.market_day import CALL, EQUITY, TICK, Day, Recorder, days
from tests.venue.paper_play import MONEY, broker_on, feed, play


@settings(max_examples=150, deadline=None)
@given(day=days(tifs=("DAY",)), latency=st.sampled_from((0, 2)), cut=st.floats(0, 1))
def test_wherever_the_journal_was_cut_the_broker_is_what_it_says(day: Day, latency: int, cut: float) -> None:
    _, recorder = play(day, day.rows, latency_ns=latency)
    events = recorder.events[: int(cut * len(recorder.events))]
    broker = broker_on(Bus())
    broker.restore(events)
    fills = [event for event in events if isinstance(event, OrderFilled)]
    units, filled = Counter[str](), Counter[str]()
    for fill in fills:
        units[fill.instrument] += fill.side * fill.quantity
        filled[fill.order] += fill.quantity
    assert {held.instrument: held.quantity for held in broker.positions()} == {k: v for k, v in units.items() if v}
    assert broker.funds().cash == MONEY - sum(f.side * f.quantity * f.price + f.fee for f in fills)
    assert broker.trade_book() == tuple(fills)
    intents = {event.order: event for event in events if isinstance(event, OrderApproved)}
    accepted = {event.order for event in events if isinstance(event, OrderAccepted | OrderFilled)}
    ended = {event.order: event.outcome for event in events if isinstance(event, OrderEnded)}
    ended = {order: outcome for order, outcome in ended.items() if outcome != "absent"}
    states = {report.order: report.state for report in broker.order_book()}
    for name, intent in intents.items():
        if filled[name] == intent.quantity:
            assert states[name] == "filled"
        elif name in ended:
            assert states[name] == ended[name]
        else:
            assert states.get(name) == ("working" if name in accepted else None)


@settings(max_examples=100, deadline=None)
@given(day=days(tifs=("DAY",)))
def test_rebuilt_from_a_whole_journal_it_is_the_same_broker(day: Day) -> None:
    broker, recorder = play(day, day.rows)
    restored = broker_on(Bus())
    restored.restore(recorder.events)
    assert restored.order_book() == broker.order_book()
    assert restored.positions() == broker.positions()
    assert restored.trade_book() == broker.trade_book()
    assert restored.funds().cash == broker.funds().cash


def approved(name: str, quantity: int = 100, limit: int = 101, instrument: str = EQUITY) -> OrderApproved:
    return OrderApproved(1, name, 1, "s", instrument, 1, quantity, limit * TICK, False, 0, "", 1.0)


FILL = OrderFilled(1, "a", EQUITY, 1, 40, 101 * TICK, 7, "P12")
HISTORY: list[Event] = [
    SessionStarted(0, "r", "paper", "{}", "", "", 1, 1, "INR", False),
    approved("a"),
    approved("lost"),
    OrderAccepted(1, "a", "Va"),
    FILL,
]


def test_it_goes_on_where_it_was() -> None:
    bus = Bus()
    recorder = Recorder(bus)
    broker = broker_on(bus)
    broker.restore([*HISTORY, FILL])  # The same fill twice is one fill.
    assert broker.funds().held == 60 * 101 * TICK + 200_000 + (100 * 101 * TICK * 3 + 500) // 1000 - 7
    assert broker.order("lost") is None
    with pytest.raises(OrderRejected, match="duplicate_order"):
        broker.submit(approved("a"))
    feed(bus, [101, 101, 101])
    report = broker.order("a")
    assert report is not None
    assert (report.state, report.filled, broker.funds().held) == ("filled", 100, 0)
    assert [event.execution for event in recorder.events if isinstance(event, OrderFilled)] == ["P13"]


def test_a_cancel_that_was_not_answered_is_carried_out() -> None:
    bus = Bus()
    recorder = Recorder(bus)
    broker = broker_on(bus)
    broker.restore([*HISTORY, CancelRequested(5, "a", "why"), CancelRequested(5, "lost", "why")])
    feed(bus, [101, 101])
    assert [type(event) for event in recorder.events] == [OrderEnded]
    report = broker.order("a")
    assert report is not None
    assert (report.state, report.code, report.filled) == ("cancelled", "requested", 40)


def test_a_journal_that_contradicts_itself_is_named() -> None:
    with pytest.raises(JournalBroken, match="P12"):
        broker_on(Bus()).restore([FILL])
    with pytest.raises(JournalBroken, match="NFO:gone"):
        broker_on(Bus()).restore([approved("x", instrument="NFO:gone"), OrderAccepted(1, "x", "Vx")])


def test_orders_refused_before_stay_refused() -> None:
    broker = broker_on(Bus())
    broker.restore([approved("x", instrument=CALL), OrderEnded(1, "x", "rejected", "off_lot", "")])
    broker.restore([approved("y"), OrderEnded(1, "y", "absent", "", "")])
    report = broker.order("x")
    assert report is not None
    assert (report.state, report.code) == ("rejected", "off_lot")
    assert broker.order("y") is None
