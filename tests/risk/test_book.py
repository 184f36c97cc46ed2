"""The book as a fold: whatever happens to orders, exposure is what works plus what is held, and nothing else."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from angelx.domain.events import EquityMarked, OrderApproved, OrderFilled
from angelx.orders.ledger import Ledger
from angelx.orders.order import Order
from angelx.orders.states import State
from angelx.risk.book import Book
from angelx.risk.limits import BENCH, PPM, Limits

CAPITAL = 1_000_000_0000
LIMITS = replace(BENCH, daily_loss_ppm=30_000, drawdown_ppm=100_000, premium_at_risk_ppm=100_000)
NAMES = ("A", "B")


def approved(number: int, name: str, side: int, quantity: int, limit: int, *, reduces: bool) -> OrderApproved:
    return OrderApproved(number, f"o{number}", number, "s", name, side, quantity, limit, reduces, limit, "lot", 1.0)


def made(limits: Limits = LIMITS) -> Book:
    return Book(Ledger(CAPITAL), limits)


def fill(book: Book, order: Order, units: int, price: int) -> None:
    """As the router does it: into the ledger, then off what is reserved."""
    approved = order.approved
    execution = f"{approved.order}/{order.filled + units}"
    book.ledger.apply(
        OrderFilled(1, approved.order, approved.instrument, approved.side, units, price, 0, execution), "s"
    )
    book.fill(order, units)


def close(book: Book, order: Order, state: str) -> None:
    order.state = state
    book.close(order, 1)


@given(st.data())
def test_what_is_reserved_is_what_works(data: st.DataObject) -> None:
    book = made()
    working: dict[str, tuple[OrderApproved, int]] = {}
    held, paid = Counter[str](), 0
    rejected = entries = 0
    seen: set[str] = set()
    for number in range(1, data.draw(st.integers(1, 25), label="events") + 1):
        kind = data.draw(st.sampled_from(["approve", "fill", "close"]), label="kind")
        if kind == "approve" or not working:
            order = approved(
                number, data.draw(st.sampled_from(NAMES)), data.draw(st.sampled_from([1, -1])),
                data.draw(st.integers(1, 9)), data.draw(st.integers(1, 500)), reduces=data.draw(st.booleans()),
            )  # fmt: skip
            book.reserve(order)
            working[order.order] = order, order.quantity
            continue
        name = data.draw(st.sampled_from(sorted(working)), label="order")
        order, left = working[name]
        if kind == "fill" and left:
            units = data.draw(st.integers(1, left), label="units")
            entries += name not in seen and not order.reduces
            seen.add(name)
            fill(book, book.orders[name], units, order.limit)
            held[order.instrument] += order.side * units
            paid += order.side * units * order.limit
            working[name] = order, left - units
        else:
            outcome = data.draw(st.sampled_from([State.FILLED, State.CANCELLED, State.REJECTED]), label="outcome")
            rejected += outcome == State.REJECTED
            close(book, book.orders[name], outcome)
            del working[name]
    for name in NAMES:
        line = book.ledger.line(name)
        mine = [(order, left) for order, left in working.values() if order.instrument == name]
        assert line.buying == sum(left for order, left in mine if order.side > 0)
        assert line.selling == sum(left for order, left in mine if order.side < 0)
        assert book.reserved_in(line) == sum(left * order.limit for order, left in mine if not order.reduces)
        assert line.net == held[name]
        assert line.is_taken == bool(held[name] or any(left for _, left in mine))
    assert book.reserved == sum(book.reserved_in(book.ledger.line(name)) for name in NAMES)
    assert book.ledger.held_cost == sum(abs(one.cost) for one in book.ledger.positions.values())
    assert book.held == {("s", name): held[name] for name in NAMES if held[name]}
    assert book.gross == book.ledger.held_cost + book.reserved
    assert book.ledger.cash == CAPITAL - paid
    assert (len(book.rejected), book.entries) == (rejected, entries)
    assert list(book.live) == [name for name in book.orders if name in working]


def test_an_order_is_counted_once_and_an_adopted_one_again() -> None:
    book = made()
    order = book.reserve(approved(1, "A", 1, 5, 100, reduces=False))
    assert book.reserve(order.approved) is order
    assert (book.reserved, len(book.sent)) == (500, 1)
    close(book, order, State.ABSENT)
    assert (book.reserved, book.live) == (0, {})
    book.reserve(order.approved)
    assert book.reserved == 0, "the router sends it no more"
    book.readmit(order)
    assert (book.reserved, book.ledger.line("A").buying, len(book.sent)) == (500, 5, 1)


def test_an_order_that_arrives_by_a_fill_is_exposure_for_the_rest() -> None:
    book = made()
    order = book.reserve(approved(1, "A", 1, 5, 100, reduces=False))
    close(book, order, State.ABSENT)
    fill(book, order, 2, 100)
    book.readmit(order)
    assert (book.reserved, book.ledger.line("A").buying, book.entries) == (300, 3, 1)


def test_a_fill_beyond_the_order_and_one_after_its_end_release_nothing_twice() -> None:
    book = made()
    order, line = book.reserve(approved(1, "A", 1, 5, 100, reduces=False)), book.ledger.line("A")
    fill(book, order, 7, 100)
    assert (book.reserved, line.buying, line.net) == (0, 0, 7)
    close(book, order, State.FILLED)
    fill(book, order, 1, 100)
    assert (book.reserved, line.buying, line.net, book.entries) == (0, 0, 8, 1)


def test_only_working_exits_of_the_same_strategy_and_instrument_count() -> None:
    book = made()
    exit_ = book.reserve(approved(1, "A", -1, 5, 100, reduces=True))
    book.reserve(approved(2, "B", 1, 5, 100, reduces=False))
    line = book.ledger.line
    assert book.working_exit("s", line("A"))
    assert not book.working_exit("other", line("A"))
    assert not book.working_exit("s", line("B"))
    close(book, exit_, State.FILLED)
    assert not book.working_exit("s", line("A"))


@pytest.mark.parametrize("again", [False, True])
def test_the_days_floor_counts_from_the_days_first_opening_and_the_peak_never_sinks(again: bool) -> None:
    book = made()
    book.mark(EquityMarked(1, CAPITAL * 11 // 10, 0, 0, 0))
    book.new_day("2026-01-05")
    start = CAPITAL * 11 // 10
    book.mark(EquityMarked(2, CAPITAL, 0, 0, 0))
    book.entries = 3
    book.new_day("2026-01-05" if again else "2026-01-06")
    wanted = start if again else CAPITAL
    assert book.loss_floor == wanted - wanted * LIMITS.daily_loss_ppm // PPM
    assert book.drawdown_floor == start - start * LIMITS.drawdown_ppm // PPM
    assert book.max_premium == CAPITAL * LIMITS.premium_at_risk_ppm // PPM
    assert book.entries == (3 if again else 0)
    book.mark(EquityMarked(3, -5, 0, 0, 0))
    assert book.max_premium == book.max_order == 0, "nothing is left to risk"


@pytest.mark.parametrize(("most", "entries"), [(1, 1), (2, 1), (3, 2), (4, 2), (8, 6)])
def test_the_last_places_in_a_second_are_for_exits(most: int, entries: int) -> None:
    book = made(replace(LIMITS, orders_per_s=most))
    assert (book.exits_per_s, book.entries_per_s) == (most, entries)
