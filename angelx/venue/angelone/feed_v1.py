"""WebSocket 1.0, which clients of 2021 speak: words in JSON, on one path for prices and on two for orders.

Answers are arrays: packed on Nest's path (zlib, then base64), as they are on the other. Nobody is asked who they are
before their first message, whose token has to be good: a feed token, or a JWT.
"""

import base64
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from angelx.domain.instruments import Kind
from angelx.domain.ticks import INSTRUMENT, TickBatch
from angelx.domain.wire import Stream, StreamClosed
from angelx.venue.angelone.contracts import SEGMENTS, Contract, Contracts
from angelx.venue.angelone.feed import MOST_STREAMS, MOST_TOKENS, Connection, work
from angelx.venue.angelone.logins import INDIA, Logins, Session
from angelx.venue.angelone.packets import Quote
from angelx.venue.angelone.quotes import Quotes

NEST: Final = "/NestHtml5Mobile/socket/stream"
ORDERS: Final = "/websocket"
_WATCHES: Final = {"mw": 1, "sfi": 2, "dp": 3}
"""Quotes, indices, depth, by the place a subscription has in `Connection.asked`."""


class _Ask(msgspec.Struct):
    task: str = ""
    channel: str | None = ""
    token: str | None = ""
    user: str | None = ""
    action: str = msgspec.field(name="actiontype", default="")
    jwt: str | None = msgspec.field(name="jwttoken", default="")
    client_code: str | None = msgspec.field(name="clientcode", default="")


class OldConnection(Connection):
    """One client of the old protocol."""

    def __init__(self, stream: Stream, *, is_packed: bool) -> None:
        super().__init__(stream, "")
        self.is_packed = is_packed
        self.session: Session | None = None
        self.hears_orders = False

    def tell(self, rows: list[dict[str, Any]]) -> None:
        """Send an array."""
        raw = msgspec.json.encode(rows)
        self.push((base64.b64encode(zlib.compress(raw)) if self.is_packed else raw).decode())


class OldStreams:
    """All connections of the old protocol.

    Parameters
    ----------
    now
        Exchange time, ns.
    """

    def __init__(self, contracts: Contracts, quotes: Quotes, logins: Logins, now: Callable[[], int]) -> None:
        self._contracts = contracts
        self._quotes = quotes
        self._logins = logins
        self._now = now
        self._by_segment = {(SEGMENTS[one.exchange], one.token): one for one in contracts.all}
        self._connections: list[OldConnection] = []

    async def serve(self, stream: Stream, *, is_packed: bool) -> None:
        """Work one connection until it closes or the day in India ends."""
        connection = OldConnection(stream, is_packed=is_packed)
        self._connections.append(connection)
        try:
            await work(connection, self._hear(connection))
        finally:
            self._connections.remove(connection)

    async def _hear(self, connection: OldConnection) -> None:
        while True:
            try:
                message = await connection.stream.receive()
            except StreamClosed:
                return
            session = connection.session
            if session is not None and not self._logins.is_of_today(session, self._now()):
                await connection.stream.close(1008)
                return
            self._take(connection, message)

    # ------------------------------------------------------------ what they ask
    def _take(self, connection: OldConnection, message: str | bytes) -> None:
        try:
            ask = msgspec.json.decode(message, type=_Ask)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return connection.tell([_word("", is_good=False)])
        if not self._knows(connection, ask):
            return connection.tell([_word(ask.task or ask.action, is_good=False)])
        if ask.task == "cn" or ask.action in {"subscribe", "unsubscribe"}:
            connection.hears_orders = ask.action == "subscribe" or (connection.hears_orders and not ask.action)
            return connection.tell([_word(ask.task or ask.action)])
        if ask.task in _WATCHES:
            return self._watch(connection, ask)
        return None

    def _knows(self, connection: OldConnection, ask: _Ask) -> bool:
        """Whether the sender is known, from this message or an earlier one. A token may be in the channel (Java)."""
        if connection.session is None:
            code = ask.user or ask.client_code or ""
            tokens = (ask.token, ask.jwt, ask.channel)
            session = next((one for token in tokens if (one := self._logins.of_token(token or "", self._now()))), None)
            mine = sum(one.session is not None for one in self._connections)
            if session is None or session.client_code != code or mine >= MOST_STREAMS:
                return False
            connection.session = session
        return True

    def _watch(self, connection: OldConnection, ask: _Ask) -> None:
        """What is asked for comes in addition to what was; what is not known is left out."""
        pairs = (pair.strip().partition("|") for pair in (ask.channel or "").split("&"))
        found = [one for segment, _, token in pairs if (one := self._by_segment.get((segment, token)))]
        for contract in found:
            if len(connection.asked) < MOST_TOKENS:
                connection.asked[contract.place, _WATCHES[ask.task]] = None
        if found:
            connection.tell([_tick(contract, self._quotes.stream_quote(contract), ask.task) for contract in found])

    # ------------------------------------------------------------ what they are told
    def on_rows(self, batch: TickBatch, start: int, stop: int) -> None:
        """Rows [start, stop) came in: one message to each connection that asked for their instruments."""
        connections = [connection for connection in self._connections if connection.asked]
        if not connections:
            return
        places: Any = set(batch.table[INSTRUMENT, start:stop].tolist())
        contracts = {place: self._contracts.by_place[place] for place in places if place in self._contracts.by_place}
        quotes = {place: self._quotes.stream_quote(contract) for place, contract in contracts.items()}
        tasks = {number: task for task, number in _WATCHES.items()}
        for connection in connections:
            asked = [(place, number) for place, number in connection.asked if place in quotes]
            if asked:
                connection.tell([_tick(contracts[place], quotes[place], tasks[number]) for place, number in asked])

    def on_frame(self, frame: str) -> None:
        """A message of the order stream: its order's row."""
        hearing = [connection for connection in self._connections if connection.hears_orders]
        row = msgspec.json.decode(frame)["orderData"] if hearing else {}
        for connection in hearing:
            connection.tell([row])


def _word(task: str, *, is_good: bool = True) -> dict[str, Any]:
    return {"ak": "ok" if is_good else "nk", "task": task, "msg": task}


def _tick(contract: Contract, quote: Quote, task: str) -> dict[str, str]:
    """Text throughout; the day's change in rupees and in percent."""
    change = quote.last - quote.close if quote.last and quote.close else 0
    traded = datetime.fromtimestamp(quote.traded_s, INDIA).strftime("%d/%m/%Y %H:%M:%S") if quote.traded_s else "NA"
    head = {"tk": contract.token, "e": SEGMENTS[contract.exchange], "ltp": _text(quote.last), "c": _text(quote.close),
            "cng": _text(change), "nc": f"{100 * change / quote.close:.2f}" if change else "0.00", "ltt": traded,
            "op": _text(quote.open), "h": _text(quote.high), "lo": _text(quote.low)}  # fmt: skip
    if contract.instrument.kind is Kind.INDEX:
        return {"name": "if", **head, "iv": _text(quote.last)}
    buys, sells = quote.buys or ((0, 0, 0),), quote.sells or ((0, 0, 0),)
    return {
        "name": "dp" if task == "dp" else "sf", **head, "v": str(quote.volume), "ltq": str(quote.last_quantity),
        "ap": _text(quote.average), "to": _text(quote.average * quote.volume), "oi": str(quote.interest),
        "tbq": str(quote.total_buy), "tsq": str(quote.total_sell), "bp": _text(buys[0][0]), "bq": str(buys[0][1]),
        "sp": _text(sells[0][0]), "bs": str(sells[0][1]), "lcl": _text(quote.lower), "ucl": _text(quote.upper),
    }  # fmt: skip


def _text(paise: int) -> str:
    return f"{paise / 100:.2f}"
