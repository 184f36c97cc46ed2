"""Statutory fees and commissions by date, exact integers from Decimal rates (docs/tables.md).

The rates, their dates and their sources are in `tables/fees.json`. A fee is defined as a Decimal product rounded once
per order; it is computed as a fraction of integers, which gives the same number.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import Final, Literal

import msgspec

from angelx.domain.errors import AngelxError, InputInvalid
from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import BUY, SCALE, SELL, side_text
from angelx.market import tables

TABLE: Final = "fees.json"

Rounding = Literal["half_up", "up"]
ItemName = Literal["brokerage", "stt", "exchange", "ipft", "sebi", "stamp", "gst", "sec", "taf", "cat", "orf", "occ"]


class FeesUnknown(AngelxError):
    """No rate is known for this instrument and day: nothing is charged by guess, the caller must not trade it."""


class Fees(msgspec.Struct, frozen=True, gc=False):
    """What an order costs so far, money; items that do not apply are 0."""

    total: int = 0
    brokerage: int = 0
    stt: int = 0
    """Securities transaction tax (India)."""
    exchange: int = 0
    """Exchange transaction charge."""
    ipft: int = 0
    """Investor protection fund trust (NSE)."""
    sebi: int = 0
    stamp: int = 0
    gst: int = 0
    sec: int = 0
    """Section 31 fee."""
    taf: int = 0
    """FINRA trading activity fee."""
    cat: int = 0
    """Consolidated audit trail."""
    orf: int = 0
    """Options regulatory fee."""
    occ: int = 0
    """Options clearing."""


NO_FEES: Final = Fees()
PLACE: Final = {name: place for place, name in enumerate(Fees.__struct_fields__)}


# ---------------------------------------------------------------- the checked-in form
class RateRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """A rate from a date on, until the next row."""

    since: date
    rate: Decimal
    """Currency per order, unit or lot; a fraction of notional or of other items."""
    source: str
    verified: bool
    cap: Decimal | None = None
    """At most this per order, currency."""


class ItemRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fee and what it is charged on."""

    name: ItemName
    basis: Literal["order", "notional", "quantity", "lot", "items"]
    sides: Literal["both", "buy", "sell"]
    rows: tuple[RateRow, ...]
    of: tuple[ItemName, ...] = ()
    """With basis `items`: the fees it is charged on, unrounded."""


class ScheduleRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fees of one kind of instrument."""

    segment: str
    kind: Kind
    broker: str
    currency: str
    until: date
    """Last day the rates are known for."""
    round_to: Decimal
    """Unit each fee is rounded to, currency."""
    rounding: Rounding
    items: tuple[ItemRow, ...]


class FeesTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    schedules: tuple[ScheduleRow, ...]


# ---------------------------------------------------------------- charging
Linear = tuple[Fraction, Fraction, Fraction]
"""A fee before rounding: money per order, per money of notional, per unit of quantity."""

Line = tuple[int, int, int, int, int, int, int]
"""Place in `Fees`; numerators per order, of notional and of quantity; denominator; rounding unit and cap, money. The
rounding is in the numerator of the order, so that a floor division gives whole units."""

NO_CAP: Final = 1 << 62


class FeeSchedule:
    """Fees of whole orders by instrument, side and date.

    `charge` is cumulative: at each partial fill the caller charges what the order costs now less what it cost before,
    so that rounding, minimum and caps are those of one order however it was filled.

    Raises
    ------
    InputInvalid
        The table contradicts itself.
    """

    def __init__(self, table: FeesTable) -> None:
        self._schedules = {(row.segment, row.kind): row for row in table.schedules}
        self._lines: dict[tuple[str, Kind, int, int, date], tuple[Line, ...]] = {}
        for schedule in table.schedules:
            _check(schedule)

    @classmethod
    def load(cls) -> "FeeSchedule":
        """The checked-in table."""
        return cls(tables.read(TABLE, FeesTable))

    @staticmethod
    def zero() -> "FeeSchedule":
        """No fees for anything, for benchmarks."""
        return _NoFees(FeesTable(()))

    def charge(self, instrument: Instrument, side: int, quantity: int, notional: int, on: date) -> Fees:
        """Fees of one order that has traded `quantity` units for `notional` money so far, on an exchange date.

        Raises
        ------
        FeesUnknown
            No rate is known for this kind of instrument on that day.
        ValueError
            Negative quantity or notional, or a side that is not +1 or -1.
        """
        key = (instrument.segment, instrument.kind, instrument.lot_size, side, on)
        lines = self._lines.get(key)
        if lines is None:
            lines = self._lines[key] = self._compile(instrument, side, on)
        if quantity <= 0 or notional < 0:
            if quantity == notional == 0:
                return NO_FEES
            raise ValueError(f"{instrument.id}: an order cannot trade {quantity} units for {notional}")
        fees = [0] * len(PLACE)
        total = 0
        for place, constant, of_notional, of_quantity, denominator, unit, cap in lines:
            fee = (constant + of_notional * notional + of_quantity * quantity) // denominator * unit
            if fee > cap:  # noqa: PLR1730 - min() would cost more than the rest of the line
                fee = cap
            fees[place] = fee
            total += fee
        fees[0] = total
        return Fees(*fees)

    def rates(self, instrument: Instrument, on: date) -> dict[ItemName, RateRow]:
        """The rate of each fee of an instrument on a day, with its source.

        Raises
        ------
        FeesUnknown
            As `charge`.
        """
        return {item.name: row for item, row in self._in_force(instrument, on)}

    def _in_force(self, instrument: Instrument, on: date) -> list[tuple[ItemRow, RateRow]]:
        what = f"{instrument.segment} {instrument.kind}"
        schedule = self._schedules.get((instrument.segment, instrument.kind))
        if schedule is None:
            raise FeesUnknown(f"{TABLE} has no fees of {what}, which {instrument.id} is")
        if on > schedule.until:
            raise FeesUnknown(f"fees of {what} are known to {schedule.until} only, not on {on}: add them to {TABLE}")
        found = []
        for item in schedule.items:
            row = next((row for row in reversed(item.rows) if row.since <= on), None)
            if row is None:
                first = item.rows[0].since
                raise FeesUnknown(f"{TABLE} has no {item.name} fee of {what} on {on}, the first is of {first}")
            found.append((item, row))
        return found

    def _compile(self, instrument: Instrument, side: int, on: date) -> tuple[Line, ...]:
        """The fees of one side as integer lines; those that are zero by their rate are left out."""
        if side not in (BUY, SELL):
            raise ValueError(f"{instrument.id}: side {side} is not +1 or -1")
        rows = self._in_force(instrument, on)
        schedule = self._schedules[instrument.segment, instrument.kind]
        exact: dict[ItemName, Linear] = {}
        lines = []
        for item, row in rows:
            applies = item.sides in ("both", side_text(side))
            exact[item.name] = linear = _linear(item, row, instrument.lot_size, exact) if applies else NOTHING
            if any(linear):
                lines.append(_line(schedule, item, row, linear))
        return tuple(lines)


class _NoFees(FeeSchedule):
    def charge(self, instrument: Instrument, side: int, quantity: int, notional: int, on: date) -> Fees:
        return NO_FEES


NOTHING: Final[Linear] = (Fraction(0), Fraction(0), Fraction(0))


def _linear(item: ItemRow, row: RateRow, lot_size: int, exact: Mapping[ItemName, Linear]) -> Linear:
    rate, none = Fraction(row.rate), Fraction(0)
    if item.basis == "order":
        return rate * SCALE, none, none
    if item.basis == "notional":
        return none, rate, none
    if item.basis == "items":
        constant, of_notional, of_quantity = (
            rate * sum(parts, none) for parts in zip(*(exact[name] for name in item.of), strict=True)
        )
        return constant, of_notional, of_quantity
    return none, none, rate * SCALE / (lot_size if item.basis == "lot" else 1)


def _line(schedule: ScheduleRow, item: ItemRow, row: RateRow, linear: Linear) -> Line:
    """Whole units are floor((order + notional + quantity + rounding) / denominator) over a common denominator."""
    unit = int(schedule.round_to * SCALE)
    parts = [part / unit for part in linear]
    denominator = lcm(*(part.denominator for part in parts))
    if schedule.rounding == "up":
        rounding = denominator - 1
    else:  # A half rounds up: floor(x + 1/2), with everything doubled.
        rounding, denominator = denominator, 2 * denominator
    numerators = [int(part * denominator) for part in parts]
    cap = NO_CAP if row.cap is None else int(row.cap * SCALE)
    return PLACE[item.name], numerators[0] + rounding, numerators[1], numerators[2], denominator, unit, cap


def _check(schedule: ScheduleRow) -> None:
    """Everything the integer arithmetic relies on."""
    where = f"{TABLE}: {schedule.segment} {schedule.kind}"
    unit = schedule.round_to * SCALE
    if unit <= 0 or unit != int(unit):
        raise InputInvalid(f"{where}: round_to {schedule.round_to} is not a positive multiple of 0.0001")
    known: dict[str, ItemRow] = {}
    for item in schedule.items:
        if not item.rows or any(before.since >= after.since for before, after in pairwise(item.rows)):
            raise InputInvalid(f"{where}: {item.name}: no rows, or not in order of `from`")
        if item.name in known or (item.basis == "items") != bool(item.of):
            raise InputInvalid(f"{where}: {item.name}: named twice, or `of` and basis `items` do not go together")
        if any(name not in known or any(row.cap is not None for row in known[name].rows) for name in item.of):
            raise InputInvalid(f"{where}: {item.name}: `of` must name fees listed before it that have no cap")
        for row in item.rows:
            if row.rate < 0 or (row.cap is not None and (row.cap <= 0 or row.cap % schedule.round_to)):
                raise InputInvalid(f"{where}: {item.name} from {row.since}: rate or cap is negative or not in units")
        known[item.name] = item
