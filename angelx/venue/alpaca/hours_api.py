"""Clock and calendar of version 3, by market: what each of them does now, and its days with every part of the session.

After-hours trading is closed at this venue, so no day has a `post` part.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from angelx.domain.scalars import NS
from angelx.market.sessions import Session, Sessions
from angelx.venue.alpaca.account_api import day_of
from angelx.venue.alpaca.call import NEW_YORK, Answer, Call, Routes
from angelx.venue.alpaca.refusals import MALFORMED, Refusal
from angelx.venue.alpaca.views import Json

ZONE: Final = "America/New_York"
MARKETS: Final = {
    "NYSE": ("US", {"acronym": "NYSE", "mic": "XNYS", "name": "New York Stock Exchange", "timezone": ZONE}),
    "NASDAQ": ("US", {"acronym": "NASDAQ", "mic": "XNAS", "name": "NASDAQ", "timezone": ZONE}),
    "IEX": ("US", {"acronym": "IEX", "mic": "IEXG", "name": "Investors Exchange", "timezone": ZONE}),
    "OPRA": ("OPRA", {"acronym": "OPRA", "name": "Options Price Reporting Authority", "timezone": ZONE}),
}
"""Segment, and how the market is written, by acronym."""
BY_CODE: Final = {code: name for name, (_, market) in MARKETS.items() for code in (name, market.get("mic", name))}
PHASES: Final = {"pre_open": "pre", "open": "core"}
MOST_DAYS: Final = 366 * 3
WEEK: Final = timedelta(days=7)
LOOK_AHEAD: Final = 15
"""Days within which a market opens again."""


class HoursApi:
    """When markets trade."""

    def __init__(self, sessions: Sessions, now: Callable[[], int]) -> None:
        self._sessions, self._now = sessions, now

    def routes(self, routes: Routes) -> None:
        """What this answers."""
        routes.add("GET", "/v3/clock", self.clock)
        routes.add("GET", "/v3/calendar/{}", self.calendar)

    def clock(self, call: Call) -> Answer:
        """GET /v3/clock, of some markets or all, now or at `time`."""
        at = call.instant("time", self._now())
        return 200, {"clocks": [self._clock(_market(code), at) for code in call.names("markets") or MARKETS]}

    def _clock(self, name: str, at: int) -> Json:
        segment, market = MARKETS[name]
        day = self._sessions.day_of(segment, at)
        found = [self._sessions.on(segment, day + timedelta(days=count)) for count in range(LOOK_AHEAD)]
        ahead = [session for session in found if isinstance(session, Session)]
        spans = [span for session in ahead for span in session.phases if span.phase in PHASES]
        inside = next((span for span in spans if span.begins_at <= at < span.ends_at), None)
        until = inside.ends_at if inside is not None else _after(at, [span.begins_at for span in spans])
        return {
            "market": market,
            "timestamp": written(at),
            "is_market_day": isinstance(found[0], Session),
            "next_market_open": written(_after(at, [session.opens_at for session in ahead])),
            "next_market_close": written(_after(at, [session.closes_at for session in ahead])),
            "phase": PHASES[inside.phase] if inside is not None else "closed",
            "phase_until": written(until),
        }

    def calendar(self, call: Call) -> Answer:
        """GET /v3/calendar/{market}, a week from `start` where no `end` is given."""
        segment, market = MARKETS[_market(call.where[0])]
        if call.text("timezone", "UTC") != "UTC":
            raise Refusal(400, MALFORMED, f"invalid timezone: {call.text('timezone')[:20]}")
        is_utc = "timezone" in call.query
        first = call.day("start", day_of(self._now()))
        last = min(call.day("end", min(first, date.max - WEEK) + WEEK), self._sessions.last_verified(segment))
        days = [first + timedelta(days=count) for count in range(min(max((last - first).days + 1, 0), MOST_DAYS))]
        sessions = (self._sessions.on(segment, day) for day in days)
        shown = [self._day(session, is_utc=is_utc) for session in sessions if isinstance(session, Session)]
        return 200, {"market": market, "calendar": shown}

    def _day(self, session: Session, *, is_utc: bool) -> Json:
        parts = {"date": str(session.day)}
        for span in session.phases:
            if span.phase in PHASES:
                name = PHASES[span.phase]
                parts[f"{name}_start"] = written(span.begins_at, is_utc=is_utc)
                parts[f"{name}_end"] = written(span.ends_at, is_utc=is_utc)
        return parts | {"settlement_date": str(settles(self._sessions, session))}


def settles(sessions: Sessions, session: Session) -> date:
    """When trades of a session settle: the next one (T+1 since 2024-05-28)."""
    day = session.day
    for _ in range(LOOK_AHEAD):
        day += timedelta(days=1)
        if isinstance(sessions.on(session.segment, day), Session):
            break
    return day


def written(at: int, *, is_utc: bool = False) -> str:
    """A time with New York's offset, or in UTC; nanoseconds kept."""
    moment = datetime.fromtimestamp(at // NS, UTC if is_utc else NEW_YORK)
    text = moment.isoformat().replace("+00:00", "Z")
    place, fraction = len("2026-01-05T09:30:00"), at % NS
    return f"{text[:place]}.{fraction:09d}{text[place:]}" if fraction else text


def _market(code: str) -> str:
    """Its acronym.

    Raises
    ------
    Refusal
        There is no such market here.
    """
    name = BY_CODE.get(code)
    if name is None:
        raise Refusal(400, MALFORMED, f"invalid market: {code[:20]}: here are {', '.join(BY_CODE)}")
    return name


def _after(at: int, edges: list[int]) -> int:
    return min((edge for edge in edges if edge > at), default=at)
