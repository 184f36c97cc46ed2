"""Session phases: opens and closes each segment by the calendar, in session time."""

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import Event, PhaseChanged
from angelx.market.sessions import Session, Sessions

OPEN, CLOSED = "open", "closed"


class Segment:
    """One segment's phase, and the hours of the session that is open or was last; kept up to date."""

    __slots__ = ("closes_at", "opens_at", "phase", "session")

    def __init__(self) -> None:
        self.phase = CLOSED
        self.session: Session | None = None
        self.opens_at = self.closes_at = 0
        """Of that session, ns; 0 where there was none yet."""


class SessionPhases:
    """Knows each segment's phase and hours; publishes every change.

    Parameters
    ----------
    segments
        The segment of every instrument, by place.
    """

    name: ClassVar[str] = "session_phases"
    emits: ClassVar[tuple[type[Event], ...]] = (PhaseChanged,)

    def __init__(self, bus: Bus, sessions: Sessions, segments: Iterable[str]) -> None:
        self._bus, self._sessions = bus, sessions
        self._skip = 0
        places = tuple(segments)
        self.segments = {name: Segment() for name in sorted(set(places))}
        self.by_place = tuple(self.segments[name] for name in places)

    @property
    def opened_at(self) -> int:
        """When the latest session of any segment began, ns; 0 before the first."""
        return max((segment.opens_at for segment in self.segments.values()), default=0)

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Nothing: it lives on timers."""
        return ()

    def start(self, now: int) -> None:
        """Publish the phase of every segment at `now` and set the timers of what comes."""
        for segment in self.segments:
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
        known = self.segments[segment]
        known.phase, known.session = OPEN, session
        known.opens_at, known.closes_at = session.opens_at, session.closes_at
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
        self.segments[segment].phase = CLOSED
        self._publish(segment, CLOSED, session.day.isoformat())
        self._await_open(segment, at)

    def _publish(self, segment: str, phase: str, session: str) -> None:
        self._bus.publish(PhaseChanged(self._bus.now, segment, phase, session))
