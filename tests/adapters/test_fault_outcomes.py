"""One line for each fault of the menu and each broker: what the adapter says of an order that meets it.

The house behind them has its own turn in tests/flow/test_venue_house.py.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from angelx.domain.errors import AuthExpired, BrokerError, OrderFateUnknown, OrderRejected, RateLimited
from angelx.domain.events import Event, OrderAccepted, OrderApproved, OrderEnded, OrderFilled
from angelx.venue.faults import MENU, Fault, FaultyServer, Handles, OffsetClock
from tests.adapters import angelone_pair
from tests.adapters.alpaca import alpaca_rig
from tests.adapters.angelone_pair import Pair, approved

Test = TypeVar("Test", bound=Callable[..., None])
Play = Callable[[Callable[["Desk"], Coroutine[Any, Any, None]]], None]


class Client(Protocol):
    async def place(self, order: OrderApproved) -> OrderAccepted: ...

    async def cancel(self, order: str) -> None: ...


class Desk:
    """Either broker, with an order to send that fills at once where it arrives."""

    def __init__(
        self, broker: str, client: Client, faults: FaultyServer, events: list[Event], states: list[tuple[bool, str]],
        make: Callable[[], OrderApproved], arrived: Callable[[], int],
    ) -> None:  # fmt: skip
        self.broker, self.client, self.faults, self.events, self.states = broker, client, faults, events, states
        self.make, self.arrived = make, arrived
        """Orders that the exchange has seen."""

    def fault(self, what: Any, where: str = "*", **more: Any) -> int:
        places = {
            "angelone": {"PLACE": "*/placeOrder", "ORDERS": "/smart-order-update"},
            "alpaca": {"PLACE": "/v2/orders", "ORDERS": "/stream"},
        }[self.broker]
        return self.faults.add(Fault(what=what, where=places.get(where, where), **more))

    async def send(self) -> tuple[OrderApproved, type[BrokerError] | None]:
        """One order, and how that ended: with an acceptance, or an error."""
        order = self.make()
        try:
            accepted = await self.client.place(order)
        except BrokerError as error:
            return order, type(error)
        assert accepted.order == order.order
        return order, None

    def filled(self, order: OrderApproved) -> int:
        return sum(one.quantity for one in self.events if isinstance(one, OrderFilled) and one.order == order.order)

    def ended(self, order: OrderApproved) -> list[str]:
        return [one.outcome for one in self.events if isinstance(one, OrderEnded) and one.order == order.order]

    async def until(self, condition: Callable[[], bool], within_s: float = 120.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - in virtual time this costs nothing
                await asyncio.sleep(0.01)

    async def filled_once(self, order: OrderApproved) -> None:
        """It fills, and that is told once, whatever else comes."""
        await self.until(lambda: self.filled(order) == order.quantity)
        await asyncio.sleep(40)
        assert self.filled(order) == order.quantity
        assert self.arrived() == 1


def at_alpaca(_: Path) -> Play:
    def play(story: Callable[[Desk], Coroutine[Any, Any, None]]) -> None:
        async def whole(rig: alpaca_rig.Rig) -> None:
            count = lambda: len(rig.market.exchange.orders())  # noqa: E731
            await story(Desk("alpaca", rig.client, rig.faults, rig.events, rig.states, rig.approve, count))

        alpaca_rig.play(whole)

    return play


def at_angelone(directory: Path) -> Play:
    def play(story: Callable[[Desk], Coroutine[Any, Any, None]]) -> None:
        async def whole(pair: Pair) -> None:
            server, numbers = pair.floor.server, iter(range(100))
            clock = OffsetClock(lambda: pair.floor.now)
            server._now = clock
            handles = Handles(server.expire_tokens, clock, pair.floor.exchange.inject)
            menu = pair.line.menu
            menu._handles = handles
            make = lambda: approved(f"axAAAAAAAAAAAAAA{next(numbers):02d}")  # noqa: E731
            count = lambda: len(pair.floor.exchange.orders())  # noqa: E731
            async with pair.running() as client:
                pair.floor.quote(99, 101)
                await story(Desk("angelone", client, menu, pair.events, pair.states, make, count))

        angelone_pair.play(directory, whole)

    return play


@pytest.fixture(params=["angelone", "alpaca"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    return at_angelone(tmp_path) if request.param == "angelone" else at_alpaca(tmp_path)


TOLD: set[str] = set()


def of(what: str) -> Callable[[Test], Test]:
    """Marks the story of a fault."""
    TOLD.add(what)
    return lambda test: test


@of("lost_request")
def test_a_lost_request_is_of_unknown_fate_and_never_sent_again(play: Play) -> None:
    async def story(desk: Desk) -> None:
        desk.fault("lost_request", "PLACE", method="POST", times=1)
        order, error = await desk.send()
        assert error is OrderFateUnknown
        await asyncio.sleep(120)
        assert (desk.arrived(), desk.filled(order), desk.ended(order)) == (0, 0, [])

    play(story)


@pytest.mark.parametrize("fault", [{"what": "lost_reply"}, {"what": "slow_reply", "delay_s": 20.0},
                                   {"what": "status", "status": 504, "done": True}])  # fmt: skip
@of("lost_reply")
@of("slow_reply")
def test_an_answer_that_does_not_come_is_no_answer_and_the_order_is_found(play: Play, fault: dict[str, Any]) -> None:
    async def story(desk: Desk) -> None:
        desk.fault(where="PLACE", method="POST", times=1, **fault)
        order, error = await desk.send()
        assert error is OrderFateUnknown
        await desk.filled_once(order)

    play(story)


@of("lost_reply")
def test_an_order_is_found_soon_though_neither_answer_nor_message_came(play: Play) -> None:
    """By look-ups and books that begin with the lost answer, not by those that come now and then."""

    async def story(desk: Desk) -> None:
        desk.fault("lost_reply", "PLACE", method="POST", times=1)
        desk.fault("lost_event", "ORDERS")
        order, error = await desk.send()
        assert error is OrderFateUnknown
        await desk.until(lambda: desk.filled(order) == order.quantity, 5)
        assert desk.arrived() == 1

    play(story)


@of("lost_reply")
def test_who_asks_for_its_end_again_and_again_puts_no_look_up_off(play: Play) -> None:
    """A flatten cancels what works every other second, and venues may run at thirty times that."""

    async def story(desk: Desk) -> None:
        desk.fault("lost_reply", "PLACE", method="POST", times=1)
        desk.fault("lost_event", "ORDERS")
        order, error = await desk.send()
        assert error is OrderFateUnknown
        found_by = asyncio.get_running_loop().time() + 5

        async def insist() -> None:
            while asyncio.get_running_loop().time() < found_by:
                with suppress(OrderRejected, OrderFateUnknown):
                    await desk.client.cancel(order.order)
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as tasks:
            insisting = tasks.create_task(insist())
            await desk.until(lambda: desk.filled(order) == order.quantity, 5)
            insisting.cancel()

    play(story)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(500, "", OrderFateUnknown), (502, "", OrderFateUnknown), (503, "", OrderFateUnknown), (429, "", RateLimited)],
)
@of("status")
def test_a_status_has_its_reaction(play: Play, status: int, body: str, kind: type[BrokerError]) -> None:
    async def story(desk: Desk) -> None:
        desk.fault("status", "PLACE", method="POST", times=1, status=status, body=body)
        _, error = await desk.send()
        assert error is kind
        assert desk.arrived() == 0
        await asyncio.sleep(90)
        order, error = await desk.send()
        assert error is None
        await desk.filled_once(order)

    play(story)


@of("mute")
def test_a_broker_that_says_nothing_is_down_until_it_speaks(play: Play) -> None:
    async def story(desk: Desk) -> None:
        number = desk.fault("mute")
        order, error = await desk.send()
        assert error is OrderFateUnknown
        await desk.until(lambda: not desk.states[-1][0], 60)
        desk.faults.remove(number)
        await desk.until(lambda: desk.states[-1][0])
        await desk.filled_once(order)

    play(story)


@of("disconnect")
def test_a_stream_that_breaks_is_down_until_the_books_were_merged(play: Play) -> None:
    async def story(desk: Desk) -> None:
        desk.fault("disconnect", for_s=5.0)
        await desk.until(lambda: not desk.states[-1][0], 2)
        order, error = await desk.send()
        assert error is None
        await desk.until(lambda: desk.states[-1][0])
        assert desk.filled(order) == order.quantity
        await desk.filled_once(order)

    play(story)


@pytest.mark.parametrize("what", ["lost_event", "duplicate", "reorder", "slow_event"])
@of("lost_event")
@of("duplicate")
@of("reorder")
@of("slow_event")
def test_what_happens_to_messages_changes_nothing_of_what_is_told(play: Play, what: str) -> None:
    async def story(desk: Desk) -> None:
        desk.fault(what, "ORDERS", rate=0.7, delay_s=2.0)
        order, error = await desk.send()
        assert error is None
        await desk.filled_once(order)

    play(story)


@of("token_expiry")
def test_void_tokens_cost_one_order_at_most(play: Play) -> None:
    async def story(desk: Desk) -> None:
        desk.fault("token_expiry")
        order, error = await desk.send()
        assert error is (AuthExpired if desk.broker == "angelone" else None)  # Alpaca's keys are good, its log-ins not.
        if error is not None:
            assert desk.arrived() == 0
            order, error = await desk.send()
        assert error is None
        await desk.until(lambda: desk.states[-1][0])
        await desk.filled_once(order)

    play(story)


@pytest.mark.parametrize("offset_s", [90.0, -90.0])
@of("clock_offset")
def test_a_clock_that_is_wrong_over_there_does_no_harm(play: Play, offset_s: float) -> None:
    async def story(desk: Desk) -> None:
        desk.fault("clock_offset", offset_s=offset_s)
        desk.fault("disconnect")
        await desk.until(lambda: not desk.states[-1][0])
        await desk.until(lambda: desk.states[-1][0])
        desk.fault("lost_reply", "PLACE", method="POST", times=1)
        order, error = await desk.send()
        assert error is OrderFateUnknown
        await desk.filled_once(order)

    play(story)


@of("reject_burst")
def test_a_good_order_that_is_refused_is_told_so(play: Play) -> None:
    async def story(desk: Desk) -> None:
        number = desk.fault("reject_burst", rate=1.0)
        order, error = await desk.send()
        if error is None:
            await desk.until(lambda: desk.ended(order) == ["rejected"])
        else:
            assert error is OrderRejected
        assert not desk.filled(order)
        desk.faults.remove(number)
        order, error = await desk.send()
        assert error is None
        await desk.until(lambda: desk.filled(order) == order.quantity)

    play(story)


def test_every_fault_of_the_menu_has_its_story() -> None:
    assert set(MENU) == TOLD
