"""Dated exchange rules that brokers' files lack: lots, freeze quantities, ticks, expiries (docs/tables.md).

Every answer comes from a row of `tables/rules.json` with its source. What no row covers is `None`, never a guess: the
caller refuses, or takes the documented safe side (an unknown freeze quantity is one lot, SPEC 1.1). Underlyings are
named by the exchange's symbol (`NIFTY`), prices are 1/10,000.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from itertools import islice, takewhile
from typing import Final, Literal, TypeVar

import msgspec

from angelx.domain.scalars import price_of
from angelx.market import tables
from angelx.market.sessions import Session, Sessions

TABLE: Final = "rules.json"
EXPIRY_SEGMENT: Final = "NFO"
QUARTERS: Final = (3, 6, 9, 12)
HALF_YEARS: Final = (6, 12)
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday")
HOLIDAYS_AHEAD: Final = timedelta(days=20)
"""NSE lists the next year's holidays in mid-December; until then its contracts are dated without them."""


class Row(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"since": "from", "until": "to"}
):
    """A fact of the days [from, to]; without `to` it holds to the table's last verified day."""

    since: date
    until: date | None = None
    source: str
    verified: bool


class LotRow(Row, frozen=True, kw_only=True):
    """Units in one lot of the contracts that expire by `expiries_to`; rows of one day go by expiry."""

    underlying: str
    expiries_to: date | None = None
    lot: int


class FreezeRow(Row, frozen=True, kw_only=True):
    """Largest units in one order of derivatives on an index."""

    underlying: str
    units: int


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holds from a price on, in currency units."""

    at_least: Decimal


class TickStep(Step, frozen=True, kw_only=True):
    """Smallest price step, currency units."""

    tick: Decimal


class SizeStep(Step, frozen=True, kw_only=True):
    """Shares in a round lot."""

    units: int


class TickRow(Row, frozen=True, kw_only=True):
    """Ticks by price, lowest price first; without `underlyings` for the whole segment."""

    segment: str
    underlyings: frozenset[str]
    ladder: tuple[TickStep, ...]


class RoundLotRow(Row, frozen=True, kw_only=True):
    """Round lots of US stocks by price, lowest price first."""

    ladder: tuple[SizeStep, ...]


class ExpiryRow(Row, frozen=True, kw_only=True):
    """When contracts on an index expire, and how many of each cycle are listed."""

    underlying: str
    weekday: Literal["monday", "tuesday", "wednesday", "thursday", "friday"]
    """Of the weekly contracts; the others expire on the last such day of their month. A holiday: the day before."""
    weekly: int
    """Listed weekly contracts; 0 = none. The week of a monthly expiry has none of its own."""
    monthly: int
    quarterly: int
    half_yearly: int


class NationalHolidays(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holidays on the same day each year, `MM-DD`, for expiries that lie beyond the verified sessions."""

    days: frozenset[str]
    source: str


class RulesTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    last_verified: date
    lots: tuple[LotRow, ...]
    freeze: tuple[FreezeRow, ...]
    ticks: tuple[TickRow, ...]
    round_lots: tuple[RoundLotRow, ...]
    expiries: tuple[ExpiryRow, ...]
    national_holidays: NationalHolidays


@cache
def table() -> RulesTable:
    """The checked-in table, read once.

    Raises
    ------
    InputInvalid
        It does not have this form.
    """
    return tables.read(TABLE, RulesTable)


R = TypeVar("R", bound=Row)


def _in_force(rows: Sequence[R], on: date) -> Iterator[R]:
    last = table().last_verified
    return (row for row in rows if row.since <= on <= (row.until or last))


def lot_size(underlying: str, on: date, expiry: date | None = None) -> int | None:
    """Units in one lot on a trading date; `None` where it is not known.

    While a change is under way contracts of one day have different lots: without `expiry` the answer is then `None`.
    """
    rows = [row for row in _in_force(table().lots, on) if row.underlying == underlying]
    if expiry is not None:
        return next((row.lot for row in rows if row.expiries_to is None or expiry <= row.expiries_to), None)
    lots = {row.lot for row in rows}
    return lots.pop() if len(lots) == 1 else None


def freeze_quantity(underlying: str, on: date) -> int | None:
    """Largest units the exchange takes in one order on a trading date; `None` where it is not known."""
    return next((row.units for row in _in_force(table().freeze, on) if row.underlying == underlying), None)


def tick_size(segment: str, underlying: str, on: date, price: int = 0) -> int | None:
    """Smallest price step at a price, both 1/10,000; `None` where it is not known (most US option classes)."""
    for row in _in_force(table().ticks, on):
        if row.segment == segment and (not row.underlyings or underlying in row.underlyings):
            return price_of(_step(row.ladder, price).tick)
    return None


def round_lot(on: date, price: int) -> int | None:
    """Shares in a round lot of a US stock at its average close (1/10,000) of the evaluation period."""
    return next((_step(row.ladder, price).units for row in _in_force(table().round_lots, on)), None)


S = TypeVar("S", bound=Step)


def _step(ladder: Sequence[S], price: int) -> S:
    """The last step at or below the price; ladders begin at zero."""
    return list(takewhile(lambda step: price_of(step.at_least) <= price, ladder))[-1]


# ---------------------------------------------------------------- expiries
def expiry_rule(underlying: str, on: date) -> ExpiryRow | None:
    """How the contracts listed on a trading date expire; `None` where it is not known."""
    return next((row for row in _in_force(table().expiries, on) if row.underlying == underlying), None)


def listed_expiries(underlying: str, on: date, sessions: Sessions) -> tuple[date, ...] | None:
    """Expiry dates of the contracts listed on a trading date, nearest first, that date's own included.

    Weekly, monthly, quarterly and half-yearly cycles as NSE lists them, moved to the trading day before where the
    holiday was known by then; `None` where the rule is not known.
    """
    rule = expiry_rule(underlying, on)
    if rule is None:
        return None

    def traded(day: date) -> date:
        while not _is_trading_day(day, on, sessions):
            day -= timedelta(days=1)
        return day

    months = [day for last in islice(_month_ends(rule, on), 12 * (rule.half_yearly + 2)) if (day := traded(last)) >= on]
    listed = months[: rule.monthly]
    listed += _following(months, listed, QUARTERS, rule.quarterly)
    listed += _following(months, listed, HALF_YEARS, rule.half_yearly)
    first = on + timedelta((WEEKDAYS.index(rule.weekday) - on.weekday()) % 7)
    weeks = (traded(first + timedelta(weeks=week)) for week in range(2 * rule.weekly + 2))
    listed += islice((day for day in weeks if day >= on and day not in months), rule.weekly)
    return tuple(sorted(listed))


def _month_ends(rule: ExpiryRow, on: date) -> Iterator[date]:
    """The last weekday of the rule in each month, from the month of `on`."""
    first = on.replace(day=1)
    while True:
        first = (first + timedelta(days=31)).replace(day=1)
        last = first - timedelta(days=1)
        yield last - timedelta((last.weekday() - WEEKDAYS.index(rule.weekday)) % 7)


def _following(months: list[date], listed: list[date], cycle: tuple[int, ...], count: int) -> list[date]:
    return [day for day in months if day > listed[-1] and day.month in cycle][:count]


def _is_trading_day(day: date, on: date, sessions: Sessions) -> bool:
    """Whether contracts listed `on` may expire that day; a Muhurat or weekend session is no such day."""
    if day <= sessions.last_verified(EXPIRY_SEGMENT) and day.year <= (on + HOLIDAYS_AHEAD).year:
        session = sessions.on(EXPIRY_SEGMENT, day)
        return isinstance(session, Session) and not session.special
    return day.weekday() < len(WEEKDAYS) and f"{day:%m-%d}" not in table().national_holidays.days
