"""What lies between a broker and the stream: conflation, a clock that waits, what an earlier process left."""

from collections.abc import Callable
from typing import Any

import msgspec

from angelx.bus.bus import Bus
from angelx.bus.clock import PacedClock
from angelx.domain.events import BooksRead, Event, IncidentReported, OrderApproved, OrderFilled
from angelx.domain.scalars import NS
from angelx.orders.ledger import Line
from angelx.orders.order import Order
from angelx.orders.windows import SECOND, Limit, SlidingWindows
from angelx.services.broker_link import RecordedLink


class Ticker:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def test_a_paced_clock_waits_for_a_session_that_stood_still() -> None:
    ticker = Ticker()
    clock = PacedClock(1_000 * NS, 10.0, ticker)
    assert clock.now() == 1_000 * NS
    ticker.ns = 10 * NS
    assert clock.now() == 1_100 * NS
    clock.wait_for(1_060 * NS)
    assert clock.now() == 1_100 * NS, "it never goes back"
    assert clock.seconds_until(1_100 * NS) <= 0
    assert clock.seconds_until(1_101 * NS) == 4.1
    ticker.ns = 13 * NS
    assert clock.now() == 1_100 * NS
    ticker.ns = 15 * NS
    assert clock.now() == 1_110 * NS
    clock.wait_for(2_000 * NS)
    assert clock.now() == 1_110 * NS, "it does not jump ahead either"
    clock.catch_up(1_100 * NS)
    assert clock.now() == 1_110 * NS, "nor back"
    clock.catch_up(1_200 * NS)
    assert clock.now() == 1_200 * NS, "but it comes to where the session is"
    ticker.ns = 16 * NS
    assert clock.now() == 1_210 * NS


def test_a_request_counts_from_its_answer() -> None:
    windows = SlidingWindows([Limit(1, SECOND)])
    windows.delay(5)
    windows.take(0)
    windows.delay(NS // 2)
    assert windows.wait_ns(NS) == NS // 2
    windows.delay(0)
    assert windows.wait_ns(NS) == NS // 2, "never earlier"


def approved(name: str, quantity: int) -> OrderApproved:
    nothing: dict[object, object] = {str: "", bool: False}
    values: dict[str, Any] = {field.name: nothing.get(field.type, 0) for field in msgspec.structs.fields(OrderApproved)}
    return OrderApproved(**{**values, "order": name, "instrument": "US:IBM", "side": 1, "quantity": quantity})


def link_of(orders: dict[str, Order]) -> tuple[RecordedLink, list[Event]]:
    bus, heard = Bus(), list[Event]()
    note: Callable[[Event], None] = heard.append
    bus.subscribe(IncidentReported, note)
    link = RecordedLink(bus)
    link.orders = orders
    return link, heard


def test_what_was_held_before_the_first_order_is_not_ours_and_stays_so_after_a_restart() -> None:
    first = BooksRead(0, 0, (), (("US:IBM", 7),))
    link, heard = link_of({})
    link.on_books(first)
    assert len(heard) == 1
    order = Order(approved("ax1", 3), Line(), 0)
    order.filled = 3
    again, heard = link_of({"ax1": order})
    again.restore([first, OrderFilled(1, "ax1", "US:IBM", 1, 3, 100, 0, "x/3"), BooksRead(2, 2, (), (("US:IBM", 10),))])
    order.filled = 1  # two of them are told of later than the books
    again.on_books(BooksRead(3, 3, (), (("US:IBM", 10),)))
    assert again.held() == {"US:IBM": 3}
    assert heard == []
