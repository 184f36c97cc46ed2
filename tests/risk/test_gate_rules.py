"""Every rule of the gate from both sides of its limit; reductions are never barred by the rules of entries."""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from angelx.domain.events import EquityMarked, OrderApproved, OrderFilled, Signal
from angelx.domain.instruments import Instrument, Kind, Right
from angelx.domain.scalars import NS
from angelx.domain.ticks import EXCHANGE_AT, FIELDS
from angelx.market.freshness import Freshness
from angelx.orders.ledger import Ledger
from angelx.orders.order import Order
from angelx.orders.states import State
from angelx.risk.book import Book
from angelx.risk.gate import Draft, Stand, Terms
from angelx.risk.gate import objection as asked
from angelx.risk.limits import Limits
from angelx.risk.sizing import entry_units
from angelx.services.session_phases import Segment

OPTION = Instrument(
    id="O", symbol="O", segment="NFO", kind=Kind.OPTION, currency="INR", tick_size=500, lot_size=75,
    freeze_quantity=1_800, underlying="X", expiry=date(2026, 1, 6), strike=240_000_000, right=Right.CALL,
)  # fmt: skip
EQUITY = Instrument(id="E", symbol="E", segment="NSE", kind=Kind.EQUITY, currency="INR", tick_size=500)
CAPITAL = 10**11
NOW = 10**15
LIMITS = Limits()


def book(**limits: Any) -> Book:
    return Book(Ledger(CAPITAL), replace(LIMITS, **limits))


class Made:
    """A draft, and what it is measured by."""

    def __init__(self, changes: dict[str, Any]) -> None:
        of_signal = {name: changes.pop(name) for name in ("at", "strategy", "urgency") if name in changes}
        fields: dict[str, Any] = {"side": 1, "quantity": 75, "limit": 1_001_000, "touch": 1_000_000, "reduces": False}
        fields |= {name: changes.pop(name) for name in fields if name in changes}
        self.instrument: Instrument = changes.pop("instrument", OPTION)
        signal = replace(Signal(NOW, 1, "s", self.instrument.id, 1, 0, 0, why="w"), **of_signal)
        fields |= {"bid": changes.pop("bid", 999_500), "ask": changes.pop("ask", 1_000_000)}
        self.draft = Draft(signal, 0, **fields)
        self.hours = Segment()
        self.hours.phase, self.hours.closes_at = changes.pop("phase", "open"), changes.pop("closes_at", NOW + 10**13)
        quote = np.zeros(FIELDS, np.int64)
        quote[EXCHANGE_AT] = signal.at - changes.pop("age", 0)
        self.quote = quote.data
        self.barred = changes.pop("barred", "")
        self.freshness = Freshness("stream", NS)
        self.freshness.max_age_ns = NS
        assert not changes


def draft(**changes: Any) -> Made:
    """An entry that nothing speaks against."""
    return Made(changes)


def objection(made: Made, book: Book) -> tuple[str, str] | None:
    terms, line = Terms(made.instrument, book.limits), book.ledger.line(made.instrument.id)
    position = line.positions.get(made.draft.signal.strategy)
    stand = Stand(terms, line, made.quote, made.hours, made.freshness)
    book.barred = made.barred
    return asked(replace(made.draft, held=position.quantity if position else 0), stand, book)


def approved(order: str = "a", **changes: Any) -> OrderApproved:
    base = OrderApproved(NOW, order, 1, "s", "O", 1, 75, 1_000_000, False, 1_000_000, "x", 1.0)
    return replace(base, **changes)


def reserved(**changes: Any) -> Callable[[Book], None]:
    return lambda book: (book.reserve(approved(**changes)), None)[1]


def filled(book: Book, order: Order, units: int, price: int) -> None:
    """As the router does it: into the ledger, then off what is reserved."""
    one = order.approved
    execution = f"{one.order}/{order.filled}"
    book.ledger.apply(OrderFilled(0, one.order, one.instrument, one.side, units, price, 0, execution), one.strategy)
    book.fill(order, units)


def closed(book: Book, order: Order, state: str) -> None:
    order.state = state
    book.close(order, NOW)


def holding(units: int, strategy: str = "s", instrument: str = "O") -> Callable[[Book], None]:
    def hold(book: Book) -> None:
        name = f"h{strategy}{instrument}"
        order = book.reserve(
            approved(
                name, side=1 if units > 0 else -1, quantity=abs(units), strategy=strategy, instrument=instrument,
                limit=10, at=0,
            )
        )  # fmt: skip
        filled(book, order, abs(units), 10)
        closed(book, order, State.FILLED)

    return hold


def holding_while_buying(book: Book) -> None:
    holding(75)(book)
    book.reserve(approved(side=1))


def holding_while_exiting(book: Book) -> None:
    """150 units, of which another strategy sells 75."""
    holding(150)(book)
    book.reserve(approved("out", side=-1, strategy="t", reduces=True))


def sent(count: int, ago: int) -> Callable[[Book], None]:
    return lambda book: book.sent.extend([NOW - ago] * count)


def marked(equity: int) -> Callable[[Book], None]:
    return lambda book: book.mark(EquityMarked(NOW, equity, 0, 0, 0))


EXIT = {"side": -1, "reduces": True, "touch": 999_500, "limit": 998_500}
CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], Callable[[Book], None] | None]] = [
    # rule, changes that pass, changes that do not, limits, what is done to the book first
    ("market_closed", {}, {"phase": "closed"}, {}, None),
    ("not_tradable", {}, {"instrument": replace(EQUITY, tradable=False)}, {}, None),
    ("no_touch", {"touch": 1, "limit": 500}, {"touch": 0}, {}, None),
    ("crossed", {"bid": 1_000_000}, {"bid": 1_000_500}, {}, None),
    ("collar", {"limit": 1_001_000}, {"limit": 1_001_500}, {}, None),
    ("collar", {"limit": 1_002_000, "urgency": 1}, {"limit": 1_002_500, "urgency": 1}, {}, None),
    ("off_tick", {"limit": 1_000_500}, {"limit": 1_000_501}, {}, None),
    ("off_lot", {"quantity": 150}, {"quantity": 151}, {}, None),
    ("off_lot", {}, {"quantity": 0}, {}, None),
    ("over_freeze", {"quantity": 1_800}, {"quantity": 1_875}, {"max_order_ppm": 10**9}, None),
    ("order_rate", {}, {}, {}, sent(6, NS - 1)),
    ("wash", {**EXIT}, {**EXIT}, {}, holding_while_buying),
    ("exits_exceed", {**EXIT, "quantity": 75}, {**EXIT, "quantity": 150}, {}, holding(75)),
    ("exits_exceed", {**EXIT, "quantity": 75}, {**EXIT, "quantity": 150}, {}, holding_while_exiting),
    ("barred", {}, {"barred": "halt"}, {}, None),
    ("stale", {"age": NS}, {"age": NS + 1}, {}, None),
    ("spread", {"bid": 985_500}, {"bid": 985_000}, {}, None),
    ("spread", {"bid": 9_000, "ask": 10_000, "touch": 10_000, "limit": 10_000},
     {"bid": 8_500, "ask": 10_000, "touch": 10_000, "limit": 10_000}, {}, None),
    ("too_late", {"closes_at": NOW + 1_800 * NS + 1}, {"closes_at": NOW + 1_800 * NS}, {}, None),
    ("max_order", {"limit": 1_000_000}, {}, {"max_order_ppm": 750}, None),
    ("naked_short", {**EXIT, "reduces": False, "quantity": 75}, {**EXIT, "reduces": False, "quantity": 150}, {}, holding(75)),  # noqa: E501
    ("naked_short", {**EXIT, "reduces": False, "quantity": 75}, {**EXIT, "reduces": False, "quantity": 150}, {}, holding_while_exiting),  # noqa: E501
    ("opposes_other", {**EXIT, "reduces": False, "strategy": "s"}, {**EXIT, "reduces": False, "strategy": "t"}, {}, holding(75)),  # noqa: E501
    ("daily_loss", {}, {}, {}, marked(CAPITAL - CAPITAL * 3 // 100)),
    ("drawdown", {}, {}, {"daily_loss_ppm": 900_000}, marked(CAPITAL - CAPITAL // 5)),
    ("max_positions", {"instrument": OPTION}, {"instrument": replace(OPTION, id="P")}, {"max_positions": 1}, holding(75)),  # noqa: E501
    ("max_positions", {"instrument": OPTION}, {"instrument": replace(OPTION, id="P")}, {"max_positions": 1}, reserved()),  # noqa: E501
    ("exposure", {"quantity": 75}, {"quantity": 150}, {"premium_at_risk_ppm": 1_000}, None),
    ("buying_power", {"quantity": 150}, {"quantity": 150},
     {"premium_at_risk_ppm": 10**9, "max_order_ppm": 10**9}, reserved(quantity=75, limit=(CAPITAL - 10**6) // 75)),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "good", "bad", "limits", "first"), CASES)
def test_each_rule_from_both_sides(
    rule: str, good: dict[str, Any], bad: dict[str, Any], limits: dict[str, Any], first: Callable[[Book], None] | None
) -> None:
    full = book(duplicate_window_ns=0, **limits)
    if first is not None:
        first(full)
    found = objection(draft(**bad), full)
    assert found is not None
    assert found[0] == rule
    if good != bad:
        passed = objection(draft(**good), full)
        assert passed is None or passed[0] != rule


@pytest.mark.parametrize(
    ("equity", "rule"), [(CAPITAL - CAPITAL * 3 // 100 + 1, None), (CAPITAL * 97 // 100, "daily_loss")]
)
def test_the_day_s_loss_bars_at_the_floor(equity: int, rule: str | None) -> None:
    full = book()
    marked(equity)(full)
    found = objection(draft(), full)
    assert (found and found[0]) == rule


@pytest.mark.parametrize(
    ("count", "reduces", "passes"), [(5, False, True), (6, False, False), (7, True, True), (8, True, False)]
)
def test_exits_have_two_places_of_their_own(count: int, reduces: bool, passes: bool) -> None:
    full = book(duplicate_window_ns=0)
    holding(75)(full)
    full.sent.clear()
    sent(count, NS - 1)(full)
    found = objection(draft(**EXIT) if reduces else draft(), full)
    assert (found is None) == passes
    full.sent.clear()
    sent(20, NS)(full)
    assert objection(draft(), full) is None


def test_the_same_on_the_same_quote_is_a_loop_for_five_minutes() -> None:
    full = book()
    assert objection(draft(), full) is None
    assert objection(draft(at=NOW + NS), full) is not None
    assert objection(draft(at=NOW + 302 * NS), full) is None
    assert objection(draft(at=NOW + 303 * NS, bid=999_000), full) is None


@given(st.integers(1, 20), st.data())
def test_no_rule_of_entries_bars_a_reduction(lots: int, data: st.DataObject) -> None:
    full = book(max_positions=0, max_daily_trades=0, rejects_per_min=0, premium_at_risk_ppm=0, max_order_ppm=0)
    holding(75 * lots)(full)
    full.sent.clear()
    marked(1)(full)
    quantity = 75 * data.draw(st.integers(1, lots))
    found = objection(
        draft(**EXIT, quantity=quantity, barred="halt", age=10**15, bid=999_500, ask=5_000_000, closes_at=NOW), full
    )
    assert found is None


@given(
    price=st.integers(1, 10**7),
    stop=st.integers(0, 10**7),
    cash=st.integers(0, 10**11),
    kind=st.sampled_from((OPTION, EQUITY)),
)
def test_sizes_are_whole_lots_within_every_cap(price: int, stop: int, cash: int, kind: Instrument) -> None:
    full = Book(Ledger(cash), LIMITS)
    units, bound = entry_units(full, full.ledger.line(kind.id), Terms(kind, LIMITS), price, stop)
    assert units >= 0
    assert units % kind.lot_size == 0
    assert units * price <= min(full.max_order, cash)
    assert units <= kind.largest_order
    distance = stop or max(price * 30 // 100, 1)
    assert units * distance <= full.risk_per_trade
    one_more = units + kind.lot_size
    most = full.max_premium if kind is OPTION else min(full.max_gross, full.max_name)
    assert (
        one_more * distance > full.risk_per_trade
        or one_more * price > min(full.max_order, cash, most)
        or one_more > kind.largest_order
    ), bound


def test_an_order_that_was_given_up_and_arrives_is_exposure_again() -> None:
    full = book()
    order, line = full.reserve(approved("late", quantity=150, limit=1_000_000)), full.ledger.line("O")
    closed(full, order, State.ABSENT)
    assert (full.reserved, line.buying) == (0, 0)
    full.readmit(order)
    assert (full.reserved, line.buying) == (150 * 1_000_000, 150)
    filled(full, order, 75, 1_000_000)
    assert (full.reserved, line.buying, full.entries) == (75 * 1_000_000, 75, 1)
    closed(full, order, State.CANCELLED)
    assert (full.reserved, line.buying, line.net) == (0, 0, 75)
