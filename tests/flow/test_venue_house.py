"""Faults of the venue's menu through the whole house and each broker's real adapter, in virtual time."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from angelx.domain.events import HealthChanged, IncidentReported, OrderEnded, OrderFilled, SignalRefused
from angelx.domain.scalars import NS
from angelx.venue.faults import MENU
from tests.flow.venue_house import BROKERS, Wired, played

pytestmark = pytest.mark.parametrize("broker", BROKERS)
LATE = NS
"""What was decided when the line broke is a second old at most."""


async def silent(wired: Wired, where: str, service: str, seconds: float = 30.0) -> int:
    """Mute a stream until it was noticed, and then for a while; when it was noticed."""
    number = wired.fault("mute", where=where)
    await wired.until(lambda: wired.states(service)[-1:] == ["recovering"], 60)
    noticed = wired.bus.now
    await asyncio.sleep(seconds)
    assert wired.states(service)[-1] == "recovering"
    wired.faults.remove(number)
    return noticed


def test_market_data_that_say_nothing_bar_entries_until_they_speak_again(broker: str) -> None:
    async def story(wired: Wired) -> None:
        noticed = await silent(wired, wired.side.market_stream, "market_feed")
        assert not wired.entries(noticed + LATE)
        assert {event.code for event in wired.of(SignalRefused) if event.at > noticed + LATE}
        await wired.until(lambda: wired.states("market_feed")[-1] == "healthy", 90)
        await wired.traded(6)

    played(broker, story)


def test_an_order_stream_that_says_nothing_bars_entries_and_fills_come_by_the_books(broker: str) -> None:
    async def story(wired: Wired) -> None:
        noticed = await silent(wired, wired.side.order_stream, "broker_link")
        assert not wired.entries(noticed + LATE)
        theirs = sum(one.quantity for one in wired.side.exchange.fills())
        assert sum(one.quantity for one in wired.of(OrderFilled)) == theirs, "the books have told every fill"
        await wired.until(lambda: wired.states("broker_link")[-1] == "healthy", 90)
        await wired.traded(6)

    played(broker, story)


def test_a_broker_that_says_nothing_at_all(broker: str) -> None:
    async def story(wired: Wired) -> None:
        await silent(wired, "*", "broker_link")
        assert wired.states("market_feed")[-1] == "recovering"
        for service in ("broker_link", "market_feed"):
            await wired.until(lambda name=service: wired.states(name)[-1] == "healthy", 120)  # type: ignore[misc]
        await wired.traded(6)

    played(broker, story)


# ---------------------------------------------------------------- flatten
TROUBLE: dict[str, list[dict[str, Any]]] = {
    "lost replies": [{"what": "lost_reply", "where": "PLACING", "method": "POST", "rate": 0.5}],
    "lost requests": [{"what": "lost_request", "where": "PLACING", "method": "POST", "times": 2}],
    "streams that break": [{"what": "disconnect", "for_s": 8.0}],
    "errors that hide that it was done": [{"what": "status", "where": "PLACING", "method": "POST", "status": 503,
                                           "done": True, "times": 2}],
    "a silent order stream": [{"what": "mute", "where": "ORDERS", "for_s": 40.0}],
    "rejects": [{"what": "reject_burst", "rate": 0.7, "for_s": 10.0}],
    "all of it": [
        {"what": "lost_reply", "where": "PLACING", "method": "POST", "rate": 0.3},
        {"what": "duplicate", "where": "ORDERS", "rate": 0.5}, {"what": "reorder", "where": "ORDERS", "rate": 0.3},
        {"what": "slow_reply", "where": "PLACING", "rate": 0.3, "delay_s": 1.0},
        {"what": "disconnect", "at_s": 3.0, "for_s": 4.0}, {"what": "token_expiry", "at_s": 5.0},
    ],
}  # fmt: skip


def put_on(wired: Wired, fault: dict[str, Any]) -> int:
    places = {"PLACING": wired.side.placing, "ORDERS": wired.side.order_stream}
    return wired.fault(**{**fault, "where": places.get(fault.get("where", "*"), fault.get("where", "*"))})


@pytest.mark.parametrize("trouble", TROUBLE)
def test_flatten_ends_flat_and_sells_nothing_twice(broker: str, trouble: str) -> None:
    async def story(wired: Wired) -> None:
        await wired.until(lambda: any(wired.house.book.net.values()))
        for fault in TROUBLE[trouble]:
            put_on(wired, fault)
        began = wired.bus.now
        await wired.feed.command("flatten", "test", "operator")
        exchange = wired.side.exchange
        await wired.until(lambda: not any(one.quantity for one in exchange.positions()), 180)
        await wired.until(lambda: not wired.house.router.live and not any(wired.house.book.net.values()), 180)
        assert not wired.entries(began + LATE)
        assert not any(one.quantity for one in exchange.positions())

    wired = played(broker, story)
    sold: Counter[str] = Counter()
    for fill in wired.side.exchange.fills():
        sold[fill.instrument] += fill.side * fill.quantity
        assert fill.position == sold[fill.instrument] >= 0, "never more than was held"


# ---------------------------------------------------------------- the menu
EACH: dict[str, list[dict[str, Any]]] = {
    "lost_request": [{"where": "PLACING", "method": "POST", "times": 2}],
    "lost_reply": [{"where": "PLACING", "method": "POST", "times": 2}],
    "slow_reply": [{"where": "PLACING", "delay_s": 1.0, "times": 3}, {"where": "PLACING", "delay_s": 9.0, "times": 1}],
    "status": [{"where": "PLACING", "method": "POST", "status": 503, "times": 2}, {"status": 502, "rate": 0.2}],
    "mute": [{"for_s": 6.0}],
    "disconnect": [{}, {"for_s": 5.0}],
    "lost_event": [{"where": "ORDERS", "rate": 0.3}],
    "duplicate": [{"rate": 0.4}],
    "reorder": [{"rate": 0.3, "delay_s": 0.1}],
    "slow_event": [{"rate": 0.3, "delay_s": 0.2}],
    "token_expiry": [{}],
    "clock_offset": [{"offset_s": 40.0}, {"offset_s": -40.0}],
    "reject_burst": [{"rate": 0.6, "for_s": 8.0}],
}


def test_every_fault_has_its_turn(broker: str) -> None:
    assert broker
    assert set(EACH) == set(MENU)


@pytest.mark.parametrize("what", MENU)
def test_each_fault_of_the_menu_ends_with_both_sides_agreed(broker: str, what: str) -> None:
    """`played` compares orders, fills and positions, and that nothing was sent twice."""
    happened = 0

    async def story(wired: Wired) -> None:
        nonlocal happened
        for fault in EACH[what]:
            put_on(wired, {"what": what, **fault})
            await asyncio.sleep(15)
            happened += sum(line["happened"] for line in wired.faults.menu())  # type: ignore[misc]
            wired.faults.remove()
        await wired.traded(6)

    wired = played(broker, story)
    assert happened
    codes = {(event.outcome, event.code) for event in wired.of(OrderEnded)}
    unknown = [event.what for event in wired.of(IncidentReported) if "fate of order" in event.what]
    down = {event.service for event in wired.of(HealthChanged) if event.state == "recovering"}
    if what != "mute":  # Then nothing is quoted, and so nothing sent, unless it was decided just before.
        assert bool(unknown) == (what in ("lost_request", "lost_reply", "slow_reply", "status")), unknown
    if what == "lost_request":
        assert ("absent", "absent") in codes
    if what == "reject_burst":
        assert {code for outcome, code in codes if outcome == "rejected"}
    if what == "disconnect":
        assert {"broker_link", "market_feed"} <= down
    if what == "token_expiry":  # At Angel One streams go on, and the next request gets new tokens.
        assert ("broker_link" in down) == (broker == "alpaca")
