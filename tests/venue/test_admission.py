"""Why an order is refused: every code, the order of the questions, and what money and margin allow."""

from random import Random
from typing import Any

import msgspec
import pytest

from angelx.domain.events import Event, OrderAccepted, OrderEnded
from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right
from angelx.orders.fees import FeesUnknown
from angelx.venue.account import Margin
from angelx.venue.admission import Bands
from angelx.venue.orders import REJECT_CODES, Order
from tests.venue.desk import Desk, fills
from tests.venue.market_day import CALL, EQUITY, TABLE, TICK, option


def code(events: list[Event]) -> str:
    """The code of a refusal; empty for an accepted order."""
    event = events[0]
    if isinstance(event, OrderAccepted):
        return ""
    assert isinstance(event, OrderEnded)
    assert event.outcome == "rejected"
    assert event.detail
    assert event.code in REJECT_CODES
    assert len(events) == 1
    return event.code


def desk(**options: Any) -> Desk:
    made = Desk(**options)
    for name in (EQUITY, CALL):
        made.quote(99, 101, name=name)
    return made


@pytest.mark.parametrize(
    ("expected", "name", "side", "quantity", "limit"),
    [
        ("unknown_instrument", "NFO:?", 1, 75, 100 * TICK),
        ("not_tradable", "NSE:N", 1, 75, 100 * TICK),
        ("bad_quantity", EQUITY, 1, 0, 100 * TICK),
        ("bad_quantity", EQUITY, 1, -100, 100 * TICK),
        ("bad_price", EQUITY, 1, 100, 0),
        ("bad_price", EQUITY, 1, 100, -TICK),
        ("off_lot", CALL, 1, 100, 100 * TICK),
        ("over_freeze", CALL, 1, 1875, 100 * TICK),
        ("", CALL, 1, 1800, 100 * TICK),
        ("off_tick", EQUITY, 1, 100, 100 * TICK + 1),
        ("no_quote", "NFO:P", 1, 75, 100 * TICK),
        ("insufficient_position", CALL, -1, 75, 100 * TICK),
        ("", EQUITY, -1, 100, 100 * TICK),
    ],
)
def test_refusals(expected: str, name: str, side: int, quantity: int, limit: int) -> None:
    made = desk()
    assert code(made.engine.submit(Order("o", name, side, quantity, limit), 5)) == expected
    if expected:
        assert made.engine.orders["o"].state == "rejected"
        assert made.engine.orders["o"].code == expected


def test_an_id_is_good_for_one_order_even_a_refused_one() -> None:
    made = desk()
    made.send(1, 0, 100)
    made.send(1, 100, 100)
    for name in ("o1", "o2"):
        assert code(made.engine.submit(Order(name, EQUITY, 1, 100, 100 * TICK), 5)) == "duplicate_order"
    assert made.engine.orders["o2"].state == "working"


def test_an_order_that_comes_while_the_market_is_closed() -> None:
    assert code(desk(is_open=lambda *_: False).send(1, 100, 100)) == "market_closed"


def test_an_instrument_of_another_currency_is_not_traded() -> None:
    assert code(desk(currency="USD").send(1, 100, 100)) == "not_tradable"
    assert code(desk(currency="INR").send(1, 100, 100)) == ""


def test_an_order_that_would_meet_one_of_ours() -> None:
    made = desk()
    made.send(1, 100, 100)
    assert code(made.send(-1, 100, 100)) == "self_trade"
    assert code(made.send(-1, 100, 99)) == "self_trade"
    assert code(made.send(-1, 100, 101)) == ""
    assert code(made.send(1, 100, 101)) == "self_trade"


def test_injected_refusals_are_drawn_from_the_seed() -> None:
    def drawn(seed: int) -> list[str]:
        made = desk(random=Random(seed), reject_rate=0.25)
        return [code(made.send(1, 1, 100)) for _ in range(400)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 60 < drawn(1).count("injected") < 140
    assert set(drawn(1)) == {"", "injected"}


# ---------------------------------------------------------------- bands
def banded(name: str = EQUITY, closes: dict[str, int] | None = None, last: int = 0, **bands: int) -> tuple[int, int]:
    """Lowest and highest accepted limit in ticks."""
    accepted = []
    for limit in range(1, 400):
        made = Desk(bands=Bands(**bands), closes=closes)
        made.quote(99, 101, name=name, last=last)
        answer = code(made.send(1, 75, limit, name=name))
        assert answer in ("", "price_band")
        if not answer:
            accepted.append(limit)
    assert accepted == list(range(accepted[0], accepted[-1] + 1))
    return accepted[0], accepted[-1]


def test_an_equity_may_be_asked_for_within_a_share_of_its_reference() -> None:
    assert banded(equity_pct=20, absolute=0) == (80, 120)  # The middle of the quote.
    assert banded(equity_pct=20, absolute=0, last=110) == (88, 132)  # The first last price.
    assert banded(equity_pct=20, absolute=0, last=110, closes={EQUITY: 200 * TICK}) == (160, 240)
    assert banded(equity_pct=20, absolute=30 * TICK) == (70, 130)


def test_an_option_may_be_asked_for_within_a_share_of_its_strike() -> None:
    assert banded(CALL, option_pct=10, absolute=0, last=50) == (40, 60)


def test_us_markets_have_no_band_around_the_previous_close() -> None:
    """AAPL on 2014-06-09: split seven for one, 645 to 92."""
    dollars = InstrumentTable([msgspec.structs.replace(one, currency="USD") for one in TABLE])
    for name in (EQUITY, CALL):
        made = Desk(dollars, bands=Bands(), closes={EQUITY: 64_500 * TICK, CALL: 64_500 * TICK})
        made.quote(9_200, 9_201, name=name)
        assert [code(made.send(1, 75, limit, name=name)) for limit in (9_201, 1, 60_000)] == ["", "", ""]
        made.engine.end_of_session("US", 9)


def test_the_first_last_price_stays_the_reference_until_the_session_ends() -> None:
    made = Desk(bands=Bands(equity_pct=10, absolute=0))
    made.quote(99, 101, last=100)
    made.quote(199, 201, last=200)
    assert code(made.send(1, 100, 200)) == "price_band"
    made.engine.end_of_session("US", 9)
    assert code(made.send(1, 100, 200)) == ""


# ---------------------------------------------------------------- money
def cash(ticks: int) -> int:
    return ticks * TICK


def test_a_long_is_paid_in_full_fees_included() -> None:
    def with_cash(money: int) -> str:
        made = Desk(cash=money, fee=lambda *_: 7)
        made.quote(99, 101)
        return code(made.send(1, 100, 101))

    assert with_cash(cash(10_100) + 6) == "insufficient_funds"
    assert with_cash(cash(10_100) + 7) == ""


def test_what_has_no_fees_is_not_bought() -> None:
    def fee(*_: object) -> int:
        raise FeesUnknown("no fee of 2010-01-04")

    made = Desk(fee=fee)
    made.quote(99, 101)
    assert code(made.send(1, 100, 101)) == "fees_unknown"
    assert made.engine.account.funds().held == 0


def test_working_orders_hold_their_money_until_they_fill_or_end() -> None:
    made = Desk(cash=cash(20_000))
    made.quote(99, 101)
    made.send(1, 100, 100)
    assert made.engine.account.funds().held == cash(10_000)
    assert code(made.send(1, 101, 100)) == "insufficient_funds"
    assert code(made.send(1, 100, 100)) == ""
    assert made.engine.account.available() == 0
    made.quote(90, 95, ask_size=50)  # Half of the first, at the better touch.
    assert made.engine.account.funds().held == cash(15_000)
    assert made.engine.account.cash == cash(20_000 - 50 * 95)
    made.engine.cancel("o1", 9)
    assert made.engine.account.funds().held == cash(10_000)
    made.quote(90, 94)
    funds = made.engine.account.funds()
    assert (funds.held, funds.cash, funds.available) == (0, *2 * (cash(20_000 - 50 * 95 - 100 * 94),))
    assert funds.equity == funds.cash + cash(150 * 90)


def test_a_short_equity_needs_half_its_value_beside_its_proceeds() -> None:
    made = Desk(cash=cash(5_000))
    made.quote(100, 100)
    assert code(made.send(-1, 101, 100)) == "insufficient_funds"
    assert fills(made.send(-1, 100, 100)) == [("o2", 100, 100)]
    funds = made.engine.account.funds()
    assert (funds.cash, funds.locked, funds.available) == (cash(15_000), cash(15_000), 0)
    assert funds.equity == cash(5_000)
    made.quote(120, 120)  # It goes against us: nothing new, but closing always.
    assert made.engine.account.available() == cash(15_000 - 18_000)
    assert code(made.send(1, 75, 100, name=CALL)) == "no_quote"
    assert code(made.send(-1, 1, 120)) == "insufficient_funds"
    assert fills(made.send(1, 100, 120)) == [("o5", 100, 120)]
    assert made.engine.account.available() == cash(3_000)


def test_shorts_can_be_forbidden() -> None:
    made = Desk(margin=Margin(short_equity_pct=0))
    made.quote(100, 100)
    assert code(made.send(-1, 100, 100)) == "insufficient_position"
    made.send(1, 100, 100)
    assert code(made.send(-1, 101, 100)) == "insufficient_position"
    assert code(made.send(-1, 100, 100)) == ""


def test_what_is_on_sale_already_cannot_be_sold_again() -> None:
    made = desk()
    made.send(1, 150, 101, name=CALL)
    assert code(made.send(-1, 75, 105, name=CALL)) == ""
    assert code(made.send(-1, 150, 105, name=CALL)) == "insufficient_position"
    assert code(made.send(-1, 75, 105, name=CALL)) == ""
    made.engine.cancel("o2", 9)
    assert code(made.send(-1, 75, 105, name=CALL)) == ""


def test_a_short_option_where_allowed_locks_its_premium_and_a_share_of_its_strike() -> None:
    made = Desk(cash=cash(75 * 15), margin=Margin(short_option_pct=15))
    made.quote(20, 20, name=CALL)
    assert code(made.send(-1, 75, 20, name=CALL)) == ""
    funds = made.engine.account.funds()
    assert (funds.locked, funds.available) == (cash(75 * (20 + 15)), 0)


@pytest.mark.parametrize("margin", [{"short_equity_pct": 50}, {"short_equity_pct": -1}, {"short_option_pct": -1}])
def test_a_margin_below_the_proceeds_is_refused(margin: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="short_equity_pct"):
        Margin(**margin)


def test_without_a_freeze_quantity_an_option_order_is_one_lot_and_a_share_order_any_number() -> None:
    bare = Instrument(id="US:Y", symbol="Y", segment="US", kind=Kind.EQUITY, currency="INR", tick_size=TICK)
    unknown = msgspec.structs.replace(option("NFO:O", Right.CALL), freeze_quantity=0)
    made = Desk(InstrumentTable([*TABLE, bare, unknown]))
    made.quote(99, 101, name="US:Y")
    made.quote(9, 10, name="NFO:O")
    assert code(made.send(1, 50, 101, name="US:Y")) == ""
    assert code(made.send(1, 150, 10, name="NFO:O")) == "over_freeze"
    assert code(made.send(1, 75, 10, name="NFO:O")) == ""
