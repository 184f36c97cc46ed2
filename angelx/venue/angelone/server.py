"""Angel One's end of the wire: every REST call, the market stream and the order stream, on one account."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from msgspec.structs import replace

from angelx.domain.scalars import NS
from angelx.domain.ticks import TickBatch
from angelx.domain.wire import Request, Response, Stream, StreamClosed
from angelx.orders.fees import FeeSchedule
from angelx.venue.angelone import words
from angelx.venue.angelone.calls import AUTH, SECURE, Body, gets, posts
from angelx.venue.angelone.contracts import SEGMENTS, Contract, Contracts
from angelx.venue.angelone.day import DayBook
from angelx.venue.angelone.feed import MOST_STREAMS, PINGS, Connection, MarketStream, work
from angelx.venue.angelone.feed_v1 import NEST, OldStreams
from angelx.venue.angelone.feed_v1 import ORDERS as OLD_ORDERS
from angelx.venue.angelone.gtt import KEPT, Rules
from angelx.venue.angelone.limits import GTT, ORDERS, RateWindows
from angelx.venue.angelone.logins import INDIA, Credentials, Logins, Session
from angelx.venue.angelone.orders import OrderDesk, OrderRules
from angelx.venue.angelone.portfolio import CONVERSIONS, Portfolio
from angelx.venue.angelone.quotes import Quotes
from angelx.venue.angelone.replies import JSON, Refusal, failure, not_found, success, too_fast
from angelx.venue.exchange import Exchange
from angelx.venue.keeping import Keeper

MARKET_STREAM: Final = "/smart-stream"
ORDER_STREAM: Final = "/smart-order-update"
SCRIP_MASTER: Final = "/OpenAPI_File/files/OpenAPIScripMaster.json"
_DETAILS: Final = f"{SECURE}/order/v1/details/"
_GATED: Final = frozenset((ORDERS, GTT))
"""What only a registered address may do."""

Answer = Callable[[Session], Any]


class AngelOneServer:
    """One account at the simulated Angel One.

    Parameters
    ----------
    exchange
        Where its orders go and its quotes come from.
    now
        Exchange time, ns: of tokens, one-time passwords, rate windows and stamps.
    random
        Of tokens.
    rules
        What orders by API may be; the rules for retail algorithms by default.
    closes
        Previous close by instrument id, 1/10,000.
    wall
        The host's time, ns, where it is not the exchange's: one-time passwords of either time are good, for people's
        clocks are real. All else goes by the exchange's, rate windows too: a fast session is like a real one.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        credentials: Credentials,
        now: Callable[[], int],
        random: Random,
        rules: OrderRules | None = None,
        fees: FeeSchedule | None = None,
        closes: Mapping[str, int] | None = None,
        wall: Callable[[], int] | None = None,
    ) -> None:
        self.credentials = credentials
        self._now = now
        self._wall = wall or now
        self.logins = Logins(credentials, random)
        self.windows = RateWindows()
        self.contracts = Contracts(exchange.table)
        days = DayBook(exchange.table, closes)
        code = credentials.client_code
        self._exchange = exchange
        self.kept = Keeper()
        self.desk = OrderDesk(exchange, self.contracts, client_code=code, now=now, rules=rules or OrderRules())
        self._quotes = Quotes(exchange, self.contracts, days, now=now, expires_at=_expires_at)
        self._portfolio = Portfolio(
            exchange, self.contracts, days, now=now, fees=fees or FeeSchedule.load(), keeper=self.kept
        )
        self._rules = Rules(exchange, self.contracts, self.desk, client_code=code, now=now, keeper=self.kept)
        self.market_stream = MarketStream(self.contracts, self._quotes, now)
        self.old_streams = OldStreams(self.contracts, self._quotes, self.logins, now)
        self._days = days
        self._order_streams: list[Connection] = []
        self.desk.on_frame.extend((self._on_frame, self.old_streams.on_frame))
        exchange.on_rows.append(self._on_rows)
        self._gets = gets(self.desk, self._quotes, self._portfolio)
        self._posts = posts(self.desk, self._quotes, self._portfolio, self._rules, self.contracts)

    def expire_tokens(self) -> None:
        """Every session token is void from now on, AG8001 (fault menu); refresh tokens are not."""
        self.logins.void_all()

    def restore(self, kept: Mapping[str, Any]) -> None:
        """As `Keeps`: GTT rules, conversions of positions."""
        for name, value in kept.items():
            if name == CONVERSIONS:
                self._portfolio.restore(value)
            elif name.startswith(KEPT):
                self._rules.restore(value)

    def _on_rows(self, batch: TickBatch, start: int, stop: int) -> None:
        self._days.fold(batch, start, stop)
        self.market_stream.on_rows(batch, start, stop)
        self.old_streams.on_rows(batch, start, stop)
        self._rules.look()

    # ------------------------------------------------------------ REST
    async def handle(self, request: Request) -> Response:
        """Answer one call; the date header is the exchange's time."""
        response = self._answer(request)
        date = format_datetime(datetime.fromtimestamp(self._now() // NS, UTC), usegmt=True)
        return replace(response, headers={**response.headers, "date": date})

    def _answer(self, request: Request) -> Response:
        path = request.route
        if request.method == "HEAD":  # A GET whose body is not sent.
            request = replace(request, method="GET")
        if path == SCRIP_MASTER and request.method == "GET":
            return Response(200, JSON, self.contracts.master())
        try:
            if path == f"{AUTH}/user/v1/loginByPassword" and request.method == "POST":
                return self._log_in(request)
            if path == f"{AUTH}/jwt/v1/generateTokens" and request.method == "POST":
                return self._renew(request)
            return self._answer_client(request, path)
        except Refusal as refusal:
            return failure(refusal)

    def _answer_client(self, request: Request, path: str) -> Response:
        """A call of somebody who is logged in."""
        found = self._find(request, path)
        if found is None:
            return not_found(path)
        category, answer = found
        headers = request.headers
        session = self.logins.session_of(headers.get("authorization", ""), headers.get("x-privatekey", ""), self._now())
        if headers.get("x-usertype", "USER") != "USER":
            raise Refusal("AB1005")
        if not self.windows.admits(session.client_code, category, self._now()):
            return too_fast()
        if category in _GATED and self.credentials.static_ips and request.peer not in self.credentials.static_ips:
            raise Refusal("AG7002")
        return success(answer(session))

    def _find(self, request: Request, path: str) -> tuple[str, Answer] | None:
        """Rate category and answer of a call; `None` where there is no such."""
        if request.method == "POST":
            if path == f"{SECURE}/user/v1/logout":
                return "logout", self._log_out
            post = self._posts.get(path)
            return None if post is None else (post[0], lambda _: post[1](_body(request)))
        if request.method != "GET":
            return None
        if path == f"{SECURE}/user/v1/getProfile":
            return "getProfile", self._profile
        if path.startswith(_DETAILS):
            return "details", lambda _: self.desk.details(path.removeprefix(_DETAILS))
        get = self._gets.get(path)
        return None if get is None else (get[0], lambda _: get[1]())

    def _log_in(self, request: Request) -> Response:
        if request.headers.get("x-privatekey", "") != self.credentials.api_key:
            raise Refusal("AG8004")
        body = _body(request)
        code = str(body.get("clientcode") or "")
        if not self.windows.admits(code, "loginByPassword", self._now()):
            return too_fast()
        session = self.logins.log_in(
            code, str(body.get("password") or ""), str(body.get("totp") or ""), self._now(), self._wall()
        )  # fmt: skip
        data = _tokens(session)
        if "state" in body:
            data["state"] = str(body["state"])
        return success(data)

    def _renew(self, request: Request) -> Response:
        if request.headers.get("x-privatekey", "") != self.credentials.api_key:
            raise Refusal("AG8004")
        if not self.windows.admits(self.credentials.client_code, "generateTokens", self._now()):
            return too_fast()
        return success(_tokens(self.logins.renew(str(_body(request).get("refreshToken") or ""), self._now())))

    def _profile(self, session: Session) -> dict[str, Any]:
        exchanges = {contract.exchange for contract in self.contracts.all}
        return {
            "clientcode": session.client_code, "name": self.credentials.name, "email": "", "mobileno": "",
            "exchanges": [name for exchange, name in SEGMENTS.items() if exchange in exchanges],
            "products": ["DELIVERY", "INTRADAY", "CARRYFORWARD", "MARGIN"],
            "lastlogintime": datetime.fromtimestamp(session.began_at // NS, INDIA).strftime("%d-%b-%Y %H:%M:%S"),
            "brokerid": "B2C",
        }  # fmt: skip

    def _log_out(self, session: Session) -> str:
        self.logins.log_out(session)
        return ""

    # ------------------------------------------------------------ streams
    def admits(self, request: Request) -> Response | None:
        """401 without a session, 429 at the fourth connection, 404 for any other path; the old streams ask later."""
        path = request.route
        if path in {NEST, OLD_ORDERS}:
            return None
        if path not in {MARKET_STREAM, ORDER_STREAM}:
            return not_found(path)
        session = self._stream_session(request)
        if session is None:
            return Response(401, JSON, b'{"message":"Invalid Token"}')
        if self._streams(path, session.client_code) >= MOST_STREAMS:
            return Response(429, JSON, b'{"message":"Connection Limit Exceeded"}')
        return None

    def _stream_session(self, request: Request) -> Session | None:
        query = dict(parse_qsl(request.path.partition("?")[2]))
        return self.logins.of_stream(request.headers, query, self._now())

    def _streams(self, path: str, client_code: str) -> int:
        if path == MARKET_STREAM:
            return self.market_stream.count(client_code)
        return len(self._order_streams)

    async def serve(self, request: Request, stream: Stream) -> None:
        """Work one WebSocket until it closes or the day in India ends."""
        path = request.route
        if path in {NEST, OLD_ORDERS}:
            await self.old_streams.serve(stream, is_packed=path == NEST)
            return
        session = self._stream_session(request)
        if session is None or self._streams(path, session.client_code) >= MOST_STREAMS:
            await stream.close(1008)
            return
        if path == MARKET_STREAM:
            await self.market_stream.serve(stream, session.client_code, lambda: self._goes_on(session))
        else:
            await self._serve_orders(stream, session)

    def _goes_on(self, session: Session) -> bool:
        return self.logins.is_of_today(session, self._now())

    async def _serve_orders(self, stream: Stream, session: Session) -> None:
        connection = Connection(stream, session.client_code)
        connection.push(words.frame(session.client_code, "AB00", words.EMPTY_ORDER))
        self._order_streams.append(connection)
        try:
            await work(connection, self._hear(connection, session))
        finally:
            self._order_streams.remove(connection)

    async def _hear(self, connection: Connection, session: Session) -> None:
        while True:
            try:
                message = await connection.stream.receive()
            except StreamClosed:
                return
            if not self._goes_on(session):
                await connection.stream.close(1008)
                return
            if message in PINGS:
                connection.push("pong")

    def _on_frame(self, message: str) -> None:
        for connection in self._order_streams:
            connection.push(message)


def _tokens(session: Session) -> dict[str, str]:
    return {"jwtToken": session.jwt, "refreshToken": session.refresh, "feedToken": session.feed}


def _body(request: Request) -> Body:
    try:
        body = msgspec.json.decode(request.body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("AB9001", "Invalid JSON") from None
    if not isinstance(body, dict):
        raise Refusal("AB9001", "Invalid JSON: an object is needed")
    return body


_CLOSE: Final = 15.5
"""Hour in India at which contracts end on their last day."""


def _expires_at(contract: Contract) -> int:
    expiry = contract.instrument.expiry
    if expiry is None:
        return 1 << 62
    midnight = datetime(expiry.year, expiry.month, expiry.day, tzinfo=INDIA)
    return int(midnight.timestamp() + _CLOSE * 3600) * NS
