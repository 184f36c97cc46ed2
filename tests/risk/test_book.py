"""The book as a fold: whatever happens to orders, exposure is what works plus what is held, and nothing else."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from angelx.domain.events import EquityMarked, OrderApproved, OrderClosed, PositionChanged
from angelx.risk.book import Book
from angelx.risk.limits import BENCH, PPM

CAPITAL = 1_000_000_0000
LIMITS = replace(BENCH, daily_loss_ppm=30_000, drawdown_ppm=100_000, premium_at_risk_ppm=100_000)
NAMES = ("A", "B")


def approved(number: int, name: str, side: int, quantity: int, limit: int, *, reduces: bool) -> OrderApproved:
    return OrderApproved(number, f"o{number}", number, "s", name, side, quantity, limit, reduces, limit, "lot", 1.0)


def filled(book: Book, order: OrderApproved, units: int, held: Counter[str], cost: Counter[str]) -> PositionChanged:
    """A fill at the limit, as the ledger would tell it; costs are signed money paid for what is held."""
    name = order.instrument
    held[name] += order.side * units
    cost[name] = held[name] * 100
    return PositionChanged(
        order.at, name, "s", held[name], cost[name], 0, order.order, f"x{order.at}", order.side * units,
        order.side * units * order.limit,
    )  # fmt: skip


@given(st.data())
def test_what_is_reserved_is_what_works(data: st.DataObject) -> None:
    book = Book(CAPITAL, LIMITS)
    working: dict[str, tuple[OrderApproved, int]] = {}
    held, cost, paid = Counter[str](), Counter[str](), 0
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
            book.move(filled(book, order, units, held, cost))
            paid += order.side * units * order.limit
            working[name] = order, left - units
        else:
            outcome = data.draw(st.sampled_from(["filled", "cancelled", "rejected"]), label="outcome")
            rejected += outcome == "rejected"
            book.close(OrderClosed(number, name, order.signal, "s", order.instrument, order.side, outcome, 0, left))
            del working[name]
    for name in NAMES:
        line = book.line(name)
        mine = [(order, left) for order, left in working.values() if order.instrument == name]
        assert line.buying == sum(left for order, left in mine if order.side > 0)
        assert line.selling == sum(left for order, left in mine if order.side < 0)
        assert line.reserved == sum(left * order.limit for order, left in mine if not order.reduces)
        assert line.net == held[name]
        assert line.is_taken == bool(held[name] or any(left for _, left in mine))
    assert book.reserved == sum(book.line(name).reserved for name in NAMES)
    assert book.held_cost == sum(abs(cost[name]) for name in NAMES)
    assert book.held == {("s", name): held[name] for name in NAMES if held[name]}
    assert book.gross == book.held_cost + book.reserved
    assert book.cash == CAPITAL - paid
    assert (len(book.rejected), book.entries) == (rejected, entries)


def test_an_order_is_counted_once_and_an_adopted_one_again() -> None:
    known: set[str] = set()
    book = Book(CAPITAL, LIMITS, known)
    order = approved(1, "A", 1, 5, 100, reduces=False)
    book.reserve(order)
    known.add(order.order)
    book.reserve(order)
    assert (book.reserved, len(book.sent)) == (500, 1)
    book.close(OrderClosed(2, order.order, 1, "s", "A", 1, "absent", 0, 5))
    assert book.reserved == 0
    book.readmit(order)
    assert (book.reserved, book.line("A").buying, len(book.sent)) == (500, 5, 1)


def test_a_fill_beyond_the_order_and_one_after_its_end_release_nothing_twice() -> None:
    book, held, cost = Book(CAPITAL, LIMITS), Counter[str](), Counter[str]()
    order = approved(1, "A", 1, 5, 100, reduces=False)
    book.reserve(order)
    book.move(filled(book, order, 7, held, cost))
    assert (book.reserved, book.line("A").buying, book.line("A").net) == (0, 0, 7)
    book.close(OrderClosed(2, order.order, 1, "s", "A", 1, "filled", 7, 0))
    book.move(filled(book, order, 1, held, cost))
    assert (book.reserved, book.line("A").buying, book.line("A").net, book.entries) == (0, 0, 8, 1)


def test_only_working_exits_of_the_same_strategy_and_instrument_count() -> None:
    book = Book(CAPITAL, LIMITS)
    book.reserve(approved(1, "A", -1, 5, 100, reduces=True))
    book.reserve(approved(2, "B", 1, 5, 100, reduces=False))
    assert book.working_exit("s", book.line("A"))
    assert not book.working_exit("other", book.line("A"))
    assert not book.working_exit("s", book.line("B"))
    book.close(OrderClosed(3, "o1", 1, "s", "A", -1, "filled", 5, 0))
    assert not book.working_exit("s", book.line("A"))


@pytest.mark.parametrize("again", [False, True])
def test_the_days_floor_counts_from_the_days_first_opening_and_the_peak_never_sinks(again: bool) -> None:
    book = Book(CAPITAL, LIMITS)
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
    book = Book(CAPITAL, replace(LIMITS, orders_per_s=most))
    assert (book.exits_per_s, book.entries_per_s) == (most, entries)
