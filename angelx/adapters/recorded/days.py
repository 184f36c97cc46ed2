"""Exchange days: the local date of a segment's exchange, as days since 1 January 1970."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from angelx.domain.scalars import NS

INDIA: Final = "Asia/Kolkata"
NEW_YORK: Final = "America/New_York"

_EPOCH: Final = date(1970, 1, 1)


def zone_of(segment: str) -> str:
    """The time zone of a segment's exchange."""
    return INDIA if segment in {"NSE", "NFO"} else NEW_YORK


def day_number(at: int, zone: str) -> int:
    """The exchange day of an instant in ns."""
    return (datetime.fromtimestamp(at // NS, UTC).astimezone(ZoneInfo(zone)).date() - _EPOCH).days


def date_of(day: int) -> date:
    """The calendar date of an exchange day."""
    return _EPOCH + timedelta(days=day)


@lru_cache(maxsize=10_000)
def start_of(day: int, zone: str) -> int:
    """The first instant of an exchange day, ns."""
    return int(datetime.combine(date_of(day), datetime.min.time(), ZoneInfo(zone)).timestamp()) * NS


def day_numbers(at: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """The exchange day of each instant in ns."""
    if not at.size:
        return np.empty(0, np.int64)
    first, last = day_number(int(at.min()), zone), day_number(int(at.max()), zone)
    midnights = np.array([start_of(day, zone) for day in range(first + 1, last + 1)], np.int64)
    return first + np.searchsorted(midnights, at, side="right").astype(np.int64)
