"""Until when an option lives: its master's expiry date and its segment's own close on that date (SPEC 3.1)."""

from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import NS
from angelx.market import tables
from angelx.market.sessions import MINUTE, TABLE, Closed, Session, Sessions, SessionsTable

YEAR_S: Final = 365 * 86_400
"""Seconds in a year: all days count alike."""
AVERAGED: Final = 30 * MINUTE
"""NSE's closing value of an index is the average of its last half hour of continuous trading."""
_CASH: Final = {"NFO": "NSE"}
"""Segments whose options settle at the closing value of another segment's day."""


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """The end of one expiry."""

    at: int
    """When trading and time value end, ns."""
    averaging_from: int
    """From then on what it settles at is being made, by averaging or in the closing auction: the model, which knows one
    price at one instant, overstates what is left of volatility. 0 = no averaging.
    """
    note: str
    """Why the instant is an assumption; empty where the table has that day's close."""


class Settlements:
    """Settlement of any expiry of any segment; looked up once each."""

    def __init__(self, sessions: Sessions) -> None:
        table = tables.read(TABLE, SessionsTable)
        self._zones = {name: ZoneInfo(table.calendars[row.calendar].zone) for name, row in table.segments.items()}
        self._sessions = sessions
        self._known: dict[tuple[str, date], Settlement] = {}

    def of(self, segment: str, expiry: date) -> Settlement:
        """The settlement of an expiry.

        Where the table has no session on that date (a year that is not verified yet, or a master that names a holiday)
        it is the clock time of the last session before, with a note.

        Raises
        ------
        InputInvalid
            The table has no such segment, or no session of it on or before that date.
        """
        found = self._known.get((segment, expiry))
        if found is None:
            found = self._known[segment, expiry] = self._settlement(segment, expiry)
        return found

    def _settlement(self, segment: str, expiry: date) -> Settlement:
        session, note = self._session(segment, expiry)
        cash = _CASH.get(segment)
        averaging_from = 0
        if cash is not None:
            underlying, _ = self._session(cash, expiry)
            auction = any(span.phase == "closing_auction" for span in underlying.phases)
            averaging_from = self._moved(underlying.closes_at - (0 if auction else AVERAGED), cash, underlying, expiry)
        return Settlement(self._moved(session.closes_at, segment, session, expiry), averaging_from, note)

    def _session(self, segment: str, expiry: date) -> tuple[Session, str]:
        """That day's session, or the last regular one before it and why."""
        answer, first = self._sessions.on(segment, expiry), self._sessions.first_verified(segment)
        if isinstance(answer, Session):
            return answer, ""
        note = answer.reason
        day = min(expiry, self._sessions.last_verified(segment))
        while isinstance(answer, Closed) or answer.special or answer.note:
            day -= timedelta(days=1)
            if day < first:
                raise InputInvalid(
                    f"options that expire on {expiry}: the sessions of {segment} are known from {first} on"
                )
            answer = self._sessions.on(segment, day)
        return answer, f"{note}: taken as on {day}"

    def _moved(self, instant: int, segment: str, session: Session, day: date) -> int:
        """The same clock time on another day."""
        if session.day == day:
            return instant
        zone = self._zones[segment]
        clock = datetime.fromtimestamp(instant // NS, zone).time()
        return int(datetime.combine(day, clock, zone).timestamp()) * NS


def years_until(settles_at: int, now: int) -> float:
    """Years of 365 days from `now` to the settlement, both ns, to the second; 0.0 once it has passed."""
    return max(settles_at // NS - now // NS, 0) / YEAR_S
