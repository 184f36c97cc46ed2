"""One market data stream of Alpaca: subscribed in order of importance, resynchronised from snapshots, never silent."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Final

import msgspec

from angelx.adapters.alpaca import market_messages as wire
from angelx.adapters.alpaca.credentials import Credentials
from angelx.adapters.alpaca.rest import Rest, budget
from angelx.adapters.alpaca.ticks import TickColumns, exact_price
from angelx.adapters.rate_budget import Priority, RateBudget
from angelx.domain.errors import AuthExpired, BrokerError, BrokerUnreachable, RateLimited
from angelx.domain.instruments import InstrumentTable, Kind
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, LAST, OI, VOLUME, TickBatch
from angelx.domain.timestamps import instant_of
from angelx.domain.wire import Stream, StreamClosed, Transport

SCOPES: Final = {
    "iex": "venue", "sip": "nbbo", "delayed_sip": "delayed", "boats": "venue", "overnight": "venue",
    "test": "simulated", "opra": "nbbo", "indicative": "indicative",
}  # fmt: skip
"""What a feed's quotes are of (SPEC 1.4)."""
OPTION_FEEDS: Final = ("opra", "indicative")
MSGPACK: Final = "application/msgpack"
SYMBOL_LIMIT: Final = 405
CONNECTION_LIMIT: Final = 406
SLOW: Final = 407
AUTH_CODES: Final = (401, 402, 409, 411)
REAPING_S: Final = 5.0
"""After 406 the dead socket has to be reaped first."""
LONGEST_PAUSE_S: Final = 30.0
MOST_PATIENCE_S: Final = 300.0
"""Ticks may be so far apart before a connection is replaced again, once replacing it has brought none."""
SNAPSHOT_SYMBOLS: Final = 100
FRAMES_PER_TURN: Final = 64
"""Frames taken before others get their turn."""


class SymbolStatus(msgspec.Struct, frozen=True):
    """A symbol was halted or resumed, or its band moved (SPEC 1.8)."""

    instrument: str
    at: int
    """Exchange time, ns."""
    code: str
    """The tape's status code (`H` halted, `T` resumed …); `LULD` for a band."""
    reason: str
    low: int = 0
    high: int = 0
    """The band, 1/10,000; 0 where the message is of none."""


class _Quote(msgspec.Struct):
    t: str
    bp: float = 0.0
    ap: float = 0.0
    bs: float = 0.0
    ask_size: float = msgspec.field(name="as", default=0.0)


class _Trade(msgspec.Struct):
    t: str
    p: float


class _Bar(msgspec.Struct):
    t: str
    v: float = 0.0


class _Snapshot(msgspec.Struct, rename="camel"):
    latest_quote: _Quote | None = None
    latest_trade: _Trade | None = None
    daily_bar: _Bar | None = None


class _OptionPage(msgspec.Struct):
    snapshots: dict[str, _Snapshot | None]


class AlpacaFeed:
    """`FeedClient` of one feed. Beside the port: `scope`, `on_status`, `columns`, `counts`, `subscribed`.

    Parameters
    ----------
    stream, data
        To the streaming host and to the data host.
    feed
        `iex`, `sip`, `opra`, `indicative`, …: see `scope`. Whether a scope may be traded on is the app's decision.
    symbol_of
        The wire's symbol of an instrument by id; `None` = the broker does not list it.
    is_open
        Whether ticks must be coming now: a connection without any for `stale_s` is then replaced. Where that brings
        none either, the wait doubles, to `MOST_PATIENCE_S`, until there is one: symbols may be quiet.
    open_interest
        Units by instrument id, as the master said: this stream has none.
    rate
        Budget of the data host.
    """

    def __init__(
        self,
        stream: Transport,
        data: Transport,
        credentials: Credentials,
        *,
        feed: str,
        symbol_of: Callable[[str], str | None],
        now: Callable[[], int],
        random: Random,
        is_open: Callable[[], bool],
        open_interest: Mapping[str, int] | None = None,
        rate: RateBudget | None = None,
        msgpack: bool = True,
        stale_s: float = 10.0,
        timeout_s: float = 5.0,
    ) -> None:
        if feed not in SCOPES:
            raise ValueError(f"feed must be one of {', '.join(SCOPES)}, was {feed!r}")
        self.on_rows: Callable[[TickBatch], None] = _nobody
        self.on_state: Callable[[bool, str], None] = _nobody
        self.on_status: Callable[[SymbolStatus], None] = _nobody
        """Set by the owner: halts and bands."""
        self.feed, self.scope = feed, SCOPES[feed]
        self.counts: Counter[str] = Counter()
        """Connections, resynchronisations, mute sockets, error codes, by name."""
        self.subscribed = 0
        """Instruments that the plan let us subscribe to, of those asked for."""
        self._is_options = feed in OPTION_FEEDS
        self._path = f"/v1beta1/{feed}" if self._is_options else f"/v2/{feed}"
        self._msgpack = msgpack or self._is_options
        self._transport, self._credentials = stream, credentials
        self._rest = Rest(data, credentials, rate or budget(), now=now, random=random, timeout_s=timeout_s)
        self._symbol_of, self._now, self._random, self._is_open = symbol_of, now, random, is_open
        self._open_interest = open_interest or {}
        self._stale_s, self._timeout_s = stale_s, timeout_s
        self._table = InstrumentTable([])
        self._places: dict[str, int] = {}
        """Place by symbol, in order of importance."""
        self.columns = TickColumns(self._table, {})
        """Counters of what came: `refused`, `rounded`, `received`, `repeated`."""
        self._stream: Stream | None = None
        self._is_flushing = False
        self._last_at = 0
        self._heard_at = 0.0
        """The loop's time of the last tick, or of what has to be followed by one."""
        self._patience_s = stale_s
        self._closed = "is closed"
        """Why there is no connection, where we hung up."""

    def __repr__(self) -> str:
        return f"AlpacaFeed({self.feed}, {self.subscribed} of {len(self._places)} instruments)"

    async def subscribe(self, table: InstrumentTable, places: Sequence[int]) -> None:
        """Ask for the instruments at these places, the most important first; those of the other kind are left out.

        A connection that is up is made anew, so that what is subscribed is always what was asked for last.
        """
        self._table = table
        self._places = {}
        for place in places:
            symbol = self._symbol_of(table[place].id)
            if symbol is None:
                self.counts["not_listed"] += 1
            elif (table[place].kind is Kind.OPTION) == self._is_options:
                self._places[symbol] = place
        before = self.columns
        self.columns = TickColumns(table, self._places)
        self.columns.inherit(before)
        for place in self._places.values():
            interest = self._open_interest.get(table[place].id, 0)
            if interest:
                self.columns.seed(place, {OI: interest}, quoted_at=0, traded_at=0)
        await self._hang_up()

    # ------------------------------------------------------------ the connection
    async def run(self) -> None:
        """Keep the connection alive until cancelled; then it is closed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(), name=f"alpaca {self.feed}")
                tasks.create_task(self._watch(), name=f"alpaca {self.feed} watch")
        finally:
            await self._hang_up()

    async def _follow(self) -> None:
        failures = 0
        while True:
            least = 0.0
            try:
                await self._connect()
                failures = 0
                await self._listen()
            except BrokerError as error:
                self._flush()
                self.on_state(False, str(error))
                least = error.wait_s if isinstance(error, RateLimited) else 0.0
            await self._hang_up()
            pause = min(LONGEST_PAUSE_S, 0.5 * 2**failures) * (0.5 + self._random.random())
            failures = min(failures + 1, 10)
            await asyncio.sleep(max(pause, least))

    async def _connect(self) -> None:
        headers = {"content-type": MSGPACK} if self._msgpack else {}
        self._stream = await self._transport.open(self._path, headers=headers, timeout_s=self._timeout_s)
        self.counts["connections"] += 1
        self._closed = "is closed"
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._expect("connected")
                await self._send(self._credentials.data_stream_login())
                await self._expect("authenticated")
            await self._subscribe_all()
        except TimeoutError as error:
            raise BrokerUnreachable(f"{self._path} does not answer") from error
        self._heard_at = asyncio.get_running_loop().time()
        await self._resync()
        limit = "" if self.subscribed == len(self._places) else f"{self.subscribed} of {len(self._places)} subscribed"
        self.on_state(True, limit)

    async def _subscribe_all(self) -> None:
        """As many as the plan allows, the most important first: after a refusal the set before it holds."""
        wanted = list(self._places)
        done, step = 0, len(wanted)
        while step and done < len(wanted):
            part = wanted[done : done + step]
            await self._send({"action": "subscribe", "quotes": part, "trades": part, **self._extras(part)})
            async with asyncio.timeout(self._timeout_s):
                is_taken = await self._is_taken()
            if is_taken:
                done += len(part)
            else:
                step //= 2
        self.subscribed = done

    def _extras(self, symbols: list[str]) -> dict[str, list[str]]:
        return {} if self._is_options else {"statuses": symbols, "lulds": symbols}

    async def _is_taken(self) -> bool:
        """Whether the server took the subscription; ticks that come meanwhile are kept."""
        while True:
            for message in await self._take_frame():
                if type(message) is wire.Subscription:
                    return True
                if type(message) is wire.Error:
                    if message.code == SYMBOL_LIMIT:
                        return False
                    raise self._error(message)

    async def _expect(self, word: str) -> None:
        while True:
            for message in await self._take_frame():
                if type(message) is wire.Success and message.msg == word:
                    return
                if type(message) is wire.Error:
                    raise self._error(message)

    def _error(self, message: wire.Error) -> BrokerError:
        self.counts[f"error_{message.code}"] += 1
        what = self._credentials.redact(f"{self._path}: {message.code} {message.msg}")
        if message.code in AUTH_CODES:
            return AuthExpired(what)
        if message.code == CONNECTION_LIMIT:
            return RateLimited(what, REAPING_S)
        return BrokerUnreachable(what)

    async def _send(self, message: object) -> None:
        if self._stream is None:
            raise BrokerUnreachable(f"{self._path} is closed")
        encoded = msgspec.msgpack.encode(message) if self._msgpack else msgspec.json.encode(message).decode()
        try:
            await self._stream.send(encoded)
        except StreamClosed as error:
            raise BrokerUnreachable(f"{self._path}: {error}") from error

    async def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(StreamClosed):
                await stream.close()

    # ------------------------------------------------------------ frames
    async def _take_frame(self) -> Sequence[wire.Message]:
        """Take one frame in; what is no tick."""
        stream = self._stream
        if stream is None:
            raise BrokerUnreachable(f"{self._path} {self._closed}")
        try:
            frame = await stream.receive()
        except StreamClosed as error:
            why = f": {error}" if stream is self._stream else f" {self._closed}"
            raise BrokerUnreachable(f"{self._path}{why}") from error
        at = self._last_at = max(self._last_at, self._now())
        columns = self.columns
        before = columns.waiting
        others = columns.take(frame, at, msgpack=self._msgpack)
        if columns.waiting != before:
            self._heard_at, self._patience_s = asyncio.get_running_loop().time(), self._stale_s
        return others

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for _ in range(FRAMES_PER_TURN):
                for message in await self._take_frame():
                    self._other(message)
                if self.columns.waiting and not self._is_flushing:
                    self._is_flushing = True
                    loop.call_soon(self._flush)
            await asyncio.sleep(0)

    def _flush(self) -> None:
        """Hand the rows of this turn over."""
        self._is_flushing = False
        batch = self.columns.batch()
        if batch is not None:
            self.on_rows(batch)

    def _other(self, message: wire.Message) -> None:
        if type(message) is wire.Error:
            error = self._error(message)
            if message.code == SLOW or isinstance(error, AuthExpired):
                raise error
        elif type(message) is wire.Status:
            self._tell_status(message.S, message.t, message.sc, message.rc or message.sm)
        elif type(message) is wire.Luld:
            with suppress(ValueError):
                self._tell_status(
                    message.S, message.t, "LULD", message.i, exact_price(message.d), exact_price(message.u)
                )

    def _tell_status(self, symbol: str, time: wire.Time, code: str, reason: str, low: int = 0, high: int = 0) -> None:
        place = self._places.get(symbol)
        if place is None:
            self.counts["status_of_others"] += 1
            return
        at = self.columns.instant(time)
        self._flush()
        self.on_status(SymbolStatus(self._table[place].id, at, code, reason, low, high))

    # ------------------------------------------------------------ beside the connection
    async def _resync(self) -> None:
        """Snapshots of what is subscribed: rows of what was missed, before anybody relies on the feed.

        Raises
        ------
        BrokerError
            They could not be read.
        """
        symbols = list(self._places)[: self.subscribed]
        for start in range(0, len(symbols), SNAPSHOT_SYMBOLS):
            part = symbols[start : start + SNAPSHOT_SYMBOLS]
            query: dict[str, str | int] = {"symbols": ",".join(part), "feed": self.feed}
            if self._is_options:
                path = "/v1beta1/options/snapshots"
                page = await self._rest.get(path, query, answer=_OptionPage, priority=Priority.LOOKUP)
                found = page.snapshots
            else:
                path = "/v2/stocks/snapshots"
                found = await self._rest.get(path, query, answer=dict[str, _Snapshot | None], priority=Priority.LOOKUP)
            for symbol, snapshot in found.items():
                if symbol in self._places and snapshot is not None:
                    self._seed(self._places[symbol], snapshot)
        self.counts["resyncs"] += 1
        at = self._last_at = max(self._last_at, self._now())
        batch = self.columns.whole([self._places[symbol] for symbol in symbols], at)
        if batch is not None:
            self.on_rows(batch)

    def _seed(self, place: int, snapshot: _Snapshot) -> None:
        unit = self._table[place].lot_size if self._is_options else 1
        columns: dict[int, int] = {}
        quoted_at = traded_at = 0
        try:
            quote, trade, bar = snapshot.latest_quote, snapshot.latest_trade, snapshot.daily_bar
            if quote is not None:
                quoted_at = instant_of(quote.t)
                columns |= {
                    BID: exact_price(quote.bp), ASK: exact_price(quote.ap),
                    BID_SIZE: int(quote.bs) * unit, ASK_SIZE: int(quote.ask_size) * unit,
                }  # fmt: skip
            if trade is not None:
                traded_at = instant_of(trade.t)
                columns[LAST] = exact_price(trade.p)
            if bar is not None:
                columns[VOLUME] = int(bar.v) * unit
        except ValueError:
            self.columns.refused["bad_snapshot"] += 1
            return
        self.columns.seed(place, columns, quoted_at=quoted_at, traded_at=traded_at)

    async def _watch(self) -> None:
        """A socket that is connected and says nothing while the market is open is replaced."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._stale_s / 4)
            if self._stream is None or not self._is_open() or not self.subscribed:
                self._heard_at = loop.time()
            elif loop.time() - self._heard_at > self._patience_s:
                self.counts["mute"] += 1
                self._closed = f"sent no tick for {self._patience_s:g} s"
                self._heard_at, self._patience_s = loop.time(), min(2 * self._patience_s, MOST_PATIENCE_S)
                await self._hang_up()


def _nobody(*_: object) -> None:
    """Nobody listens yet."""
