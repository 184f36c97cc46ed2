"""The reconciler alone: what it keeps of books that disagree with ours."""

import pytest

from angelx.bus.service import wire
from angelx.domain.events import BooksRead, HealthChanged, OrderFilled
from angelx.domain.scalars import NS
from angelx.orders.ledger import Ledger
from angelx.services.broker_link import RecordedLink
from angelx.services.reconciler import Reconciler
from tests.services.test_order_router import house


class Desk:
    """Our ledger, and books that say what they are told to."""

    def __init__(self) -> None:
        self.bus, _, router, book = house()
        self.ledger: Ledger = book.ledger
        self.link = RecordedLink(self.bus)
        self.states: list[str] = []
        self.bus.subscribe(HealthChanged, lambda event: self.states.append(event.state))
        wire(self.bus, [self.link, Reconciler(self.bus, self.link, self.ledger, router)])
        self.bus.advance(100 * NS)
        self.read(0)
        self.fills = 0

    def read(self, units: int, *, after_s: int = 20) -> None:
        """The broker's units of X, some time later."""
        self.bus.advance(self.bus.now + after_s * NS)
        self.bus.publish(BooksRead(self.bus.now, self.bus.now, (), (("X", units),) if units else ()))

    def fill(self, units: int) -> None:
        """One of ours."""
        self.fills += 1
        side = 1 if units > 0 else -1
        self.ledger.apply(OrderFilled(self.bus.now, "a", "X", side, abs(units), 500, 0, str(self.fills)), "s")

    @property
    def at_broker(self) -> int:
        return self.ledger.line("X").at_broker


def test_what_differs_twice_bounds_what_can_be_closed_until_it_agrees() -> None:
    desk = Desk()
    desk.fill(300)
    desk.read(225)
    assert desk.at_broker == 300, "once is nothing"
    desk.read(225)
    assert desk.at_broker == 225
    desk.read(150)
    assert desk.at_broker == 150
    desk.read(300)
    assert desk.at_broker == 300


@pytest.mark.parametrize("stale", [225, 175, 125])
def test_books_that_are_behind_our_own_fills_do_not_move_the_bound(stale: int) -> None:
    desk = Desk()
    desk.fill(300)
    desk.read(225)
    desk.read(225)
    desk.fill(-50)
    desk.fill(-50)
    assert desk.at_broker == 125
    desk.read(stale, after_s=1)
    assert desk.at_broker == 125
    desk.read(125)
    assert desk.at_broker == 125


def test_a_difference_stands_though_ours_moves() -> None:
    desk = Desk()
    desk.fill(300)
    desk.read(375)
    desk.fill(-100)
    assert desk.states == []
    desk.read(275)
    assert desk.states == ["paused"], "75 more than ours, twice"


@pytest.mark.parametrize(("gaps", "paused"), [((75, 150, 75, 150), True), ((75, 150, 0, 75), False)])
def test_a_difference_that_moves_stands_after_a_minute(gaps: tuple[int, ...], paused: bool) -> None:
    desk = Desk()
    desk.fill(300)
    for gap in gaps:
        assert not desk.states
        desk.read(300 + gap)
    assert (desk.states == ["paused"]) == paused
