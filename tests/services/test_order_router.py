"""The router alone: what it does with reports that come when nobody expects them any more."""

import pytest
from msgspec.structs import replace

from angelx.adapters.journal import MemoryJournal
from angelx.bus.bus import Bus
from angelx.bus.service import wire
from angelx.domain.events import (
    CancelRequested,
    CommandReceived,
    Event,
    IncidentReported,
    OrderAccepted,
    OrderApproved,
    OrderEnded,
    OrderFilled,
    SignalRefused,
)
from angelx.orders.ledger import Ledger
from angelx.orders.states import State
from angelx.risk.book import Book
from angelx.risk.limits import BENCH
from angelx.services.kill_switch import LatchedSends, MemoryLatch
from angelx.services.order_router import OrderRouter


class Deaf:
    """A broker that answers nothing by itself."""

    name = "deaf"

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.cancelled: list[str] = []

    def submit(self, order: OrderApproved) -> None:
        self.sent.append(order.order)

    def cancel(self, order: str) -> None:
        self.cancelled.append(order)


def house() -> tuple[Bus, Deaf, OrderRouter, Book]:
    bus, broker, book = Bus(), Deaf(), Book(Ledger(10**9), BENCH)
    router = OrderRouter(bus, MemoryJournal(bus), broker, LatchedSends(MemoryLatch()), book)

    def reserve(order: OrderApproved) -> None:
        """The risk engine does it as it approves."""
        book.reserve(order)

    bus.subscribe(OrderApproved, reserve)
    wire(bus, [router])
    return bus, broker, router, book


def approved(*, reduces: bool) -> OrderApproved:
    return OrderApproved(1, "a", 1, "s", "X", 1, 75, 500, reduces, 500, "lot", 1.0)


@pytest.mark.parametrize("reduces", [False, True])
@pytest.mark.parametrize("fills", [False, True])
@pytest.mark.parametrize("outcome", [State.ABSENT, State.REJECTED])
def test_an_order_given_up_that_arrives_is_adopted_and_an_entry_is_taken_back(
    outcome: str, reduces: bool, fills: bool
) -> None:
    bus, broker, router, book = house()
    incidents: list[IncidentReported] = []
    bus.subscribe(IncidentReported, incidents.append)

    if reduces:
        book.ledger.apply(OrderFilled(0, "before", "X", -1, 75, 500, 0, "before"), "s")
    before = book.ledger.net("X")
    bus.publish(approved(reduces=reduces))
    bus.publish(OrderEnded(2, "a", outcome, "absent", "not at the broker twice"))
    assert not router.live
    assert book.reserved == 0
    bus.publish(OrderFilled(3, "a", "X", 1, 25, 500, 0, "x") if fills else OrderAccepted(3, "a", "B1"))

    assert list(router.live) == ["a"]
    assert (book.reserved, book.ledger.net("X") - before) == (0 if reduces else (75 - 25 * fills) * 500, 25 * fills)
    assert len(incidents) == 1 + fills
    assert broker.sent == ["a"], "never sent again"
    assert broker.cancelled == ([] if reduces else ["a"])
    arrived = State.PARTIALLY_FILLED if fills else State.WORKING
    assert router.orders["a"].state == (arrived if reduces else State.CANCEL_PENDING)
    bus.publish(OrderEnded(4, "a", State.CANCELLED, "cancelled", ""))
    assert not router.live


@pytest.mark.parametrize("held", [0, -25, 75])
def test_an_exit_that_arrives_after_it_was_given_up_is_taken_back_where_it_would_close_more_than_is_held(
    held: int,
) -> None:
    bus, broker, router, book = house()
    bus.publish(approved(reduces=True))
    bus.publish(OrderEnded(2, "a", State.ABSENT, "absent", ""))
    if held:
        side = 1 if held > 0 else -1
        book.ledger.apply(OrderFilled(2, "z", "X", side, abs(held), 500, 0, "z"), "s")
    bus.publish(OrderAccepted(3, "a", "B1"))
    assert broker.cancelled == ["a"]
    assert list(router.live) == ["a"]


def test_an_exit_that_arrives_beside_the_one_that_went_in_its_place_is_taken_back() -> None:
    bus, broker, _, book = house()
    book.ledger.apply(OrderFilled(0, "z", "X", -1, 75, 500, 0, "z"), "s")
    bus.publish(approved(reduces=True))
    bus.publish(OrderEnded(2, "a", State.ABSENT, "absent", ""))
    bus.publish(replace(approved(reduces=True), order="b"))
    bus.publish(OrderAccepted(3, "b", "B2"))
    assert broker.cancelled == []
    bus.publish(OrderAccepted(4, "a", "B1"))
    assert broker.cancelled == ["a"]


def test_what_is_rejected_after_a_part_of_it_filled_has_ended() -> None:
    bus, _, router, book = house()
    bus.publish(approved(reduces=False))
    bus.publish(OrderFilled(2, "a", "X", 1, 25, 500, 0, "x"))
    bus.publish(OrderEnded(3, "a", State.REJECTED, "broker_rejected", "25 of 75 filled"))
    assert not router.live
    assert (book.reserved, book.ledger.net("X")) == (0, 25)


def test_a_cancel_of_what_has_ended_is_not_sent() -> None:
    bus, broker, *_ = house()
    bus.publish(approved(reduces=False))
    bus.publish(OrderEnded(2, "a", State.REJECTED, "price_band", ""))
    bus.publish(CancelRequested(3, "a", "late"))
    assert broker.cancelled == []


@pytest.mark.parametrize("verb", ["stop", "halt"])
def test_a_cancel_that_came_before_the_order_was_there_is_asked_again_once_it_is(verb: str) -> None:
    bus, broker, *_ = house()
    bus.publish(approved(reduces=False))
    bus.publish(CommandReceived(2, "stop", "test", "operator") if verb == "stop" else CancelRequested(2, "a", "halt"))
    assert broker.cancelled == ["a"]
    for _ in range(2):
        bus.publish(OrderAccepted(3, "a", "B1"))
    assert broker.cancelled == ["a", "a"]


def test_after_a_stop_exits_stay_and_nothing_new_leaves() -> None:
    bus, broker, router, _ = house()
    bus.publish(approved(reduces=True))
    bus.publish(OrderAccepted(2, "a", "B1"))
    bus.publish(CommandReceived(3, "stop", "test", "operator"))
    bus.publish(replace(approved(reduces=True), order="b"))
    assert broker.cancelled == []
    assert broker.sent == list(router.live) == ["a"]
    assert router.orders["b"].state == State.BARRED


@pytest.mark.parametrize("restored", [False, True])
def test_the_same_intent_is_never_sent_twice(restored: bool) -> None:
    bus, broker, router, book = house()
    refused: list[SignalRefused] = []
    bus.subscribe(SignalRefused, refused.append)
    if restored:
        router.restore(approved(reduces=False))
    else:
        bus.publish(approved(reduces=False))
    bus.publish(approved(reduces=False))
    assert broker.sent == ([] if restored else ["a"])
    assert [(one.by, one.code) for one in refused] == [("router", "intent_exists")]
    assert (book.reserved, len(book.sent)) == (75 * 500, 1)


@pytest.mark.parametrize("event", [OrderAccepted(3, "a", "B1"), OrderFilled(3, "a", "X", 1, 25, 500, 0, "x")])
def test_a_restored_order_that_arrived_after_it_was_absent_is_exposure(event: Event) -> None:
    _, broker, router, book = house()
    for record in (approved(reduces=False), OrderEnded(2, "a", State.ABSENT, "absent", ""), event, event):
        router.restore(record)
    filled = book.ledger.net("X")
    assert filled == (25 if isinstance(event, OrderFilled) else 0)
    assert (list(router.live), book.reserved, book.ledger.line("X").buying) == (["a"], (75 - filled) * 500, 75 - filled)
    assert broker.sent == []
