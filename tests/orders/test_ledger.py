"""Positions and cash: conservation, flips, mirror images and an independent average-cost oracle in fractions."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.events import OrderFilled
from angelx.orders.ledger import Ledger, Line, Position

Fill = tuple[int, int, int, int]  # side, quantity, price, fee

fills = st.lists(
    st.tuples(
        st.sampled_from((1, -1)),
        st.integers(1, 1_000),
        st.integers(1, 10**9),
        st.integers(-1_000, 10**6),
    ),
    max_size=40,
)


def position_after(moves: list[Fill]) -> Position:
    position = Position("NFO:X", "bias", Line())
    for move in moves:
        position.apply_fill(*move)
    return position


def fill(order: str, move: Fill, *, instrument: str = "NFO:X", execution: str = "") -> OrderFilled:
    side, quantity, price, fee = move
    return OrderFilled(0, order, instrument, side, quantity, price, fee, execution)


@given(fills)
def test_cash_flow_is_what_was_realised_less_what_is_tied_up(moves: list[Fill]) -> None:
    position, cash = Position("NFO:X", "bias", Line()), 0
    for side, quantity, price, fee in moves:
        before = position.realised
        realised = position.apply_fill(side, quantity, price, fee)
        cash -= side * quantity * price + fee
        assert position.realised - before == realised
        assert cash == position.realised - position.cost
        assert (position.cost == 0) == (position.quantity == 0)
        assert position.cost * position.quantity >= 0


@given(fills)
def test_agrees_with_average_cost_in_exact_fractions(moves: list[Fill]) -> None:
    """The oracle holds an average price; each reduction may round by less than 1/10,000 of a currency unit."""
    position = Position("NFO:X", "bias", Line())
    quantity, average, realised, reductions = 0, Fraction(0), Fraction(0), 0
    for side, units, price, fee in moves:
        position.apply_fill(side, units, price, fee)
        closing = min(units, abs(quantity)) if quantity * side < 0 else 0
        realised += closing * (price - average) * (1 if quantity > 0 else -1) - fee
        reductions += 0 < closing < abs(quantity)
        after = quantity + side * units
        if after * quantity <= 0:
            average = Fraction(price)
        elif not closing:
            average = (abs(quantity) * average + units * price) / abs(after)
        quantity = after
        assert position.quantity == quantity
        assert abs(position.realised - realised) <= reductions
        assert abs(position.cost - quantity * average) <= reductions


@given(fills)
def test_a_mirrored_book_makes_the_opposite(moves: list[Fill]) -> None:
    free = [(side, units, price, 0) for side, units, price, _ in moves]
    here = position_after(free)
    there = position_after([(-side, *rest) for side, *rest in free])  # type: ignore[misc]
    assert (there.quantity, there.cost, there.realised) == (-here.quantity, -here.cost, -here.realised)


@given(fills, st.integers(1, 10**9), st.integers(0, 10**6), st.integers(1, 1_000))
def test_through_zero_is_closing_and_then_opening(moves: list[Fill], price: int, fee: int, beyond: int) -> None:
    once, twice = position_after(moves), position_after(moves)
    side = -1 if once.quantity > 0 else 1
    held = abs(once.quantity)
    realised = once.apply_fill(side, held + beyond, price, fee)
    parts = (twice.apply_fill(side, held, price, fee) if held else -fee) + twice.apply_fill(side, beyond, price, 0)
    assert realised == parts
    assert (once.quantity, once.cost) == (twice.quantity, twice.cost) == (side * beyond, side * beyond * price)


@given(st.lists(st.tuples(st.sampled_from(("bias", "ema")), st.sampled_from(("A", "B")), fills), max_size=6))
def test_a_ledger_conserves_cash_and_nets_its_strategies(streams: list[tuple[str, str, list[Fill]]]) -> None:
    ledger = Ledger(capital=10**10)
    cash = 10**10
    for strategy, instrument, moves in streams:
        for move in moves:
            side, quantity, price, fee = move
            cash -= side * quantity * price + fee
            changed = ledger.apply(fill("o", move, instrument=instrument), strategy)
            assert changed is not None
            position = ledger.positions[strategy, instrument]
            assert (changed.quantity, changed.cost) == (position.quantity, position.cost)
    assert ledger.cash == cash == ledger.capital + ledger.realised - ledger.cost
    assert ledger.realised == sum(position.realised for position in ledger.positions.values())
    assert ledger.fees == sum(move[3] for _, _, moves in streams for move in moves)
    for instrument in ("A", "B"):
        assert ledger.net(instrument) == sum(
            side * quantity for _, name, moves in streams if name == instrument for side, quantity, _, _ in moves
        )


@given(fills, st.randoms(use_true_random=False))
def test_the_same_execution_twice_is_one_fill(moves: list[Fill], r: object) -> None:
    del r
    once, twice = Ledger(), Ledger()
    events = [fill("o", move, execution=f"e{place}") for place, move in enumerate(moves)]
    for event in events:
        once.apply(event, "bias")
    for event in [*events, *events[::-1]]:
        twice.apply(event, "bias")
    assert (once.cash, once.realised, once.net("NFO:X")) == (twice.cash, twice.realised, twice.net("NFO:X"))
    assert twice.repeated == len(events)


def test_a_fill_without_identity_always_counts() -> None:
    ledger = Ledger()
    for _ in range(2):
        assert ledger.apply(fill("o", (1, 75, 100_0000, 0)), "bias") is not None
    assert ledger.net("NFO:X") == 150


def test_what_rounding_left_is_taken_by_the_last_unit() -> None:
    position = Position("NFO:X", "bias", Line())
    position.apply_fill(1, 2, 5, 0)
    position.apply_fill(1, 1, 6, 0)  # 3 units cost 16
    assert [position.apply_fill(-1, 1, 0, 0) for _ in range(3)] == [-5, -5, -6]
    assert position.cost == 0
