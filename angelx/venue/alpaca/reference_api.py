"""What is the same for everybody: clock, calendar, assets, option contracts, announcements."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from angelx.domain.instruments import Instrument, Kind, Right
from angelx.domain.scalars import NS, price_of
from angelx.domain.ticks import OI
from angelx.market.sessions import Session, Sessions
from angelx.venue.alpaca.account_api import day_of
from angelx.venue.alpaca.call import NEW_YORK, Answer, Call, Routes
from angelx.venue.alpaca.hours_api import settles, written
from angelx.venue.alpaca.names import Symbols
from angelx.venue.alpaca.refusals import invalid, not_found
from angelx.venue.alpaca.views import PENNY, Json, Views, exchange_of
from angelx.venue.exchange import Exchange

SEGMENT: Final = "US"
CONTRACTS_PAGE: Final = 100
MOST_CONTRACTS: Final = 10_000
FIRST_DAY: Final = date(2008, 1, 1)
"""Of the calendar: what was before is not in its tables."""
TRADING: Final = "TRADING"
SETTLEMENT: Final = "SETTLEMENT"
SETTLING: Final = timedelta(days=10)
"""More than a trade has ever taken to settle."""


class ReferenceApi:
    """Clock, calendar and masters.

    Parameters
    ----------
    sessions
        The calendar of the segment `US`.
    """

    def __init__(
        self, exchange: Exchange, symbols: Symbols, views: Views, sessions: Sessions, now: Callable[[], int]
    ) -> None:
        self._exchange, self._symbols, self._views, self._sessions, self._now = exchange, symbols, views, sessions, now
        self._days: dict[date, Json | None] = {}
        """Of the calendar, as they were asked for."""

    def routes(self, routes: Routes) -> None:
        """What this answers."""
        routes.add("GET", "/v2/clock", self.clock)
        routes.add("GET", "/v2/calendar", self.calendar)
        routes.add("GET", "/v2/assets", self.assets)
        routes.add("GET", "/v2/assets/{}", self.asset)
        routes.add("GET", "/v2/options/contracts", self.contracts)
        routes.add("GET", "/v2/options/contracts/{}", self.contract)
        routes.add("GET", "/v2/corporate_actions/announcements", lambda _: (200, []))
        routes.add("GET", "/v2/corporate_actions/announcements/{}", self.announcement)

    # ------------------------------------------------------------ time
    def clock(self, _: Call) -> Answer:
        """GET /clock."""
        now = self._now()
        return 200, {
            "timestamp": written(now),
            "is_open": self._is_open(),
            "next_open": written(self._edge(now, is_open=True)),
            "next_close": written(self._edge(now, is_open=False)),
        }

    def _is_open(self) -> bool:
        shares = self._symbols.shares or self._symbols.options
        return bool(shares) and any(self._exchange.phase(share.id) == "open" for share in shares[:1])

    def _edge(self, now: int, *, is_open: bool) -> int:
        day = self._sessions.day_of(SEGMENT, now)
        for _ in range(15):
            session = self._sessions.on(SEGMENT, day)
            if isinstance(session, Session):
                edge = session.opens_at if is_open else session.closes_at
                if edge > now:
                    return edge
            day += timedelta(days=1)
        return now

    def calendar(self, call: Call) -> Answer:
        """GET /calendar: all days that are known, or those that trade (or settle) from one date to another."""
        kind = call.text("date_type", TRADING).upper()
        if kind not in (TRADING, SETTLEMENT):
            raise invalid(f"invalid date_type: {kind[:20]}")
        start, end = call.day("start", FIRST_DAY), call.day("end", date.max)
        # What settles on a date traded on one of the days before.
        day = max(start, FIRST_DAY) - (SETTLING if kind == SETTLEMENT else timedelta())
        last = min(end, self._sessions.last_verified(SEGMENT))
        days: list[Json] = []
        while day <= last:
            shown = self._shown_day(day)
            if shown is not None and (kind == TRADING or str(start) <= shown["settlement_date"] <= str(end)):
                days.append(shown)
            day += timedelta(days=1)
        return 200, days

    def _shown_day(self, day: date) -> Json | None:
        """A day of trading; `None` for any other."""
        if day not in self._days:
            session = self._sessions.on(SEGMENT, day)
            self._days[day] = self._day(session) if isinstance(session, Session) else None
        return self._days[day]

    def _day(self, session: Session) -> Json:
        first = min(span.begins_at for span in session.phases)
        return {
            "date": str(session.day),
            "open": f"{_moment(session.opens_at):%H:%M}",
            "close": f"{_moment(session.closes_at):%H:%M}",
            "session_open": f"{_moment(first):%H%M}",
            "session_close": "2000",
            "settlement_date": str(settles(self._sessions, session)),
        }

    # ------------------------------------------------------------ assets
    def assets(self, call: Call) -> Answer:
        """GET /assets."""
        if call.text("asset_class", "us_equity") != "us_equity" or call.text("status", "active") != "active":
            return 200, []
        exchange, attributes = call.text("exchange"), set(call.names("attributes"))
        found = [
            self._views.asset(share) for share in self._symbols.shares if not exchange or exchange_of(share) == exchange
        ]
        return 200, [asset for asset in found if not attributes or attributes & set(asset["attributes"])]

    def asset(self, call: Call) -> Answer:
        """GET /assets/{symbol or id}."""
        found = self._symbols.by_symbol.get(call.where[0])
        if found is None or found.kind is not Kind.EQUITY:
            raise not_found(f"asset not found for {call.where[0][:40]}")
        return 200, self._views.asset(found)

    def announcement(self, call: Call) -> Answer:
        """GET /corporate_actions/announcements/{id}."""
        raise not_found(f"corporate action not found for {call.where[0][:40]}")

    # ------------------------------------------------------------ contracts
    def contracts(self, call: Call) -> Answer:
        """GET /options/contracts."""
        limit = call.count("limit", CONTRACTS_PAGE, MOST_CONTRACTS)
        if call.text("status", "active") != "active":
            return 200, {"option_contracts": [], "next_page_token": None}
        chosen = [option for option in self._symbols.options if self._matches(call, option)]
        start = _offset(call.text("page_token"), len(chosen))
        page = chosen[start : start + limit]
        more = start + limit < len(chosen)
        return 200, {
            "option_contracts": [self._contract(option) for option in page],
            "next_page_token": str(start + limit) if more else None,
        }

    def _matches(self, call: Call, option: Instrument) -> bool:
        today = day_of(self._exchange.now or self._now())
        below = self._exchange.table.get(option.underlying)
        names = call.names("underlying_symbols")
        on = call.text("expiration_date")
        default = today + timedelta(days=12 - today.weekday())  # The end of the next week.
        first = call.day("expiration_date_gte", today)
        last = call.day(
            "expiration_date_lte", max(default, first) if "expiration_date_gte" not in call.query else date.max
        )
        assert option.expiry is not None
        right = "call" if option.right is Right.CALL else "put"
        return (
            (not names or (below is not None and below.symbol in names))
            and (str(option.expiry) == on if on else first <= option.expiry <= last)
            and call.text("root_symbol", self._symbols.roots[option.id]) == self._symbols.roots[option.id]
            and call.text("type", right) == right
            and call.text("style", "american") == "american"
            and ("ppind" not in call.query or call.flag("ppind") == (option.tick_size <= PENNY))
            and _amount(call, "strike_price_gte", 0) <= option.strike <= _amount(call, "strike_price_lte", 2**62)
        )

    def contract(self, call: Call) -> Answer:
        """GET /options/contracts/{symbol or id}."""
        found = self._symbols.by_symbol.get(call.where[0])
        if found is None or found.kind is not Kind.OPTION:
            raise not_found(f"option contract not found for {call.where[0][:40]}")
        return 200, self._contract(found)

    def _contract(self, option: Instrument) -> Json:
        cells = self._exchange.market.of(self._exchange.table.index[option.id])
        return self._views.contract(option, cells[OI], str(day_of(self._exchange.now or self._now())))


def _amount(call: Call, name: str, default: int) -> int:
    value = call.text(name)
    if not value:
        return default
    try:
        return price_of(Decimal(value))
    except (ValueError, InvalidOperation) as error:
        raise invalid(f"invalid {name}: {value[:40]}") from error


def _offset(token: str, most: int) -> int:
    if not token:
        return 0
    if not token.isdecimal() or not 0 < int(token) <= most:
        raise invalid("invalid page_token")
    return int(token)


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at // NS, NEW_YORK)
