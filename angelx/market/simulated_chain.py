"""Which contracts the simulated market lists, and how long they live: expiries, strike ladders, liquidity classes.

The pattern is NIFTY's on the recorded day: four weekly Tuesdays, then the last Tuesdays of three months, three quarters
and eight half-years. Moneyness is counted in *rulers*: `ln(strike / forward) / (RULER * sqrt(trading days / 252))`,
signed so that positive is out of the money for calls and puts alike.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Final

from angelx.domain.instruments import Instrument, InstrumentTable, Kind, Right

TICK: Final = 500
"""Price step of index and options, 1/10,000: 0.05 rupees."""
RULER: Final = 0.11
"""The annual volatility that moneyness is counted in."""
YEAR_DAYS: Final = 252.0
"""Trading days in a year."""

CLASSES: Final = (
    "nearest", "second", "later weekly", "first monthly", "monthly to 100 days", "to 250 days", "to 550 days", "beyond",
)  # fmt: skip
"""Liquidity classes of expiries: the rows of the fitted tables."""
EDGES: Final = (-6.0, -3.0, -1.5, -0.5, 0.5, 1.5, 3.0, 6.0)
"""Borders of the moneyness buckets: the columns of the fitted tables."""
CENTRES: Final = (-7.0, -4.5, -2.25, -1.0, 0.0, 1.0, 2.25, 4.5, 7.0)
"""Where a bucket's fitted value holds exactly; between them it is interpolated."""
STEPS: Final = (50, 50, 100, 100, 100, 500, 500, 500)
"""Rupees between strikes, by class."""

_TUESDAY: Final = 1
_WEEKLIES, _MONTHS, _QUARTERS = 4, 3, 3


def expiry_dates(session: date, count: int, holidays: Sequence[date] = ()) -> tuple[date, ...]:
    """The first `count` expiries on or after `session`, ascending, of the full list as the exchange keeps it.

    A Tuesday that is a holiday expires on the last trading day before it. Half-yearly expiries go on as far as asked.
    """
    months = _last_tuesdays(session, holidays)
    monthly = [next(months) for _ in range(_MONTHS)]
    chosen = set(monthly)
    quarterly, half_yearly = 0, 0
    wanted_half_years = max(8, count)
    while half_yearly < wanted_half_years:
        day = next(months)
        if quarterly < _QUARTERS:
            if day.month % 3 == 0:
                chosen.add(day)
                quarterly += 1
        elif day.month % 6 == 0:
            chosen.add(day)
            half_yearly += 1
    tuesday = session + timedelta((_TUESDAY - session.weekday()) % 7)
    weekly: set[date] = set()
    while len(weekly) < _WEEKLIES:
        if (tuesday + timedelta(7)).month == tuesday.month:  # The last one of a month is that month's own.
            day = _trading_day(tuesday, holidays)
            weekly |= {day} if day >= session else set()
        tuesday += timedelta(7)
    return tuple(sorted(chosen | weekly))[:count]


def _last_tuesdays(session: date, holidays: Sequence[date]) -> Iterator[date]:
    year, month = session.year, session.month
    while True:
        following = date(year + month // 12, month % 12 + 1, 1)
        last = following - timedelta(1)
        day = _trading_day(last - timedelta((last.weekday() - _TUESDAY) % 7), holidays)
        if day >= session:
            yield day
        year, month = following.year, following.month


def _trading_day(day: date, holidays: Sequence[date]) -> date:
    while day.weekday() > 4 or day in holidays:
        day -= timedelta(1)
    return day


def trading_days_after(session: date, expiry: date, holidays: Sequence[date] = ()) -> int:
    """Trading days after `session` up to and including `expiry`."""
    days = (session + timedelta(n) for n in range(1, (expiry - session).days + 1))
    return sum(day.weekday() < 5 and day not in holidays for day in days)


def liquidity_classes(session: date, expiries: Sequence[date]) -> tuple[int, ...]:
    """Row of the fitted tables for each of the ascending `expiries`; an expiry is monthly if its month has no later."""
    last_of_month = {(day.year, day.month): day for day in expiries}
    rows: list[int] = []
    for rank, day in enumerate(expiries):
        away = (day - session).days
        if rank < 2:
            rows.append(rank)
        elif day != last_of_month[day.year, day.month]:
            rows.append(2)
        elif 3 not in rows and away <= 100:
            rows.append(3)
        else:
            rows.append(4 + sum(away > limit for limit in (100, 250, 550)))
    return tuple(rows)


def ladder(spot: float, strikes: int, step: int) -> tuple[int, ...]:
    """`strikes` strikes in whole rupees, `step` apart, the middle one nearest to `spot` (rupees), all positive."""
    lowest = max(round(spot / step) - (strikes - 1) // 2, 1) * step
    return tuple(lowest + n * step for n in range(strikes))


def prominence(strike: int, step: int) -> int:
    """How round a strike (rupees) is on its ladder: 0 plain, 1 rounder (100 of 50s, 1,000 of 500s), 2 the 500s."""
    if step > 100:
        return int(strike % 1000 == 0)
    return 2 if strike % 500 == 0 else int(step < 100 and strike % 100 == 0)


def listed(
    session: date, spot: float, expiries: Sequence[date], strikes: int, lot_size: int, freeze_quantity: int
) -> InstrumentTable:
    """The index, then call and put of each strike of each expiry; `spot` in rupees."""
    index = Instrument(
        id="NSE:NIFTY", symbol="NIFTY", segment="NSE", kind=Kind.INDEX, currency="INR", tick_size=TICK, tradable=False
    )
    rows = liquidity_classes(session, expiries)
    return InstrumentTable(
        [
            index,
            *(
                _option(expiry, strike, right, lot_size, freeze_quantity)
                for expiry, row in zip(expiries, rows, strict=True)
                for strike in ladder(spot, strikes, STEPS[row])
                for right in (Right.CALL, Right.PUT)
            ),
        ]
    )


def _option(expiry: date, strike: int, right: Right, lot_size: int, freeze_quantity: int) -> Instrument:
    short = "CE" if right is Right.CALL else "PE"
    return Instrument(
        id=f"NFO:NIFTY:{expiry.isoformat()}:{strike}:{short}",
        symbol=f"NIFTY{expiry:%d%b%y}{strike}{short}".upper(),
        segment="NFO",
        kind=Kind.OPTION,
        currency="INR",
        tick_size=TICK,
        lot_size=lot_size,
        freeze_quantity=freeze_quantity,
        underlying="NSE:NIFTY",
        expiry=expiry,
        strike=strike * 10_000,
        right=right,
    )
