"""Faults of the venue's menu through the whole house and each broker's real adapter, in virtual time."""

import asyncio

import pytest

from angelx.domain.events import OrderFilled, SignalRefused
from angelx.domain.scalars import NS
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
