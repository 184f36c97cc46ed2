"""When each segment trades: a checked-in table of sessions, answered in nanoseconds (docs/tables.md).

`tables/sessions.json` is made by `tools/make_sessions.py`. What it does not cover is closed, with the reason.
"""

from bisect import bisect_right
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import NS
from angelx.market import tables

TABLE: Final = "sessions.json"
MINUTE: Final = 60 * NS
WEEKDAYS: Final = 5

Phase = Literal["pre_open", "open", "closing_auction", "closed"]
"""`pre_open`: orders are collected, or extended trading goes on; `open`: continuous trading."""

WindowName = Literal["opening", "morning", "midday", "afternoon", "closing"]

WINDOW_ENDS: Final[tuple[tuple[WindowName, int], ...]] = (("opening", 75), ("morning", 165), ("midday", 285))
"""Minutes after the open: NSE's 10:30, 12:00 and 14:00, counted from 09:15."""
CLOSING_MINUTES: Final = 15


class Span(msgspec.Struct, frozen=True, gc=False):
    """A phase of a session, [begins_at, ends_at), ns."""

    phase: Phase
    begins_at: int
    ends_at: int


class Session(msgspec.Struct, frozen=True):
    """One exchange day of one segment."""

    segment: str
    day: date
    """Exchange date."""
    opens_at: int
    """First instant of continuous trading, ns."""
    closes_at: int
    """End of continuous trading, ns, exclusive; a closing auction comes after it."""
    special: bool
    """True for weekend and Muhurat sessions: traded only with `trade_special_sessions`."""
    note: str
    """Why it differs from a regular day; empty on a regular one."""
    phases: tuple[Span, ...]
    """In order; between and around them it is closed. Two `open` spans are two sittings."""


class Closed(msgspec.Struct, frozen=True):
    """No continuous trading, and why."""

    segment: str
    day: date
    reason: str


class Window(msgspec.Struct, frozen=True, gc=False):
    """A time-of-day window of SPEC 4.2, [begins_at, ends_at), ns."""

    name: WindowName
    begins_at: int
    ends_at: int


# ---------------------------------------------------------------- the checked-in form
Hours = tuple[tuple[Phase, str, str], ...]
"""Phase, begin and end as `HH:MM` exchange time."""


class HoursRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """Regular hours of a segment from a date on."""

    since: date
    phases: Hours
    source: str
    verified: bool


class DayRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A day with hours of its own; without phases it is closed for the reason in `note`."""

    phases: Hours
    special: bool
    note: str
    source: str
    verified: bool


class CalendarRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Trading days of [first, last]: weekdays but holidays, and the days that have hours of their own."""

    zone: str
    first: date
    last: date
    source: str
    holidays: frozenset[date]


class SegmentRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hours of one segment."""

    calendar: str
    hours: tuple[HoursRow, ...]
    days: dict[date, DayRow]


class SessionsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    made_from: str
    calendars: dict[str, CalendarRow]
    segments: dict[str, SegmentRow]


# ---------------------------------------------------------------- questions and answers
class Sessions:
    """Sessions of every segment. A question about an instant costs two comparisons while the last answer holds.

    Raises
    ------
    InputInvalid
        The table contradicts itself, or it is asked for a segment it does not have.
    """

    def __init__(self, table: SessionsTable, *, trade_special_sessions: bool = False) -> None:
        self._segments: dict[str, _Segment] = {}
        for name, row in sorted(table.segments.items()):
            calendar = table.calendars.get(row.calendar)
            if calendar is None:
                raise InputInvalid(f"{TABLE}: {name}: no calendar {row.calendar!r}")
            _check(name, row, calendar)
            self._segments[name] = _Segment(name, row, calendar, trade_special_sessions=trade_special_sessions)

    @classmethod
    def load(cls, *, trade_special_sessions: bool = False) -> "Sessions":
        """The checked-in table. Without `trade_special_sessions` weekend and Muhurat sessions are closed."""
        return cls(tables.read(TABLE, SessionsTable), trade_special_sessions=trade_special_sessions)

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments the table has."""
        return tuple(self._segments)

    def last_verified(self, segment: str) -> date:
        """After this day every answer is closed."""
        return self._of(segment).calendar.last

    def first_verified(self, segment: str) -> date:
        """Before this day every answer is closed."""
        return self._of(segment).calendar.first

    def on(self, segment: str, day: date) -> Session | Closed:
        """The session of an exchange date, or why there is none."""
        return self._of(segment).on(day)

    def at(self, segment: str, now: int) -> Session | Closed:
        """The session in whose continuous trading `now` (ns) lies, or why it is closed."""
        return self._of(segment).seen(now).answer

    def phase(self, segment: str, now: int) -> Phase:
        """The phase of the segment at `now`, ns."""
        return self._of(segment).seen(now).phase

    def day_of(self, segment: str, at: int) -> date:
        """Exchange date of an instant, ns, in the exchange's zone: New York's evening is India's next morning."""
        return self._of(segment).day_of(at)

    def next_open(self, segment: str, now: int) -> int | Closed:
        """First instant at or after `now` at which continuous trading begins, ns; `Closed` past the verified days."""
        return self._of(segment).next_open(now)

    def windows(self, segment: str, session: Session) -> tuple[Window, ...]:
        """The windows of a session (SPEC 4.2), in order, without gaps, from its open to its close.

        They count from this session's own open; the last 15 minutes go before all others, so that a short session
        keeps its closing window and loses those that no longer fit.

        Raises
        ------
        ValueError
            The session is another segment's.
        """
        if session.segment != segment:
            raise ValueError(f"a session of {session.segment} has no windows in {segment}")
        last = max(session.opens_at, session.closes_at - CLOSING_MINUTES * MINUTE)
        ends = [(name, min(session.opens_at + minutes * MINUTE, last)) for name, minutes in WINDOW_ENDS]
        ends += [("afternoon", last), ("closing", session.closes_at)]
        begin = session.opens_at
        windows = []
        for name, end in ends:
            if begin < end:
                windows.append(Window(name, begin, end))
                begin = end
        return tuple(windows)

    def _of(self, segment: str) -> "_Segment":
        found = self._segments.get(segment)
        if found is None:
            raise InputInvalid(f"{TABLE} has no segment {segment!r}, only {', '.join(self.segments)}")
        return found


class _Segment:
    """One segment, and the last answer given about an instant with the time it holds for."""

    def __init__(self, name: str, row: SegmentRow, calendar: CalendarRow, *, trade_special_sessions: bool) -> None:
        self.name = name
        self.calendar = calendar
        self.phase: Phase = "closed"
        self.answer: Session | Closed = Closed(name, calendar.first, "not looked up yet")
        self._row = row
        self._zone = ZoneInfo(calendar.zone)
        self._special = trade_special_sessions
        self._since = [rule.since for rule in row.hours]
        self._sessions: dict[date, Session | Closed] = {}
        self._holds_from = self._holds_until = 0
        self._day = calendar.first
        self._day_from = self._day_until = 0

    def seen(self, now: int) -> "_Segment":
        """Itself with `phase` and `answer` true of `now`."""
        if not self._holds_from <= now < self._holds_until:
            self._look(now)
        return self

    def day_of(self, at: int) -> date:
        if not self._day_from <= at < self._day_until:
            self._day = datetime.fromtimestamp(at // NS, self._zone).date()
            self._day_from = self._instant(self._day, "00:00")
            self._day_until = self._instant(self._day + timedelta(days=1), "00:00")
        return self._day

    def on(self, day: date) -> Session | Closed:
        found = self._sessions.get(day)
        if found is None:
            found = self._sessions[day] = self._make(day)
        return found

    def next_open(self, now: int) -> int | Closed:
        day = max(self.day_of(now), self.calendar.first)
        while day <= self.calendar.last:
            session = self.on(day)
            if isinstance(session, Session):
                for span in session.phases:
                    if span.phase == "open" and span.begins_at >= now:
                        return span.begins_at
            day += timedelta(days=1)
        return self._closed(day, self._out_of_range(day))

    def _look(self, now: int) -> None:
        """Finds the span or the gap that `now` lies in; the answer holds to its end."""
        session = self.on(self.day_of(now))
        self._holds_from, self._holds_until = self._day_from, self._day_until
        self.phase = "closed"
        self.answer = session
        if isinstance(session, Closed):
            return
        for span in session.phases:
            if now < span.begins_at:
                self._holds_until = span.begins_at
                break
            if now < span.ends_at:
                self._holds_from, self._holds_until, self.phase = span.begins_at, span.ends_at, span.phase
                break
            self._holds_from = span.ends_at
        if self.phase != "open":
            self.answer = self._closed(session.day, self._why_not(session, now))

    def _why_not(self, session: Session, now: int) -> str:
        if now < session.opens_at:
            return f"before the open at {self._clock(session.opens_at)}"
        if now < session.closes_at:
            begin = next(span.begins_at for span in session.phases if span.phase == "open" and span.begins_at > now)
            return f"between two sittings, the next opens at {self._clock(begin)}"
        if self.phase == "closing_auction":
            return f"closing auction until {self._clock(self._holds_until)}"
        return f"after the close at {self._clock(session.closes_at)}"

    def _make(self, day: date) -> Session | Closed:
        if not self.calendar.first <= day <= self.calendar.last:
            return self._closed(day, self._out_of_range(day))
        own = self._row.days.get(day)
        if own is not None and not own.phases:
            return self._closed(day, own.note)
        if own is not None and own.special and not self._special:
            return self._closed(day, f"special session not traded: {own.note} (trade_special_sessions is false)")
        if own is None and day.weekday() >= WEEKDAYS:
            return self._closed(day, "weekend")
        if own is None and day in self.calendar.holidays:
            return self._closed(day, "exchange holiday")
        hours = own.phases if own is not None else self._row.hours[bisect_right(self._since, day) - 1].phases
        spans = tuple(Span(phase, self._instant(day, begin), self._instant(day, end)) for phase, begin, end in hours)
        trading = [span for span in spans if span.phase == "open"]
        note, special = (own.note, own.special) if own is not None else ("", False)
        return Session(self.name, day, trading[0].begins_at, trading[-1].ends_at, special, note, spans)

    def _out_of_range(self, day: date) -> str:
        if day < self.calendar.first:
            return f"before {self.calendar.first}, the first day in {TABLE}"
        return f"after {self.calendar.last}, the last verified day in {TABLE}"

    def _closed(self, day: date, reason: str) -> Closed:
        return Closed(self.name, day, reason)

    def _instant(self, day: date, clock: str) -> int:
        return int(datetime.combine(day, time.fromisoformat(clock), self._zone).timestamp()) * NS

    def _clock(self, at: int) -> str:
        return f"{datetime.fromtimestamp(at // NS, self._zone):%H:%M}"


def _check(name: str, row: SegmentRow, calendar: CalendarRow) -> None:
    """Everything `_Segment` relies on; times are `HH:MM`, so text order is time order."""
    if not row.hours or row.hours[0].since > calendar.first:
        raise InputInvalid(f"{TABLE}: {name}: no hours on {calendar.first}, the first day of its calendar")
    if any(before.since >= after.since for before, after in pairwise(row.hours)):
        raise InputInvalid(f"{TABLE}: {name}: hours are not in order of `from`")
    rules = [(f"hours from {rule.since}", rule.phases) for rule in row.hours]
    for place, phases in rules + [(f"day {day}", own.phases) for day, own in row.days.items()]:
        edges = [edge for _, begin, end in phases for edge in (begin, end)]
        ordered = all(begin < end for _, begin, end in phases) and edges == sorted(edges)
        trades = any(phase == "open" for phase, _, _ in phases) or not phases
        if not (ordered and trades and all(len(edge) == len("HH:MM") for edge in edges)):
            raise InputInvalid(f"{TABLE}: {name}: {place}: phases overlap, are out of order or never open: {phases}")
