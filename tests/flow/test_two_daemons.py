"""Two daemons on one account, each with a state directory of its own: each sees the other and touches only its own."""

import asyncio
from collections import Counter

import pytest

from angelx.domain.errors import RateLimited
from angelx.domain.events import IncidentReported, OrderApproved, OrderFilled
from angelx.sim.loop import simulate
from tests.flow.venue_house import AngelSide, Wired

NAMES = ("one", "two")


async def _trade(seed: int) -> tuple[Wired, Wired]:
    """Both trade for five minutes; then both are halted, and everything settles."""
    side = AngelSide()
    one, two = (Wired(side, seed * 10 + number, 0.02, name) for number, name in enumerate(NAMES))
    two.is_quoted = False  # One market is enough.
    await one.start(500)
    while True:
        try:
            await two.start(500)
            break
        except RateLimited:  # The broker lets its books be read once a second, by whomever: as `brokers.connect` waits.
            await asyncio.sleep(1.3)
    await asyncio.sleep(300)
    for wired in (one, two):
        await wired.feed.command("halt", "test", "operator")
        await wired.until(lambda wired=wired: not wired.house.router.live)  # type: ignore[misc]
    await asyncio.sleep(60)
    for wired in (one, two):
        wired.feed.stopping = "test"
        await wired.until(wired.running.done, 30)
        await wired.running
        await wired.wire.close()
    return one, two


@pytest.mark.parametrize("seed", range(2))
def test_each_touches_only_its_own_and_says_that_the_other_is_there(seed: int) -> None:
    one, two = simulate(lambda: _trade(seed), seed=seed)
    exchange = one.side.exchange
    orders = {order.request.client_id or order.request.tag: order for order in exchange.orders()}
    mine = [set(wired.house.router.orders) for wired in (one, two)]
    assert not mine[0] & mine[1], "no id is used by both"
    assert set(orders) <= mine[0] | mine[1]

    numbers = {str(order.id).encode(): name for name, order in orders.items()}
    held: Counter[str] = Counter()
    for wired, ours in zip((one, two), mine, strict=True):
        assert wired.of(OrderFilled), "both traded"
        assert {fill.order for fill in wired.of(OrderFilled)} <= ours, "no fill of the other's was taken for its own"
        assert all(order.filled == orders[name].filled for name, order in wired.house.router.orders.items()
                   if name in orders)  # fmt: skip
        held.update(wired.house.book.net)
        other = {order.order for order in wired.of(OrderApproved)} ^ set(orders)
        told = [incident.what for incident in wired.of(IncidentReported) if incident.what.endswith("is not ours")]
        assert told, "a person hears of it"
        assert {what.split()[1] for what in told} <= other
        cancels = [request.body for request in wired.server.seen if request.path.endswith("/cancelOrder")]
        assert {name for number, name in numbers.items() if any(number in body for body in cancels)} <= ours
        assert "paused" in wired.states("reconciler"), "entries wait while the account is not what the ledger says"
    at_broker = {one.instrument: one.quantity for one in exchange.positions() if one.quantity}
    assert {name: units for name, units in held.items() if units} == at_broker
