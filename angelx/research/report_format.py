"""Money, times and texts as a person reads them, the same in every form of the report."""

from datetime import timedelta
from fractions import Fraction
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from angelx.domain.scalars import NS, SCALE, money_text
from angelx.domain.text import printable
from angelx.research.session_records import local_time

DASH: Final = "\u2013"
"""Stands for a figure that does not exist."""

MINUS: Final = "\u2212"

SIGNS: Final = {"INR": "₹", "USD": "$", "EUR": "€", "GBP": "£"}


def strike_text(strike: float | None) -> str:
    """A strike in currency units, `24,600`, with two places where it has any; a dash for `None`."""
    if strike is None:
        return DASH
    return f"{strike:,.0f}" if strike == round(strike) else f"{strike:,.2f}"


class Formats:
    """How one book's figures are written.

    Parameters
    ----------
    currency
        Code; one without a sign of its own is written before the amount.
    zone
        The exchange's.
    first_at, last_at
        Span of the session, ns: where it covers several dates, times are written with theirs.
    """

    def __init__(self, currency: str, zone: ZoneInfo, first_at: int = 0, last_at: int = 0) -> None:
        one_day = local_time(first_at, zone).date() == local_time(last_at, zone).date()
        self._clock = "%H:%M:%S.%f" if one_day else "%Y-%m-%d %H:%M:%S.%f"
        self.sign = SIGNS.get(currency, f"{currency} " if currency else "")
        self.zone = zone
        self._offsets: dict[int, int] = {}

    def money(self, amount: int | None, *, signed: bool = False) -> str:
        """`₹1,234.50`, rounded half-even to 0.01, with a typographic minus; with `signed` also `+₹1,234.50`.

        A dash for `None`.
        """
        if amount is None:
            return DASH
        mark = MINUS if amount < 0 else "+" if signed and amount else ""
        return f"{mark}{self.sign}{money_text(abs(amount))}"

    def price(self, price: int | Fraction | None) -> str:
        """A price without the currency's sign; an average to 1/10,000."""
        if price is None:
            return DASH
        if isinstance(price, Fraction):
            return f"{float(price / SCALE):,.4f}" if price.denominator > 1 else self.price(price.numerator)
        return money_text(price, 4 if price % 100 else 2)

    def time(self, at: int) -> str:
        """`09:15:00.123` in the exchange's zone, with the date in a session of several days; a dash for 0."""
        return local_time(at, self.zone).strftime(self._clock)[:-3] if at else DASH

    def stamp(self, at: int) -> str:
        """`2025-09-01 09:15:00` in the exchange's zone; a dash for 0."""
        return local_time(at, self.zone).strftime("%Y-%m-%d %H:%M:%S") if at else DASH

    def wall_ms(self, at: int) -> int:
        """Milliseconds since 1970 of the exchange's wall clock: what a chart without time zones is drawn on."""
        quarter = at // (900 * NS)
        offset = self._offsets.get(quarter)
        if offset is None:
            shift = local_time(at, self.zone).utcoffset() or timedelta()
            offset = self._offsets[quarter] = round(shift.total_seconds()) * 1_000
        return at // 1_000_000 + offset


def duration(ns: float) -> str:
    """A latency in the unit that suits it: `640 ns`, `14.2 µs`, `3.1 ms`, `2.5 s`."""
    for unit, size in (("s", NS), ("ms", 1_000_000), ("µs", 1_000)):
        if ns >= size:
            return f"{ns / size:,.3g} {unit}" if ns < 1_000 * size else f"{ns / size:,.0f} {unit}"
    return f"{ns:.0f} ns"


def span(ns: int) -> str:
    """A stretch of time: `6 h 15 min`, `42.1 s`."""
    minutes, seconds = divmod(ns / NS, 60)
    if minutes < 1:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(minutes + seconds / 60), 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def percent(fraction: float | None, places: int = 1) -> str:
    """`12.5 %`; a dash for `None`."""
    return DASH if fraction is None else f"{100 * fraction:,.{places}f} %"


def clean(text: object) -> str:
    """Text safe in HTML; what cannot be printed becomes a question mark."""
    return escape(printable(str(text)))
