"""Moments as people write them: a day, a day and a time, or a time of day alone, in the exchange's zone."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from angelx.domain.errors import InputInvalid
from angelx.domain.ports import TickSource
from angelx.domain.scalars import NS

_DAY: int = len("2025-08-29")


def zone_of(currency: str, source: str) -> ZoneInfo:
    """The zone of the exchange that trades in a currency.

    Raises
    ------
    InputInvalid
        None is known; it names `source`.
    """
    from angelx.research.session_facts import ZONES

    if currency not in ZONES:
        raise InputInvalid(f"{source}: no exchange of currency {currency} is known")
    return ZoneInfo(ZONES[currency])


def currency_of(source: TickSource) -> str:
    """What the instruments of a source are traded in."""
    return source.instruments.currency or source.instruments.all[-1].currency


def is_day(text: str | None) -> bool:
    """True for a bare date, `2025-08-29`."""
    return text is not None and len(text.strip()) == _DAY and ":" not in text


def is_time(text: str | None) -> bool:
    """True for a time of day alone, `11:00`: whoever knows the recording says of which day."""
    return _time(text) is not None


def day_of(at: int, zone: ZoneInfo) -> date:
    """The exchange's day of a moment, ns."""
    return datetime.fromtimestamp(at // NS, zone).date()


def day_bounds(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """First instant of an exchange day, and of the next, ns."""
    return _ns(datetime.combine(day, time(), zone)), _ns(datetime.combine(day + timedelta(days=1), time(), zone))


def moment_of(
    text: str | None, zone: ZoneInfo, *, option: str, day: date | None = None, last: bool = False
) -> int | None:
    """A moment of exchange time, ns.

    Parameters
    ----------
    option
        What an error names: `--from`.
    day
        Of which day a time of day alone is; `None` = such a time is refused.
    last
        A bare date is its end instead of its start.

    Raises
    ------
    InputInvalid
        It is no moment.
    """
    if text is None:
        return None
    text = text.strip()
    try:
        if (clock := _time(text)) is not None:
            if day is None:
                raise InputInvalid(f"{option}: {text!r} is a time of no day: write '2025-08-29 {text}'")
            return _ns(datetime.combine(day, clock, clock.tzinfo or zone))
        if is_day(text):
            return day_bounds(date.fromisoformat(text), zone)[int(last)]
        moment = datetime.fromisoformat(text)
        return _ns(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        allowed = "2025-08-29, '2025-08-29 10:00' or 10:00"
        raise InputInvalid(f"{option}: {text!r} is no moment: write {allowed}") from None


def shown(at: int, zone: ZoneInfo) -> str:
    """`2025-08-29 10:00:00`."""
    return f"{datetime.fromtimestamp(at // NS, zone):%Y-%m-%d %H:%M:%S}"


def _time(text: str | None) -> time | None:
    try:
        return time.fromisoformat(text.strip()) if text and ":" in text else None
    except ValueError:
        return None


def _ns(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1_000_000) * (NS // 1_000_000)
