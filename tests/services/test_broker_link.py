"""The link alone: what never leaves, and what a broker that cannot be asked is told about."""

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from msgspec.structs import replace

from angelx.bus.bus import Bus
from angelx.domain.errors import (
    AuthExpired,
    BrokerError,
    BrokerUnreachable,
    OrderFateUnknown,
    OrderRejected,
    RateLimited,
)
from angelx.domain.events import (
    BooksRead,
    Event,
    HealthChanged,
    IncidentReported,
    OrderAccepted,
    OrderApproved,
    OrderEnded,
)
from angelx.domain.reports import OrderReport, PositionReport
from angelx.orders.ledger import Line
from angelx.orders.order import Order
from angelx.services.broker_link import BARRED_LATE, WAITING, BrokerLink
from angelx.services.kill_switch import LatchedSends, MemoryLatch
from angelx.sim.loop import simulate
from tests.flow.live_house import FickleBroker

ENTRY = OrderApproved(1, "a", 1, "s", "NSE:X", 1, 75, 500, False, 500, "lot", 1.0)


class Stub(FickleBroker):
    """Answers every order with the same outcome, and counts."""

    def __init__(self, outcome: BrokerError | None = None) -> None:
        super().__init__(1, ("none",))
        self.outcome = outcome
        self.placed: list[str] = []
        self.cancels = 0
        self.reads = 0

    async def place(self, order: OrderApproved) -> OrderAccepted:
        self.placed.append(order.order)
        if self.outcome is not None:
            raise self.outcome
        return OrderAccepted(0, order.order, "B1")

    async def cancel(self, order: str) -> None:
        self.cancels += 1
        if self.outcome is not None:
            raise self.outcome

    async def order_book(self) -> Sequence[OrderReport]:
        self.reads += 1
        if isinstance(self.outcome, BrokerUnreachable):
            raise self.outcome
        return []

    async def positions(self) -> Sequence[PositionReport]:
        return []


def link_of(stub: Stub, latch: MemoryLatch | None = None) -> BrokerLink:
    return BrokerLink(Bus(), stub, LatchedSends(latch or MemoryLatch()), Random(1))


def heard(link: BrokerLink, seconds: float = 1.0) -> list[Event]:
    """What the link says while it runs for so long."""
    events: list[Event] = []

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(link.run())
            await asyncio.sleep(seconds)
            task.cancel()
        events.extend(event for event in link._inbox if not isinstance(event, HealthChanged | BooksRead))

    simulate(run)
    return events


@pytest.mark.parametrize(("reduces", "level", "leaves"), [(False, 1, False), (True, 1, True), (True, 3, False)])
def test_what_the_kill_switch_stopped_after_the_approval_never_leaves(reduces: bool, level: int, leaves: bool) -> None:
    stub, latch = Stub(), MemoryLatch()
    link = link_of(stub, latch)
    link.submit(replace(ENTRY, reduces=reduces))
    latch.raise_to(level, "loss", "operator", 2)
    said = heard(link)
    assert stub.placed == (["a"] if leaves else [])
    if leaves:
        assert said == [OrderAccepted(0, "a", "B1")]
    else:
        [ended] = said
        assert isinstance(ended, OrderEnded)
        assert (ended.order, ended.outcome, ended.code) == ("a", "barred", BARRED_LATE)


def test_more_orders_than_a_broker_takes_are_refused_and_the_others_leave_exits_first() -> None:
    stub = Stub()
    link = link_of(stub)
    for number in range(WAITING + 2):
        link.submit(replace(ENTRY, order=f"n{number}"))
    link.submit(replace(ENTRY, order="exit", reduces=True))
    said = heard(link)
    refused = [event for event in said if isinstance(event, OrderEnded)]
    assert [(event.order, event.outcome, event.code) for event in refused] == [
        (f"n{WAITING}", "rejected", "link_full"), (f"n{WAITING + 1}", "rejected", "link_full"),
    ]  # fmt: skip
    assert stub.placed == ["exit", *(f"n{number}" for number in range(WAITING))]


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (BrokerUnreachable("no route"), "unreachable", "no route"),
        (AuthExpired("token"), "auth_expired", "token"),
        (RateLimited("slow down", 1.0), "rate_limited", "slow down"),
        (OrderRejected("no_margin: needs 5"), "no_margin", "needs 5"),
        (OrderRejected("no margin"), "broker", "no margin"),
    ],
)
def test_an_order_that_did_not_arrive_ends_with_its_reason(error: BrokerError, code: str, detail: str) -> None:
    link = link_of(Stub(error))
    link.submit(ENTRY)
    ended = [event for event in heard(link) if isinstance(event, OrderEnded)]
    assert [(event.outcome, event.code, event.detail) for event in ended] == [("rejected", code, detail)]


def test_an_order_in_doubt_does_not_end_is_told_and_the_books_are_read_twice() -> None:
    stub = Stub(OrderFateUnknown("a", "timeout"))
    link = link_of(stub)
    link.submit(ENTRY)
    said = heard(link, 20.0)
    assert [type(event) for event in said] == [IncidentReported]
    assert stub.placed == ["a"], "never sent again"
    assert stub.reads == 3  # once at the start, then twice for this order


class Slow(Stub):
    """An order waits long for its turn, and then is lost."""

    async def place(self, order: OrderApproved) -> OrderAccepted:
        await asyncio.sleep(8)
        return await super().place(order)


def test_an_order_that_has_not_left_yet_is_not_missing_in_the_books() -> None:
    stub = Slow(OrderFateUnknown("a", "timeout"))
    link = link_of(stub)
    link.orders = {"a": Order(ENTRY, Line(), 0, state="sending")}
    link.submit(ENTRY)
    books: list[BooksRead] = []

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(link.run())
            for _ in range(12):
                link.ask()
                await asyncio.sleep(1.0)
            task.cancel()
        books.extend(event for event in link._inbox if isinstance(event, BooksRead))

    simulate(run)
    missing = ["a" not in event.orders for event in books]
    assert stub.placed == ["a"]
    assert missing[:8] == [False] * 8 and missing[-1] is True, missing
    assert missing == sorted(missing)


def test_one_cancel_of_an_order_is_asked_for_at_a_time() -> None:
    stub = Stub(OrderRejected("order_not_found: no order a"))
    link = link_of(stub)
    link.orders = {"a": Order(ENTRY, Line(), 0, state="working")}

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(link.run())
            for _ in range(5):  # Safe exit asks every two seconds.
                link.cancel("a")
                await asyncio.sleep(1.0)
            asked = stub.cancels
            await asyncio.sleep(5.0)
            link.cancel("a")
            await asyncio.sleep(0.5)
            task.cancel()
        assert (asked, stub.cancels) == (3, 5)

    simulate(run)


@pytest.mark.parametrize(("state", "asked"), [("working", 5), ("filled", 0)])
def test_a_cancel_that_is_refused_is_asked_again_while_the_order_works(state: str, asked: int) -> None:
    stub = Stub(OrderRejected("order_not_found: no order a"))
    link = link_of(stub)
    order = Order(ENTRY, Line(), 0)
    order.state = state
    link.orders = {"a": order}
    link.cancel("a")
    said = heard(link, 10.0)
    assert stub.cancels == asked
    assert [event.what for event in said if isinstance(event, IncidentReported)] == (
        ["cancel of a did not get through: it is repeated"] if asked else []
    )


def test_books_that_cannot_be_read_are_told_after_the_third_time_and_asked_on() -> None:
    stub = Stub(BrokerUnreachable("no route"))
    said = heard(link_of(stub), 30.0)
    assert stub.reads > 3
    assert [event.what for event in said if isinstance(event, IncidentReported)] == ["books cannot be read: no route"]
