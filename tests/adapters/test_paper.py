"""The paper broker's line and books."""

from datetime import date

import pytest

from angelx.adapters.paper import PaperBroker
from angelx.bus.bus import Bus
from angelx.domain.errors import OrderRejected
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.domain.instruments import InstrumentTable
from angelx.domain.ports import Broker
from angelx.domain.reports import OrderReport, PositionReport
from angelx.market.state import MarketState
from angelx.venue.settlement import ExpiryValue
from tests.venue.desk import no_fee
from tests.venue.market_day import CALL, EQUITY, PUT, TABLE, TICK, Recorder, always
from tests.venue.paper_play import broker_on, feed


def order(name: str, side: int, quantity: int, limit: int, instrument: str = EQUITY) -> OrderApproved:
    return OrderApproved(0, name, 1, "s", instrument, side, quantity, limit * TICK, False, 0, "", 1.0)


def test_it_is_a_broker() -> None:
    broker: Broker = broker_on(Bus())
    assert callable(broker.submit)


def test_without_latency_reports_come_within_the_cascade() -> None:
    bus = Bus()
    recorder = Recorder(bus)
    broker_on(bus, fee=no_fee)
    feed(bus, [101])
    bus.publish(order("a", 1, 100, 101))
    assert recorder.events == [
        order("a", 1, 100, 101),
        OrderFilled(100, "a", EQUITY, 1, 100, 101 * TICK, 0, "P1"),
    ]


def test_an_order_meets_the_quote_of_its_arrival_and_its_report_takes_as_long_back() -> None:
    bus = Bus()
    recorder = Recorder(bus)
    broker = broker_on(bus, fee=no_fee, latency_ns=15)
    feed(bus, [101])  # Sent at 100, arrives at 115: after the row of 110.
    bus.publish(order("a", 1, 100, 110))
    assert broker.order("a") is None
    feed(bus, [102, 103, 104], at=110)
    assert recorder.reports == []
    report = broker.order("a")
    assert report is not None
    assert report.state == "filled"
    feed(bus, [105], at=131)
    assert recorder.reports == [
        OrderFilled(130, "a", EQUITY, 1, 100, 102 * TICK, 0, "P1"),
    ]


def test_nothing_overtakes_what_was_sent_before() -> None:
    def arrivals(seed: int) -> list[str]:
        bus = Bus()
        recorder = Recorder(bus)
        broker = broker_on(bus, jitter_ns=1000, seed=seed)
        feed(bus, [101])
        for number in range(10):
            bus.publish(order(f"a{number}", 1, 100, 100))
            broker.cancel(f"a{number}")
        bus.advance(10_000)
        times = [event.at for event in recorder.reports]
        assert times == sorted(times)
        assert times[0] > 100
        return [event.order for event in recorder.reports if isinstance(event, OrderAccepted | OrderEnded)]

    for seed in range(5):
        assert arrivals(seed) == [f"a{number}" for number in range(10) for _ in range(2)]


@pytest.mark.parametrize("latency", [0, 50])
def test_an_id_is_sent_once(latency: int) -> None:
    bus = Bus()
    broker = broker_on(bus, latency_ns=latency)
    feed(bus, [101])
    broker.submit(order("a", 1, 100, 100))
    with pytest.raises(OrderRejected, match="duplicate_order: a "):
        broker.submit(order("a", 1, 100, 100))
    bus.advance(1000)
    assert [report.state for report in broker.order_book()] == ["working"]
    with pytest.raises(OrderRejected, match="duplicate_order: a "):
        broker.submit(order("a", 1, 100, 100))


def test_the_end_of_a_session_is_reported() -> None:
    bus = Bus()
    recorder = Recorder(bus)
    broker = broker_on(bus)
    feed(bus, [101])
    bus.publish(order("a", 1, 100, 100))
    broker.end_of_session("NFO")
    broker.end_of_session("US")
    assert recorder.events[-1] == OrderEnded(100, "a", "expired", "session_end", "0 of 100 filled")
    feed(bus, [90], at=200)
    assert len(recorder.events) == 3


def test_the_books() -> None:
    bus = Bus()
    broker = broker_on(bus, fee=no_fee)
    feed(bus, [101], size=60)
    bus.publish(order("a", 1, 100, 102))
    bus.publish(order("b", 1, 0, 102))
    assert broker.order_book() == (
        OrderReport("a", "Va", EQUITY, 1, 100, 102 * TICK, 60, 60 * 101 * TICK, 0, "working", ""),
        OrderReport("b", "", EQUITY, 1, 0, 102 * TICK, 0, 0, 0, "rejected", "bad_quantity"),
    )
    assert broker.positions() == (PositionReport(EQUITY, 60, 60 * 101 * TICK),)
    assert [fill.execution for fill in broker.trade_book()] == ["P1"]
    funds = broker.funds()
    assert (funds.held, funds.locked) == (40 * 102 * TICK, 0)
    assert funds.equity == funds.cash + 60 * 100 * TICK == 10**15 - 60 * TICK
    assert broker.order("c") is None


def test_expired_options_are_valued_and_stay() -> None:
    bus = Bus()
    broker = broker_on(bus)
    for place in (1, 2):
        feed(bus, [101], place=place)
    bus.publish(order("c", 1, 75, 101, CALL))
    bus.publish(order("p", 1, 150, 101, PUT))
    before = broker.positions()
    assert broker.settle_expired(date(2025, 9, 1), {}) == ()
    assert broker.settle_expired(date(2025, 9, 2), {"NSE:N": 130 * TICK}) == (
        ExpiryValue(CALL, 75, 130 * TICK, 75 * 30 * TICK),
        ExpiryValue(PUT, 150, 130 * TICK, 0),
    )
    assert broker.settle_expired(date(2025, 9, 3), {"NSE:N": 90 * TICK})[1].value == 150 * 10 * TICK
    assert broker.positions() == before
    with pytest.raises(ValueError, match="NSE:N"):
        broker.settle_expired(date(2025, 9, 2), {"NSE:B": 1})


def test_only_what_can_be_is_configured() -> None:
    state = MarketState(TABLE)

    def made(**options: object) -> list[Event]:
        PaperBroker(Bus(), state, TABLE, **{"cash": 1, "fee": no_fee, "is_open": always, "seed": 1} | options)  # type: ignore[arg-type]
        return []

    made()
    for options in ({"latency_ns": -1}, {"jitter_ns": -1}, {"reject_rate": 1.5}, {"time_in_force": "GTC"}):
        with pytest.raises(ValueError, match=r"latency_ns|time_in_force"):
            made(**options)
    with pytest.raises(ValueError, match="other instruments"):
        PaperBroker(Bus(), state, InstrumentTable([]), cash=1, fee=no_fee, is_open=always, seed=1)
