"""Alpaca's end of the wire: one account at one exchange, without sockets and without a clock of its own."""

from base64 import b64decode
from collections import deque
from collections.abc import Callable, Mapping
from hmac import compare_digest
from random import Random
from typing import Any, Final

import msgspec

from angelx.domain.instruments import Instrument
from angelx.domain.scalars import NS
from angelx.domain.ticks import TickBatch
from angelx.domain.timestamps import rfc3339
from angelx.domain.wire import Request, Response, Stream
from angelx.market.sessions import Session, Sessions
from angelx.orders.windows import MINUTE, Limit, SlidingWindows
from angelx.venue.alpaca.account_api import AccountApi
from angelx.venue.alpaca.call import Call, Routes, plain_path
from angelx.venue.alpaca.closing_api import ClosingApi
from angelx.venue.alpaca.combos import KEPT, Combos
from angelx.venue.alpaca.data_api import DataApi
from angelx.venue.alpaca.events import OrderEvents, ulid
from angelx.venue.alpaca.hours_api import HoursApi
from angelx.venue.alpaca.market_stream import NEWS, MarketStream
from angelx.venue.alpaca.names import Symbols, each, text, wire_id
from angelx.venue.alpaca.orders_api import OrdersApi, events_of
from angelx.venue.alpaca.reference_api import ReferenceApi
from angelx.venue.alpaca.refusals import TOO_MANY, Refusal, answer, forbidden, not_found, unauthorized
from angelx.venue.alpaca.screener_api import ScreenerApi
from angelx.venue.alpaca.tape import Tape
from angelx.venue.alpaca.updates import OAUTH, OrderUpdates
from angelx.venue.alpaca.views import Json, Views
from angelx.venue.exchange import Exchange, Report
from angelx.venue.keeping import Keeper

STOCK_FEEDS: Final = ("iex", "sip", "delayed_sip", "boats", "overnight", "test")
OPTION_FEEDS: Final = ("opra", "indicative")
FEEDS: Final = {"/v2": STOCK_FEEDS, "/v1beta1": (*OPTION_FEEDS, NEWS)}
"""Market data streams by the folder they are in."""
HALTED: Final = ("H", "Trading Halt", ("T1", "Halt News Pending"))
RESUMED: Final = ("T", "Trading Resumption", ("", ""))
"""Status code, message, and reason, as the tapes write them."""
DATA_PREFIXES: Final = ("/v2/stocks", "/v1beta1/", "/v1beta2/", "/v1beta3/", "/v1/")
EVENTS: Final = "/v2/events/trades"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the account has subscribed to; the default has everything a simulated market can be asked for."""

    feeds: frozenset[str] = frozenset((*STOCK_FEEDS, *OPTION_FEEDS))
    symbol_limits: Mapping[str, int] = msgspec.field(default_factory=lambda: {"iex": 30})
    """Most symbols over trades and quotes, by feed; others have no limit."""
    connections: int = 1
    """Of each feed."""
    trading_per_minute: int = 200
    data_per_minute: int = 200
    burst_per_second: int = 0
    """A second limit, which users report and Alpaca does not write of; 0 = none."""
    binary_updates: bool = True
    """Order updates come in binary frames, as on paper."""


class Credentials(msgspec.Struct, frozen=True):
    """What opens the account."""

    key_id: str
    secret_key: str


BASIC: Final = Plan(feeds=frozenset(("iex", "test", "indicative")))
"""The free plan."""


class AlpacaServer:
    """`WireServer`: trading API, data API and all streams at one address.

    Parameters
    ----------
    now
        Nanoseconds since the epoch.
    random
        Of the ids it makes.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        credentials: Credentials,
        now: Callable[[], int],
        random: Random,
        plan: Plan | None = None,
        sessions: Sessions | None = None,
        account_number: str = "PA3SIMULATED",
    ) -> None:
        self.exchange, self.plan = exchange, plan or Plan()
        self._credentials = credentials
        self._now = now
        self._sessions = sessions or Sessions.load(trade_special_sessions=True)
        self.symbols = Symbols(exchange.table)
        self.tape = Tape(len(exchange.table))
        self._views = Views(exchange.table, exchange.market, self.symbols, self._closes_at)
        self.updates = OrderUpdates(self._may_enter, is_binary=self.plan.binary_updates)
        self._events = OrderEvents()
        self.kept = Keeper()
        self._combos = Combos(exchange, self._views, self._tell, self.kept)
        self._orders = OrdersApi(exchange, self.symbols, self._views, self._combos, random)
        self._account = AccountApi(exchange, self.symbols, self._views, self._orders, account_number, now, self.kept)
        self.streams = {feed: self._stream(feed) for feeds in FEEDS.values() for feed in feeds}
        self._routes = Routes()
        for part in (
            self._orders,
            self._account,
            ClosingApi(exchange, self.symbols, self._orders),
            ReferenceApi(exchange, self.symbols, self._views, self._sessions, now),
            HoursApi(self._sessions, now),
            DataApi(exchange, self.symbols, self.tape, self.plan.feeds, now),
            ScreenerApi(exchange, self.symbols, self.tape, now),
        ):
            part.routes(self._routes)
        self._windows = {
            "trading": self._limits(self.plan.trading_per_minute),
            "data": self._limits(self.plan.data_per_minute),
        }
        self._counts = {"trading": self.plan.trading_per_minute, "data": self.plan.data_per_minute}
        self._done: dict[str, deque[int]] = {"trading": deque(), "data": deque()}
        self._random = random
        self._told = 0
        """Events of orders so far."""
        self._are_revoked = False
        self._halted: set[str] = set()
        for order in exchange.orders():
            self._orders.saw(order)
        exchange.on_rows.append(self._rows)
        exchange.on_report.append(self._report)
        exchange.on_phase.append(self._phase)

    def _limits(self, most: int) -> SlidingWindows:
        burst = [Limit(self.plan.burst_per_second, NS)] if self.plan.burst_per_second else []
        return SlidingWindows([Limit(most, MINUTE), *burst])

    def _stream(self, feed: str) -> MarketStream:
        return MarketStream(
            feed,
            self.exchange,
            self.symbols,
            self.tape,
            self._may_enter,
            is_subscribed=feed in self.plan.feeds or feed == NEWS,
            symbol_limit=self.plan.symbol_limits.get(feed),
            connection_limit=self.plan.connections,
        )

    # ------------------------------------------------------------ HTTP
    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        call = Call(request)
        family = "data" if call.path.startswith(DATA_PREFIXES) else "trading"
        headers = {"x-request-id": f"{self._random.getrandbits(128):032x}", "date": _http_date(self._now())}
        try:
            self._check_key(request)
            headers |= self._count(family)
            if (call.method, call.path) == ("GET", EVENTS):
                return self._events.answer(call, headers)
            status, body = self._routes.find(call)(call)
        except Refusal as refusal:
            return (refusal.of_data() if family == "data" else refusal).response(headers)
        return answer(status, body, headers)

    def _check_key(self, request: Request) -> None:
        key, secret = _keys(request.headers)
        if key is None or secret is None:
            raise forbidden()
        if not self._may_enter(key, secret):
            raise unauthorized()

    def _may_enter(self, key: str, secret: str) -> bool:
        known = self._credentials
        is_known = key == OAUTH or compare_digest(known.key_id.encode(), key.encode())
        return is_known and compare_digest(known.secret_key.encode(), secret.encode()) and not self._are_revoked

    def _count(self, family: str) -> dict[str, str]:
        """Use one place of the minute's window, and say how many are left."""
        now, windows, most = self._now(), self._windows[family], self._counts[family]
        wait = windows.wait_ns(now)
        headers = {"x-ratelimit-limit": str(most)}
        if wait:
            late = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(-(-(now + wait) // NS))}
            raise _TooMany(headers | late)
        windows.take(now)
        done = self._done[family]
        done.append(now)
        while done[0] <= now - MINUTE:
            done.popleft()
        left, resets = most - len(done), (done[0] + MINUTE) // NS + 1
        return headers | {"x-ratelimit-remaining": str(left), "x-ratelimit-reset": str(resets)}

    # ------------------------------------------------------------ streams
    def admits(self, request: Request) -> Response | None:
        """Any known path may open a stream; what it may see is settled inside."""
        if self._stream_of(request) is None:
            return not_found("endpoint not found.").response({})
        return None

    async def serve(self, request: Request, stream: Stream) -> None:
        """Work one stream until it closes."""
        found = self._stream_of(request)
        if found is not None:
            await found.serve(request, stream)

    def _stream_of(self, request: Request) -> OrderUpdates | MarketStream | None:
        path = plain_path(request)
        if path == "/stream":
            return self.updates
        family, _, feed = path.rpartition("/")
        return self.streams[feed] if feed in FEEDS.get(family, ()) else None

    # ------------------------------------------------------------ from the exchange
    def _rows(self, batch: TickBatch, start: int, stop: int) -> None:
        self.tape.take(batch, start, stop)
        for stream in self.streams.values():
            stream.take(batch, start, stop)
        self._combos.look()
        self._account.sample()

    def _report(self, report: Report) -> None:
        order = report.order
        if order.request.instrument not in self.symbols.of:
            return
        self._orders.saw(order)
        event = events_of(report.kind, order.status)
        if not event or order.request.product == "mleg":
            return
        more: Json = {"execution_id": wire_id("event", f"{order.id}:{self._random.getrandbits(64)}")}
        if report.fill is not None:
            instrument = self.exchange.table.get(report.fill.instrument)
            assert instrument is not None
            more = {
                "execution_id": wire_id("fill", report.fill.execution),
                "price": text(report.fill.price),
                "qty": str(report.fill.quantity // each(instrument)),
                "position_qty": str(report.fill.position // each(instrument)),
            }
        self._tell(event, self._views.order(order), more, report.at)

    def _tell(self, event: str, order: Json, more: Json, at: int | None = None) -> None:
        at = self.exchange.now if at is None else at
        when, event_id = rfc3339(at), ulid(at, f"{event} {order['id']} {order['filled_qty']} {self._told}")
        self._told += 1
        data = {"event": event, "order": order, "timestamp": when, "at": when, "event_id": event_id, **more}
        self.updates.tell(data)
        self._events.tell(at, event_id, data)

    # ------------------------------------------------------------ faults and halts
    def expire_tokens(self) -> None:
        """Every log-in of a stream is void: who has the keys may log in again."""
        self.updates.withdraw()
        for stream in self.streams.values():
            stream.withdraw()

    def revoke_keys(self, *, are_revoked: bool = True) -> None:
        """The keys stop working, or work again."""
        self._are_revoked = are_revoked
        if are_revoked:
            self.expire_tokens()

    def _phase(self, name: str, phase: str) -> None:
        """A segment or an instrument changed phase: halts and their ends are said, the end of a day ends what waits."""
        table = self.exchange.table
        if phase == "closed" and table.get(name) is None:
            self._combos.expire(name)
        for instrument in table:
            if name in (instrument.id, instrument.segment):
                self._say_halt(instrument, phase)

    def _say_halt(self, instrument: Instrument, phase: str) -> None:
        if (phase == "halted") == (instrument.id in self._halted):
            return
        self._halted ^= {instrument.id}
        said = HALTED if phase == "halted" else RESUMED
        for stream in self.streams.values():
            stream.status(instrument, *said)

    def restore(self, kept: Mapping[str, Any]) -> None:
        """As `Keeps`: combinations, settings, watchlists."""
        for name, value in kept.items():
            if name.startswith(KEPT):
                self._orders.used(self._combos.restore(value))
            else:
                self._account.restore(name, value)

    # ------------------------------------------------------------ time
    def _closes_at(self, segment: str, at: int) -> int:
        """The end of the session that a day order works in: today's, or the next one's."""
        if segment not in self._sessions.segments:
            return 0
        first = self._sessions.on(segment, self._sessions.day_of(segment, at))
        if isinstance(first, Session) and first.closes_at > at:
            return first.closes_at
        opens = self._sessions.next_open(segment, at)
        if not isinstance(opens, int):
            return 0
        session = self._sessions.at(segment, opens)
        return session.closes_at if isinstance(session, Session) else 0


class _TooMany(Refusal):
    """429, with the headers that say until when."""

    def __init__(self, limits: Mapping[str, str]) -> None:
        super().__init__(429, TOO_MANY, "too many requests.")
        self._limits = limits

    def response(self, headers: Mapping[str, str]) -> Response:
        """As `Refusal`."""
        return super().response({**headers, **self._limits})


def _keys(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Key and secret from Alpaca's own headers, or from Basic or OAuth's authorization."""
    key, secret = headers.get("apca-api-key-id"), headers.get("apca-api-secret-key")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if key is None and scheme.lower() == "bearer":
        return OAUTH, token
    if key is None and scheme.lower() == "basic":
        try:
            key, _, secret = b64decode(token, validate=True).decode().partition(":")
        except ValueError:
            return None, None
    return key, secret


def _http_date(at: int) -> str:
    from email.utils import formatdate

    return formatdate(at // NS, usegmt=True)
