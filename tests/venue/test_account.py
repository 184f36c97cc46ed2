"""Cash, cost and what is realised always add up."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from angelx.market.state import MarketState
from angelx.venue.account import Account, Margin
from tests.venue.market_day import TABLE

fills_drawn = st.lists(
    st.tuples(st.sampled_from((1, -1)), st.integers(1, 50), st.integers(1, 10**9), st.integers(0, 10**6)), max_size=30
)


@given(fills=fills_drawn)
def test_cost_is_the_average_price_of_what_is_held(fills: list[tuple[int, int, int, int]]) -> None:
    account = Account(10**12, Margin(), MarketState(TABLE))
    position = account.position(0)
    held, average, cash = 0, Fraction(0), 10**12
    for number, (side, quantity, price, fee) in enumerate(fills, 1):
        account.fill(position, side, quantity, quantity * price, fee)
        cash -= side * quantity * price + fee
        for _ in range(quantity):  # Unit by unit.
            if held * side >= 0:
                average = (average * abs(held) + price) / (abs(held) + 1)
            held += side
        assert (position.quantity, account.cash) == (held, cash)
        assert abs(position.cost - held * average) <= number  # Rounded once a fill.
        assert (position.cost == 0) or held
    assert account.locked() >= -position.cost if held < 0 else account.locked() == 0
