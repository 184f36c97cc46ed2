"""Market data streams: JSON or msgpack, log-in, subscriptions with limits, everything a row means in messages."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from angelx.domain.instruments import Instrument, Kind
from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, ASK_SIZE, AT, BID, BID_SIZE, EXCHANGE_AT, INSTRUMENT, LAST, TickBatch
from angelx.domain.timestamps import rfc3339
from angelx.domain.wire import Request, Stream, StreamClosed
from angelx.venue.alpaca.lines import Time, bare, bars, quote_line, trade_line
from angelx.venue.alpaca.minutes import MINUTE
from angelx.venue.alpaca.names import Symbols, number
from angelx.venue.alpaca.tape import Tape
from angelx.venue.alpaca.updates import MSGPACK
from angelx.venue.alpaca.views import Json
from angelx.venue.exchange import Exchange

CHANNELS: Final = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
SILENT: Final = ("imbalances",)
"""Channels of shares on which nothing comes here; a confirmation names them to those who asked."""
OPTION_CHANNELS: Final = ("trades", "quotes")
NEWS: Final = "news"
"""A feed and its only channel. There are none here: nobody is told anything."""
IMPLIED: Final = ("corrections", "cancelErrors")
"""Come with trades."""
ERRORS: Final = {
    400: "invalid syntax", 401: "not authenticated", 402: "auth failed", 403: "already authenticated",
    404: "auth timeout", 405: "symbol limit exceeded", 406: "connection limit exceeded", 407: "slow client",
    408: "v2 not enabled", 409: "insufficient subscription", 410: "invalid subscribe action for this feed",
    411: "insufficient scope", 412: "option messages are only available in MsgPack format",
    413: "star subscription is not allowed for option quotes", 500: "internal error",
}  # fmt: skip
AUTH_TIMEOUT_S: Final = 10.0
MOST_WAITING: Final = 20_000
"""Messages a client may be behind before it is slow."""
TEST_SYMBOL: Final = "FAKEPACA"
Encode = Callable[[Json], bytes]


class Client:
    """One connection."""

    __slots__ = ("channels", "frames", "is_in", "is_msgpack", "is_over", "is_slow", "waiting", "wake")

    def __init__(self, *, is_msgpack: bool) -> None:
        self.is_msgpack = is_msgpack
        self.is_in = self.is_slow = self.is_over = False
        self.channels: dict[str, set[str]] = {name: set() for name in (*CHANNELS, *SILENT, *IMPLIED, NEWS)}
        self.waiting: list[bytes] = []
        """Encoded data, each message for itself."""
        self.frames: list[bytes] = []
        """Arrays that go out before them."""
        self.wake = asyncio.Event()

    def wants(self, channel: str, symbol: str) -> bool:
        """Whether it subscribed to this."""
        names = self.channels[channel]
        return symbol in names or "*" in names

    def put(self, encoded: bytes) -> None:
        """One more message of data to send."""
        if len(self.waiting) >= MOST_WAITING:
            self.is_slow = True
        else:
            self.waiting.append(encoded)
        self.wake.set()

    def say(self, message: Json) -> None:
        """An answer: an array of its own, for there are clients that look at the first message of an array only."""
        self._seal()
        self.waiting.append(self._encoded(message))
        self._seal()
        self.is_slow = self.is_slow or len(self.frames) > MOST_WAITING
        self.wake.set()

    def tell(self, message: Json) -> None:
        """Data of this client alone."""
        self.put(self._encoded(message))

    def _encoded(self, message: Json) -> bytes:
        return msgspec.msgpack.encode(message) if self.is_msgpack else msgspec.json.encode(message)

    def error(self, code: int) -> None:
        """A refusal."""
        self.say({"T": "error", "code": code, "msg": ERRORS[code]})

    def take(self) -> list[bytes]:
        """Everything that waits, as arrays."""
        self._seal()
        frames, self.frames = self.frames, []
        self.wake.clear()
        return frames

    def _seal(self) -> None:
        """What waits is an array."""
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        if not self.is_msgpack:
            self.frames.append(b"[" + b",".join(waiting) + b"]")
            return
        count = len(waiting)
        head = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
        self.frames.append(head + b"".join(waiting))


class MarketStream:
    """The stream of one feed (`iex`, `sip`, `opra`, …).

    Parameters
    ----------
    symbol_limit
        Most symbols over trades and quotes; `None` = any number.
    connection_limit
        Of this feed.
    """

    def __init__(
        self,
        feed: str,
        exchange: Exchange,
        symbols: Symbols,
        tape: Tape,
        may_enter: Callable[[str, str], bool],
        *,
        is_subscribed: bool = True,
        symbol_limit: int | None = None,
        connection_limit: int = 1,
    ) -> None:
        self.feed = feed
        self._exchange, self._symbols, self._tape = exchange, symbols, tape
        self._may_enter, self._is_subscribed = may_enter, is_subscribed
        self._symbol_limit, self._connection_limit = symbol_limit, connection_limit
        self._is_options = feed in ("opra", "indicative")
        self._channels = (NEWS,) if feed == NEWS else OPTION_CHANNELS if self._is_options else CHANNELS
        self._clients: set[Client] = set()
        self._quotes: dict[int, tuple[int, ...]] = {}
        self._minute = 0
        """Since the epoch, of the last row that somebody was there for, or in which the first one came."""
        self.counts = 0
        """Messages made."""

    # ------------------------------------------------------------ rows into messages
    def take(self, batch: TickBatch, start: int, stop: int) -> None:
        """Rows [start, stop) came, and went onto the tape: tell who wants to know."""
        if not self._clients or self.feed == NEWS:
            return
        view = batch.view
        for row in range(start, stop):
            place = view[INSTRUMENT, row]
            instrument = self._exchange.table[place]
            symbol = self._symbols.of.get(instrument.id)
            if symbol is not None and (instrument.kind is Kind.OPTION) == self._is_options:
                self._row(batch, row, int(self._tape.sizes[row - start]), instrument, symbol)

    def _row(self, batch: TickBatch, row: int, size: int, instrument: Instrument, symbol: str) -> None:
        view = batch.view
        place, at = view[INSTRUMENT, row], view[EXCHANGE_AT, row] or view[AT, row]
        if at // MINUTE > self._minute:
            if not self._is_options:
                self._close_minute(self._minute)
            self._minute = at // MINUTE
        quote = (view[BID, row], view[ASK, row], view[BID_SIZE, row], view[ASK_SIZE, row])
        if quote != self._quotes.get(place) and (quote[0] > 0 or quote[1] > 0):
            self._quotes[place] = quote
            self._send(
                "quotes", symbol, at, lambda time: {"T": "q", "S": symbol, **quote_line(instrument, time, *quote)}
            )
        if size:
            price = view[LAST, row]
            count = int(self._tape.count[place])
            self._send(
                "trades",
                symbol,
                at,
                lambda time: {"T": "t", "S": symbol, **trade_line(instrument, time, price, size, count)},
            )

    def _close_minute(self, minute: int) -> None:
        """A row of a later minute came: the bars of this one are complete."""
        wanted = {
            self._exchange.table.index[share.id]: share.symbol
            for share in self._symbols.shares
            if any(one.wants(channel, share.symbol) for one in self._clients for channel in ("bars", "dailyBars"))
        }
        for place, symbol in wanted.items():
            instrument = self._exchange.table[place]
            past = [one for one in self._tape.minutes.of(place) if one.at <= minute * MINUTE]
            if past and past[-1].at == minute * MINUTE:
                self._send_bar("bars", "b", symbol, bars(instrument, past[-1:], 1, "T")[0])
                self._send_bar("dailyBars", "d", symbol, bars(instrument, past, 1, "D")[-1])

    def _send_bar(self, channel: str, kind: str, symbol: str, bar: Json) -> None:
        self._send(channel, symbol, bar["_at"], lambda time: {"T": kind, "S": symbol, **bare(bar), "t": time})

    def status(self, instrument: Instrument, code: str, message: str, reason: tuple[str, str] = ("", "")) -> None:
        """A symbol was halted or resumed."""
        symbol = self._symbols.of.get(instrument.id, "")
        line = {"T": "s", "S": symbol, "sc": code, "sm": message, "rc": reason[0], "rm": reason[1], "z": "A"}
        self._send("statuses", symbol, self._exchange.now, lambda time: {**line, "t": time})

    def band(self, instrument: Instrument, low: int, high: int) -> None:
        """The limit-up-limit-down band of a symbol moved."""
        symbol = self._symbols.of.get(instrument.id, "")
        line = {"T": "l", "S": symbol, "u": number(high), "d": number(low), "i": "B", "z": "A"}
        self._send("lulds", symbol, self._exchange.now, lambda time: {**line, "t": time})

    def _send(self, channel: str, symbol: str, at: int, make: Callable[[Time], Json]) -> None:
        """Send a message to whom it is for, made once for each encoding."""
        encoded: dict[bool, bytes] = {}
        for client in self._clients:
            if client.wants(channel, symbol):
                is_msgpack = client.is_msgpack
                if is_msgpack not in encoded:
                    self.counts += 1
                    line = make(timestamp(at) if is_msgpack else rfc3339(at))
                    encoded[is_msgpack] = msgspec.msgpack.encode(line) if is_msgpack else msgspec.json.encode(line)
                client.put(encoded[is_msgpack])

    # ------------------------------------------------------------ a connection
    async def serve(self, request: Request, stream: Stream) -> None:
        """Work one connection until it closes."""
        client = Client(is_msgpack=request.headers.get("content-type", "").startswith(MSGPACK))
        client.say({"T": "success", "msg": "connected"})
        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send_all(client, stream))
                if await self._enter(client, request, stream):
                    fake = tasks.create_task(self._fake(client)) if self.feed == "test" else None
                    await self._obey(client, stream)
                    if fake is not None:
                        fake.cancel()
                await asyncio.sleep(0)  # What was answered last goes out.
                sender.cancel()
        finally:
            self._clients.discard(client)

    async def _send_all(self, client: Client, stream: Stream) -> None:
        try:
            while True:
                await client.wake.wait()
                if client.is_slow:
                    client.waiting.clear()
                    client.frames.clear()
                    client.is_slow = False
                    client.error(407)
                    await self._frames(client, stream)
                    await stream.close()
                    return
                await self._frames(client, stream)
                if client.is_over:
                    await stream.close()
                    return
        except StreamClosed:
            return

    @staticmethod
    async def _frames(client: Client, stream: Stream) -> None:
        for frame in client.take():
            await stream.send(frame if client.is_msgpack else frame.decode())

    async def _enter(self, client: Client, request: Request, stream: Stream) -> bool:
        """Log in by the headers of the upgrade or by message; whether it may stay."""
        key, secret = request.headers.get("apca-api-key-id"), request.headers.get("apca-api-secret-key")
        if key is not None and secret is not None:
            return self._log_in(client, {"key": key, "secret": secret})
        try:
            async with asyncio.timeout(AUTH_TIMEOUT_S):
                while True:
                    message = self._decoded(client, await stream.receive())
                    if message is None:
                        client.error(400)
                    elif message.get("action") != "auth":
                        client.error(401)
                    else:
                        return self._log_in(client, message)
        except TimeoutError:
            client.error(404)
        except StreamClosed:
            pass
        return False

    def _log_in(self, client: Client, message: Json) -> bool:
        key, secret = message.get("key"), message.get("secret")
        code = 0
        if not isinstance(key, str) or not isinstance(secret, str) or not self._may_enter(key, secret):
            code = 402
        elif not self._is_subscribed:
            code = 409
        elif self._is_options and not client.is_msgpack:
            code = 412
        elif len(self._clients) >= self._connection_limit:
            code = 406
        if code:
            client.error(code)
            return False
        client.is_in = True
        if not self._clients:  # What was last sent is of another time.
            self._minute = self._exchange.now // MINUTE
            self._quotes.clear()
        self._clients.add(client)
        client.say({"T": "success", "msg": "authenticated"})
        return True

    async def _obey(self, client: Client, stream: Stream) -> None:
        while True:
            try:
                message = self._decoded(client, await stream.receive())
            except StreamClosed:
                return
            action = message.get("action") if message is not None else None
            if action == "auth":
                client.error(403)
            elif action not in ("subscribe", "unsubscribe") or message is None:
                client.error(400)
            else:
                self._change(client, message, is_more=action == "subscribe")

    def _change(self, client: Client, message: Json, *, is_more: bool) -> None:
        """Change the set of subscriptions, all of it or nothing."""
        changed = {name: set(names) for name, names in client.channels.items()}
        for name, symbols in message.items():
            if name == "action":
                continue
            if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
                return client.error(400)
            if name not in self._channels and not (name in SILENT and self._channels is CHANNELS):
                if name in IMPLIED or not symbols:
                    continue
                return client.error(410 if name in (*CHANNELS, *SILENT, NEWS) else 400)
            if self._is_options and name == "quotes" and "*" in symbols:
                return client.error(413)
            changed[name] = changed[name] | set(symbols) if is_more else changed[name] - set(symbols)
        if self._symbol_limit is not None and len(changed["trades"]) + len(changed["quotes"]) > self._symbol_limit:
            return client.error(405)
        for name in IMPLIED:
            changed[name] = set(changed["trades"])
        client.channels = changed
        asked = tuple(name for name in SILENT if changed[name])
        shown = (*CHANNELS, *asked, *IMPLIED) if self._channels is CHANNELS else self._channels
        return client.say({"T": "subscription", **{name: sorted(changed[name]) for name in shown}})

    @staticmethod
    def _decoded(client: Client, frame: str | bytes) -> Json | None:
        try:
            if client.is_msgpack and isinstance(frame, bytes):
                message = msgspec.msgpack.decode(frame)
            else:
                message = msgspec.json.decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        return message if isinstance(message, dict) else None

    async def _fake(self, client: Client) -> None:
        """The test stream trades one symbol around the clock."""
        for count in range(1, 2**31):
            await asyncio.sleep(1.0)
            price = 1_340_000 + count % 7 * 100
            at = timestamp(self._exchange.now) if client.is_msgpack else rfc3339(self._exchange.now)
            share = Instrument(
                id="US:FAKEPACA", symbol=TEST_SYMBOL, segment="US", kind=Kind.EQUITY, currency="USD", tick_size=100
            )
            if client.wants("quotes", TEST_SYMBOL):
                client.tell({"T": "q", "S": TEST_SYMBOL, **quote_line(share, at, price, price + 100, 1, 1)})
            if client.wants("trades", TEST_SYMBOL):
                client.tell({"T": "t", "S": TEST_SYMBOL, **trade_line(share, at, price, 1, count)})

    def withdraw(self) -> None:
        """Take every log-in back: clients are told and hung up on."""
        for client in tuple(self._clients):
            client.error(402)
            client.is_over = True
            client.wake.set()


def timestamp(at: int) -> msgspec.msgpack.Ext:
    """Nanoseconds since the epoch as msgpack's Timestamp 64."""
    seconds, fraction = divmod(at, NS)
    return msgspec.msgpack.Ext(-1, (fraction << 34 | seconds).to_bytes(8, "big"))
