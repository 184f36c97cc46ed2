"""Session phases: opens and closes each segment by the calendar, in session time."""

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Protocol

from angelx.bus.bus import Bus, Handler
from angelx.domain.events import Event, PhaseChanged

OPEN, CLOSED = "open", "closed"


class Hours(Protocol):
    """One session's continuous trading."""

    @property
    def opens_at(self) -> int:
        """Ns UTC."""
        ...

    @property
    def closes_at(self) -> int:
        """Ns UTC, exclusive."""
        ...

    @property
    def label(self) -> str:
        """Exchange date, ISO."""
        ...


class Calendar(Protocol):
    """When segments trade."""

    def current_or_next(self, segment: str, now: int) -> Hours | None:
        """The session that is open at `now`, else the next one; `None` beyond what is known."""
        ...


class SessionPhases:
    """Knows each segment's phase and hours; publishes every change."""

    name: ClassVar[str] = "session_phases"
    emits: ClassVar[tuple[type[Event], ...]] = (PhaseChanged,)

    def __init__(self, bus: Bus, calendar: Calendar, segments: Iterable[str]) -> None:
        self._bus, self._calendar = bus, calendar
        self.hours: dict[str, Hours] = {}
        """The session that is open, or the last that was."""
        self.phases = dict.fromkeys(sorted(set(segments)), CLOSED)

    def handlers(self) -> Iterable[tuple[type[Any], Handler]]:
        """Nothing: it lives on timers."""
        return ()

    def start(self, now: int) -> None:
        """Publish the phase of every segment at `now` and set the timers of what comes."""
        for segment in self.phases:
            hours = self._calendar.current_or_next(segment, now)
            if hours is None:
                self._publish(segment, CLOSED, "")
            elif hours.opens_at <= now:
                self._open(segment, hours)
            else:
                self._publish(segment, CLOSED, hours.label)
                self._bus.at(hours.opens_at, partial(self._open, segment, hours))

    def _open(self, segment: str, hours: Hours) -> None:
        self.phases[segment] = OPEN
        self.hours[segment] = hours
        self._publish(segment, OPEN, hours.label)
        self._bus.at(hours.closes_at, partial(self._close, segment, hours))

    def _close(self, segment: str, hours: Hours) -> None:
        self.phases[segment] = CLOSED
        self._publish(segment, CLOSED, hours.label)
        following = self._calendar.current_or_next(segment, hours.closes_at)
        if following is not None:
            self._bus.at(following.opens_at, partial(self._open, segment, following))

    def _publish(self, segment: str, phase: str, session: str) -> None:
        self._bus.publish(PhaseChanged(self._bus.now, segment, phase, session))

    def opens_at(self, segment: str) -> int:
        """Of the session that is open, or the last that was, ns; 0 where there was none."""
        hours = self.hours.get(segment)
        return hours.opens_at if hours is not None else 0

    def closes_at(self, segment: str) -> int:
        """Of the session that is open, or the last that was, ns; 0 where there was none."""
        hours = self.hours.get(segment)
        return hours.closes_at if hours is not None else 0
