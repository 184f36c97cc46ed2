"""Session phases: opens and closes each segment by the calendar, in session time."""

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import Event, PhaseChanged
from angelx.market.sessions import Session, Sessions

OPEN, CLOSED = "open", "closed"


class SessionPhases:
    """Knows each segment's phase and hours; publishes every change."""

    name: ClassVar[str] = "session_phases"
    emits: ClassVar[tuple[type[Event], ...]] = (PhaseChanged,)

    def __init__(self, bus: Bus, sessions: Sessions, segments: Iterable[str]) -> None:
        self._bus, self._sessions = bus, sessions
        self.hours: dict[str, Session] = {}
        """The session that is open, or the last that was."""
        self.opens: dict[str, int] = {}
        self.closes: dict[str, int] = {}
        """Of the same session, ns; a segment that has not been open is missing."""
        self._skip = 0
        self.phases = dict.fromkeys(sorted(set(segments)), CLOSED)

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Nothing: it lives on timers."""
        return ()

    def start(self, now: int) -> None:
        """Publish the phase of every segment at `now` and set the timers of what comes."""
        for segment in self.phases:
            session = self._sessions.at(segment, now)
            if isinstance(session, Session):
                self._open(segment, session)
            else:
                self._publish(segment, CLOSED, f"{session.day}: {session.reason}")
                self._await_open(segment, now)

    def _await_open(self, segment: str, now: int) -> None:
        opens_at = self._sessions.next_open(segment, now)
        if isinstance(opens_at, int):
            session = self._sessions.at(segment, opens_at)
            assert isinstance(session, Session)
            self._bus.at(opens_at, partial(self._open, segment, session))

    def skip_until(self, at: int) -> None:
        """Play no session that ends before `at`, ns: nothing was recorded of it."""
        self._skip = at

    def _open(self, segment: str, session: Session) -> None:
        if session.closes_at < self._skip:
            self._await_open(segment, self._midnight(segment))
            return
        self.phases[segment] = OPEN
        self.hours[segment] = session
        self.opens[segment], self.closes[segment] = session.opens_at, session.closes_at
        self._publish(segment, OPEN, session.day.isoformat())
        now = self._bus.now
        closes_at = min(
            span.ends_at for span in session.phases if span.phase == OPEN and span.ends_at > now
        )  # of this sitting: a day may have two
        self._bus.at(closes_at, partial(self._close, segment, session, closes_at))

    def _midnight(self, segment: str) -> int:
        """A moment before the open of the first day to be played, and after the close of the day before it."""
        session = self._sessions.on(segment, self._sessions.day_of(segment, self._skip))
        return session.opens_at if isinstance(session, Session) else self._skip

    def _close(self, segment: str, session: Session, at: int) -> None:
        self.phases[segment] = CLOSED
        self._publish(segment, CLOSED, session.day.isoformat())
        self._await_open(segment, at)

    def _publish(self, segment: str, phase: str, session: str) -> None:
        self._bus.publish(PhaseChanged(self._bus.now, segment, phase, session))
