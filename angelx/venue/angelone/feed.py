"""WebSocket 2.0: subscriptions of each connection, binary packets out, heartbeats, error messages."""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from angelx.domain.ticks import INSTRUMENT, TickBatch
from angelx.domain.wire import Stream, StreamClosed
from angelx.venue.angelone.contracts import Contract, Contracts
from angelx.venue.angelone.packets import DEPTH_20, LTP, packet
from angelx.venue.angelone.quotes import Quotes

MOST_STREAMS: Final = 3
"""Connections of one client code, of each kind."""
MOST_TOKENS: Final = 1000
"""Subscriptions (token and mode) of one connection."""
MOST_DEPTH: Final = 50
PINGS: Final = ("ping", b"ping")
"""In a frame of either kind."""
MOST_QUEUED: Final = 20_000
"""Packets that wait for a slow client; the oldest go first."""
INVALID_PAYLOAD: Final = "E1001"
LIMIT_EXCEEDED: Final = "E1002"
_CORRELATION: Final = re.compile(r"[A-Za-z0-9_-]{0,20}")
"""Ten letters and digits by the book; the README of smartapi-javascript says `correlation_id`."""
_NSE_CM: Final = 1


class _Tokens(msgspec.Struct):
    exchange_type: int = msgspec.field(name="exchangeType")
    tokens: list[str | int]
    """Text by the book; numbers are what some clients send."""


class _Params(msgspec.Struct):
    mode: int
    token_list: list[_Tokens] = msgspec.field(name="tokenList")


class _Ask(msgspec.Struct):
    action: int
    params: _Params
    correlation_id: str | None = msgspec.field(name="correlationID", default="")


class _Loose(msgspec.Struct):
    correlation_id: str | None = msgspec.field(name="correlationID", default="")


class _Reject(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Connection:
    """One client's market stream."""

    def __init__(self, stream: Stream, client_code: str) -> None:
        self.stream = stream
        self.client_code = client_code
        self.asked: dict[tuple[int, int], None] = {}
        """(Place, mode) in order of subscription."""
        self.queue: deque[str | bytes] = deque(maxlen=MOST_QUEUED)
        self.dropped = 0
        self._woken = asyncio.Event()

    def push(self, message: str | bytes) -> None:
        """Send when the stream takes it."""
        if len(self.queue) == MOST_QUEUED:
            self.dropped += 1
        self.queue.append(message)
        self._woken.set()

    async def write(self) -> None:
        """Send what is queued until the stream is closed."""
        queue, send = self.queue, self.stream.send
        while True:
            await self._woken.wait()
            self._woken.clear()
            while queue:
                await send(queue.popleft())


class MarketStream:
    """All market streams of the venue.

    Parameters
    ----------
    now
        Exchange time, ns.
    """

    def __init__(self, contracts: Contracts, quotes: Quotes, now: Callable[[], int]) -> None:
        self._contracts = contracts
        self._quotes = quotes
        self._now = now
        self._connections: list[Connection] = []
        self._listeners: dict[int, dict[int, list[Connection]]] = {}
        """By place, then mode."""
        self._sequence = 0

    def count(self, client_code: str) -> int:
        """Open connections of a client."""
        return sum(connection.client_code == client_code for connection in self._connections)

    async def serve(self, stream: Stream, client_code: str, is_alive: Callable[[], bool]) -> None:
        """Work one connection until it closes or its session ends."""
        connection = Connection(stream, client_code)
        self._connections.append(connection)
        try:
            await work(connection, self._read(connection, is_alive))
        finally:
            self._forget(connection)

    async def _read(self, connection: Connection, is_alive: Callable[[], bool]) -> None:
        while True:
            try:
                message = await connection.stream.receive()
            except StreamClosed:
                return
            if not is_alive():
                await connection.stream.close(1008)
                return
            if message in PINGS:
                connection.push("pong")
            else:
                self.take(connection, message)

    # ------------------------------------------------------------ subscriptions
    def take(self, connection: Connection, message: str | bytes) -> None:
        """A request for more or fewer tokens, or an error message in answer to it."""
        correlation = ""
        try:
            try:
                correlation = msgspec.json.decode(message, type=_Loose).correlation_id or ""
                ask = msgspec.json.decode(message, type=_Ask)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise _Reject(INVALID_PAYLOAD, f"Invalid Request Payload: {error}") from error
            self._apply(connection, ask)
        except _Reject as reject:
            answer = {"correlationID": correlation, "errorCode": reject.code, "errorMessage": str(reject)}
            connection.push(msgspec.json.encode(answer).decode())

    def _apply(self, connection: Connection, ask: _Ask) -> None:
        mode, name = ask.params.mode, ask.correlation_id or ""
        if ask.action not in {0, 1} or not LTP <= mode <= DEPTH_20:
            raise _Reject(INVALID_PAYLOAD, "Invalid Request Payload: action is 0 or 1, mode 1 to 4")
        if not _CORRELATION.fullmatch(name):
            raise _Reject(INVALID_PAYLOAD, "Invalid Request Payload: correlationID is a few letters and digits")
        if mode == DEPTH_20 and any(tokens.exchange_type != _NSE_CM for tokens in ask.params.token_list):
            raise _Reject(INVALID_PAYLOAD, "Invalid Request Payload: DEPTH is for exchangeType 1 only")
        wanted = {
            (contract.place, mode): contract
            for tokens in ask.params.token_list
            for token in tokens.tokens
            if (contract := self._contracts.by_stream.get((tokens.exchange_type, str(token))))
        }
        if ask.action == 0:
            for place, _ in wanted:
                self._remove(connection, place, mode)
            return
        fresh = {key: contract for key, contract in wanted.items() if key not in connection.asked}
        depths = sum(key[1] == DEPTH_20 for key in (*connection.asked, *fresh))
        if len(connection.asked) + len(fresh) > MOST_TOKENS or depths > MOST_DEPTH:
            raise _Reject(LIMIT_EXCEEDED, "Subscription limit exceeded")
        for (place, _), contract in wanted.items():
            connection.asked[place, mode] = None
            listeners = self._listeners.setdefault(place, {}).setdefault(mode, [])
            if connection not in listeners:
                listeners.append(connection)
            connection.push(self._packet(contract, mode))

    def _remove(self, connection: Connection, place: int, mode: int) -> None:
        if connection.asked.pop((place, mode), 0) is None:
            modes = self._listeners[place]
            modes[mode].remove(connection)
            if not modes[mode]:
                del modes[mode]
            if not modes:
                del self._listeners[place]

    def _forget(self, connection: Connection) -> None:
        for place, mode in tuple(connection.asked):
            self._remove(connection, place, mode)
        self._connections.remove(connection)

    # ------------------------------------------------------------ packets
    def _packet(self, contract: Contract, mode: int) -> bytes:
        self._sequence += 1
        return packet(self._quotes.stream_quote(contract), mode, self._sequence, self._now() // 1_000_000)

    def on_rows(self, batch: TickBatch, start: int, stop: int) -> None:
        """Rows [start, stop) came in: who asked for their instruments gets a packet of the state after each run.

        Rows of one instrument within a run are one packet, as a real feed conflates.
        """
        if not self._listeners:
            return
        places: Any = dict.fromkeys(batch.table[INSTRUMENT, start:stop].tolist())
        for place in places:
            modes = self._listeners.get(place)
            if modes is None:
                continue
            contract = self._contracts.by_place[place]
            for mode, connections in modes.items():
                message = self._packet(contract, mode)
                for connection in connections:
                    connection.push(message)


async def work(connection: Connection, reading: Awaitable[None]) -> None:
    """Send what is queued while somebody reads."""
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(_until_closed(connection))
        try:
            await reading
        finally:
            writer.cancel()


async def _until_closed(connection: Connection) -> None:
    try:
        await connection.write()
    except StreamClosed:
        return
