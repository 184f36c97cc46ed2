"""Which contracts the simulated market lists."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.instruments import Kind, Right
from angelx.market.simulated_chain import (
    CLASSES,
    STEPS,
    expiry_dates,
    ladder,
    liquidity_classes,
    listed,
    trading_days_after,
)

CHRISTMAS = date(2029, 12, 25)
RECORDED = tuple(
    map(
        date.fromisoformat,
        (
            "2025-09-02", "2025-09-09", "2025-09-16", "2025-09-23", "2025-09-30", "2025-10-28", "2025-11-25",
            "2025-12-30", "2026-03-31", "2026-06-30", "2026-12-29", "2027-06-29", "2027-12-28", "2028-06-27",
            "2028-12-26", "2029-06-26", "2029-12-24", "2030-06-25",
        ),
    )
)  # fmt: skip
"""The 18 expiries that NSE listed for NIFTY on 29 August 2025."""

sessions = st.dates(date(2020, 1, 1), date(2035, 12, 31))
counts = st.integers(1, 30)


def test_the_pattern_of_expiries_is_that_of_the_recorded_day() -> None:
    assert expiry_dates(date(2025, 8, 29), 18, (CHRISTMAS,)) == RECORDED


def test_an_expiry_day_lists_its_own_expiry() -> None:
    assert expiry_dates(date(2025, 9, 2), 2) == RECORDED[:2]


def test_an_expiry_that_is_a_holiday_moves_back_past_holidays_and_weekends() -> None:
    monday_and_tuesday = (date(2025, 9, 8), date(2025, 9, 9))

    assert expiry_dates(date(2025, 9, 3), 1, monday_and_tuesday) == (date(2025, 9, 5),)


@given(session=sessions, count=counts, holidays=st.sets(st.integers(0, 40), max_size=12))
def test_expiries_are_distinct_trading_days_in_order_and_each_list_begins_the_longer_one(
    session: date, count: int, holidays: set[int]
) -> None:
    closed = tuple(session + timedelta(days) for days in holidays)

    expiries = expiry_dates(session, count, closed)

    assert len(expiries) == count
    assert list(expiries) == sorted(set(expiries))
    assert expiries[0] >= session
    assert all(day.weekday() < 5 and day not in closed for day in expiries)
    assert expiries == expiry_dates(session, 30, closed)[:count]


@given(session=sessions, count=counts)
def test_every_expiry_has_a_class_and_later_ones_are_not_more_liquid_than_the_nearest(
    session: date, count: int
) -> None:
    classes = liquidity_classes(session, expiry_dates(session, count))

    assert classes[:2] == (0, 1)[:count]
    assert all(2 <= row < len(CLASSES) for row in classes[2:])
    assert classes.count(3) <= 1


@given(session=sessions, days=st.integers(0, 400), more=st.integers(0, 400))
def test_trading_days_add_up(session: date, days: int, more: int) -> None:
    middle, end = session + timedelta(days), session + timedelta(days + more)

    assert trading_days_after(session, middle) + trading_days_after(middle, end) == trading_days_after(session, end)
    assert trading_days_after(session, session + timedelta(7)) == 5


@given(spot=st.floats(1.0, 1e6), strikes=st.integers(1, 400), step=st.sampled_from(STEPS))
def test_a_ladder_is_evenly_spaced_positive_and_has_the_money_in_its_middle(
    spot: float, strikes: int, step: int
) -> None:
    rungs = ladder(spot, strikes, step)

    assert len(rungs) == strikes
    assert all(above - below == step for below, above in pairwise(rungs))
    assert rungs[0] > 0
    if rungs[0] > step:
        assert abs(rungs[(strikes - 1) // 2] - spot) <= step / 2


def test_the_chain_of_the_recorded_day_as_instruments() -> None:
    table = listed(date(2025, 8, 29), 24_500.0, RECORDED, strikes=40, lot_size=75, freeze_quantity=1_800)

    index, call = table[0], table.get("NFO:NIFTY:2025-09-02:24500:CE")
    assert (index.id, index.kind, index.tradable) == ("NSE:NIFTY", Kind.INDEX, False)
    assert len(table) == 1 + 18 * 40 * 2
    assert table.options("NSE:NIFTY") == tuple(range(1, len(table)))
    assert call is not None
    assert (call.symbol, call.strike, call.right) == ("NIFTY02SEP2524500CE", 245_000_000, Right.CALL)
    assert (call.tick_size, call.lot_size, call.largest_order) == (500, 75, 1_800)
