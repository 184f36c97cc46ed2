"""When an exchange trades: the phase of a segment, and when it changes."""

from datetime import timedelta
from typing import Final, Protocol

from angelx.domain.errors import InputInvalid
from angelx.market.sessions import Session, Sessions

NEVER: Final = 2**62
_FURTHEST_DAYS: Final = 15
"""No market closes for longer."""


class Hours(Protocol):
    """The phases of segments."""

    def phase(self, segment: str, at: int) -> str:
        """`pre_open`, `open`, `closing_auction` or `closed`."""
        ...

    def next_change(self, segment: str, at: int) -> int:
        """When, after `at`, the phase may change next, ns; `NEVER` where it will not."""
        ...

    def is_over(self, segment: str, at: int) -> bool:
        """Whether nothing of that exchange day is to come: what is good for the day ends."""
        ...


class AlwaysOpen:
    """A market without hours."""

    def phase(self, segment: str, at: int) -> str:
        """`open`."""
        return "open"

    def next_change(self, segment: str, at: int) -> int:
        """`NEVER`."""
        return NEVER

    def is_over(self, segment: str, at: int) -> bool:
        """No."""
        return False


class CalendarHours:
    """The hours of the checked-in calendar; a segment it does not have is closed."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def phase(self, segment: str, at: int) -> str:
        """As `Hours`."""
        try:
            return self._sessions.phase(segment, at)
        except InputInvalid:
            return "closed"

    def next_change(self, segment: str, at: int) -> int:
        """As `Hours`."""
        if segment not in self._sessions.segments:
            return NEVER
        day = self._sessions.day_of(segment, at)
        for _ in range(_FURTHEST_DAYS):
            session = self._sessions.on(segment, day)
            if isinstance(session, Session):
                edges = [edge for span in session.phases for edge in (span.begins_at, span.ends_at) if edge > at]
                if edges:
                    return min(edges)
            day += timedelta(days=1)
        return NEVER

    def is_over(self, segment: str, at: int) -> bool:
        """As `Hours`."""
        if segment not in self._sessions.segments:
            return False
        session = self._sessions.on(segment, self._sessions.day_of(segment, at))
        return isinstance(session, Session) and all(span.ends_at <= at for span in session.phases)
