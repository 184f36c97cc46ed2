"""Phases, halts, auctions, half days and nights at the exchange."""

from datetime import date, timedelta

import pytest

from angelx.domain.instruments import Instrument, InstrumentTable, Kind
from angelx.domain.scalars import NS
from angelx.market.sessions import Session, Sessions
from angelx.venue.exchange import Policy, Refused
from angelx.venue.hours import NEVER, CalendarHours
from angelx.venue.requests import Exit
from tests.venue.floor import Floor
from tests.venue.market_day import TICK

DAY = date(2026, 10, 21)
HALF_DAY = date(2026, 11, 27)
NSE_DAY = date(2026, 10, 22)
HOURS = CalendarHours(Sessions.load())
TABLE = InstrumentTable(
    [
        Instrument(
            id=name, symbol=name, segment=name.partition(":")[0], kind=Kind.EQUITY, currency="X", tick_size=TICK,
            freeze_quantity=10_000,
        )
        for name in ("US:X", "NSE:Y")
    ]
)  # fmt: skip


def session(segment: str, day: date) -> Session:
    found = Sessions.load().on(segment, day)
    assert isinstance(found, Session)
    return found


def floor_at(at: int, **policy: object) -> Floor:
    floor = Floor(Policy(**policy), table=TABLE, hours=HOURS)  # type: ignore[arg-type]
    floor.exchange.advance(at)
    floor.at = at
    return floor


US = session("US", DAY)


def quote(floor: Floor, at: int, bid: int = 99, ask: int = 100, name: str = "US:X", **more: int) -> None:
    floor.quote(bid, ask, name=name, at=at, last=more.pop("last", bid), **more)


def test_a_closed_market_refuses_or_keeps_orders_for_the_open() -> None:
    early = US.opens_at - 6 * 3600 * NS
    with pytest.raises(Refused, match="market_closed"):
        floor_at(early).send(1, 10, 100, name="US:X")
    floor = floor_at(early, queues_orders=True)
    order = floor.send(1, 10, 100, name="US:X")
    assert order.status == "accepted"
    quote(floor, US.opens_at - NS)
    assert floor.status(order) == "accepted"
    quote(floor, US.opens_at)
    assert floor.status(order) == "filled"
    assert floor.said(order) == ["pending", "accepted", "working", "fill"]


def test_one_order_may_wait_whatever_the_policy() -> None:
    floor = floor_at(US.opens_at - 12 * 3600 * NS)
    assert floor.send(1, 10, 100, name="US:X", queued=True).status == "accepted"


def test_early_trading_is_for_orders_that_ask_for_it() -> None:
    floor = floor_at(US.opens_at - 3600 * NS, extended_hours=True)
    quote(floor, US.opens_at - 3000 * NS)
    early = floor.send(1, 10, 100, name="US:X", extended_hours=True)
    late = floor.send(1, 10, 100, name="US:X")
    assert (early.status, late.status) == ("filled", "accepted")
    waits = floor.send(1, 10, 98, name="US:X", extended_hours=True)
    quote(floor, US.opens_at - 2000 * NS, 97, 98)
    assert (floor.status(waits), floor.status(late)) == ("filled", "accepted")
    quote(floor, US.opens_at)
    assert floor.status(late) == "filled"


def test_the_day_ends_at_the_close_also_of_a_half_day() -> None:
    half = session("US", HALF_DAY)
    assert half.closes_at - half.opens_at == 12_600 * NS
    floor = floor_at(half.opens_at)
    quote(floor, half.opens_at)
    day = floor.send(1, 10, 90, name="US:X")
    stop = floor.send(1, 10, name="US:X", kind="stop", stop=110 * TICK)
    entry = floor.send(1, 10, 90, name="US:X", take_profit=Exit(limit=120 * TICK), stop_loss=Exit(stop=80 * TICK))
    floor.exchange.advance(half.closes_at - 1)
    assert floor.status(day) == "working"
    floor.exchange.advance(half.closes_at)
    assert [floor.status(one) for one in (day, stop, entry)] == ["expired"] * 3
    assert [floor.status(leg) for leg in entry.legs] == ["cancelled"] * 2
    assert floor.exchange.funds().held == 0
    assert floor.exchange.phase("US:X") == "closed"


def test_gtc_survives_the_night_and_keeps_its_place() -> None:
    floor = floor_at(US.opens_at)
    quote(floor, US.opens_at)
    first = floor.send(1, 10, 95, name="US:X", tif="GTC")
    second = floor.send(1, 10, 95, name="US:X", tif="GTC")
    stop = floor.send(1, 10, name="US:X", kind="stop", stop=105 * TICK, tif="GTC")
    held = floor.exchange.funds().held
    next_day = session("US", DAY + timedelta(1))
    quote(floor, US.closes_at + NS, 90, 91)
    assert floor.fills() == []
    assert floor.exchange.funds().held == held
    quote(floor, next_day.opens_at, 94, 95, ask_size=15)
    assert floor.fills() == [(first.id, 10, 95), (second.id, 5, 95)]
    quote(floor, next_day.opens_at + NS, 104, 105, last=105)
    assert floor.status(stop) == "filled"


def test_an_order_for_the_open_trades_with_its_first_quote_or_not_at_all() -> None:
    floor = floor_at(US.opens_at - 1800 * NS)
    filled, missed = floor.send(1, 10, 100, name="US:X", tif="OPG"), floor.send(1, 10, 98, name="US:X", tif="OPG")
    quote(floor, US.opens_at + NS, ask_size=100)
    assert (floor.status(filled), floor.status(missed)) == ("filled", "cancelled")
    with pytest.raises(Refused, match="opg"):
        floor.send(1, 10, 100, name="US:X", tif="OPG")


def test_an_order_for_the_close_trades_with_the_last_quote_or_not_at_all() -> None:
    floor = floor_at(US.opens_at)
    quote(floor, US.opens_at)
    market, limit = floor.send(1, 10, name="US:X", tif="CLS"), floor.send(1, 10, 98, name="US:X", tif="CLS")
    assert (market.status, limit.status) == ("accepted", "accepted")
    quote(floor, US.closes_at - NS, 104, 105)
    floor.exchange.advance(US.closes_at)
    assert floor.fills() == [(market.id, 10, 105)]
    assert floor.status(limit) == "cancelled"


def test_a_closing_auction_fills_nothing_before_its_end() -> None:
    nse = session("NSE", NSE_DAY)
    auction = nse.closes_at
    floor = floor_at(nse.opens_at)
    quote(floor, nse.opens_at, name="NSE:Y")
    resting = floor.send(1, 10, 97, name="NSE:Y")
    quote(floor, auction + NS, 95, 96, name="NSE:Y")
    assert floor.exchange.phase("NSE:Y") == "closing_auction"
    assert floor.status(resting) == "working"
    late = floor.send(-1, 5, 95, name="NSE:Y")
    assert late.status == "accepted"
    with pytest.raises(Refused, match="market_closed"):
        floor.send(1, 5, 97, name="NSE:Y", tif="IOC")
    floor.exchange.advance(HOURS.next_change("NSE", auction))
    assert (floor.status(resting), floor.status(late)) == ("filled", "filled")


def test_a_halt_stops_fills_and_triggers_and_keeps_orders() -> None:
    floor = floor_at(US.opens_at, queues_orders=True)
    quote(floor, US.opens_at)
    resting = floor.send(1, 10, 95, name="US:X")
    stop = floor.send(1, 10, name="US:X", kind="stop", stop=98 * TICK)
    assert floor.status(stop) == "filled"  # The last price was there already.
    waiting = floor.send(1, 10, name="US:X", kind="stop", stop=105 * TICK)
    floor.exchange.halt("US:X")
    assert floor.exchange.phase("US:X") == "halted"
    quote(floor, US.opens_at + NS, 94, 95, last=106)
    during = floor.send(1, 10, 100, name="US:X")
    assert [floor.status(one) for one in (resting, waiting, during)] == ["working", "trigger_pending", "accepted"]
    floor.exchange.resume("US:X")
    quote(floor, US.opens_at + 2 * NS, 94, 95, last=106)
    assert [floor.status(one) for one in (resting, waiting, during)] == ["filled"] * 3
    floor.exchange.halt("US")
    assert (floor.exchange.phase("US:X"), floor.exchange.phase("NSE:Y")) == ("halted", "closed")


def test_a_stop_that_would_trigger_at_once_is_refused_where_the_policy_says_so() -> None:
    floor = floor_at(US.opens_at, refuses_triggered=True)
    quote(floor, US.opens_at)
    refused = floor.send(1, 10, name="US:X", kind="stop", stop=98 * TICK)
    assert (refused.status, refused.code) == ("rejected", "would_trigger")


def test_the_calendar_knows_when_phases_change() -> None:
    assert HOURS.phase("US", US.opens_at) == "open"
    assert HOURS.next_change("US", US.opens_at) == US.closes_at
    assert HOURS.is_over("US", US.closes_at) and not HOURS.is_over("US", US.closes_at - 1)
    friday = session("US", date(2026, 10, 23))
    assert HOURS.next_change("US", friday.closes_at) > friday.closes_at + 2 * 24 * 3600 * NS
    assert (HOURS.next_change("XYZ", 0), HOURS.phase("XYZ", 0)) == (NEVER, "closed")


def test_changes_of_phase_are_told() -> None:
    floor = floor_at(US.opens_at - NS)
    told: list[tuple[str, str]] = []
    floor.exchange.on_phase.append(lambda name, phase: told.append((name, phase)))
    quote(floor, US.opens_at)
    floor.exchange.advance(US.opens_at)
    floor.exchange.halt("US:X")
    floor.exchange.resume("US:X")
    floor.exchange.halt("nobody")
    floor.exchange.advance(US.closes_at)
    mine = [one for one in told if one[0].startswith("US")]
    assert mine == [("US", "open"), ("US:X", "halted"), ("US:X", "open"), ("US", "closed")]
    floor.exchange.advance(US.closes_at + 24 * 3600 * NS)
    assert [phase for name, phase in told if name == "US"] == ["open", "closed", "pre_open", "open", "closed"]
