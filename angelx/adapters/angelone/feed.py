"""Market data of Angel One: up to three binary streams, and REST to make up for what a gap hid (docs/angelone.md)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any, Final

import msgspec
import numpy as np
import structlog

from angelx.adapters.angelone.backoff import Backoff
from angelx.adapters.angelone.client import AngelOneClient
from angelx.adapters.angelone.limits import QUOTES
from angelx.adapters.angelone.master import Contract
from angelx.adapters.angelone.packets import SNAP_QUOTE, PacketDecoder, field_cells
from angelx.adapters.angelone.rows import JSON_ERRORS, Number, money, one_of, units
from angelx.adapters.angelone.stream import LiveStream, StreamKeeper
from angelx.adapters.gathered import Gathered
from angelx.adapters.rate_budget import Priority
from angelx.domain.errors import BrokerError, BrokerUnreachable, InputInvalid
from angelx.domain.instruments import InstrumentTable
from angelx.domain.scalars import NS
from angelx.domain.ticks import LAST, TickBatch
from angelx.domain.wire import Transport

log = structlog.get_logger()

MARKET_STREAM: Final = "/smart-stream"
QUOTE: Final = "/market/v1/quote"
MOST_STREAMS: Final = 3
MOST_TOKENS: Final = 1000
"""Of one stream."""
BATCH: Final = 50
"""Tokens in one REST question."""
GATHER_S: Final = 0.05
"""The first of several questions waits so long for the others (SPEC 2.3)."""
INDIA: Final = timezone(timedelta(hours=5, minutes=30))
_Token = tuple[str, str]
"""Exchange and token."""
_STAMP: Final = "%d-%b-%Y %H:%M:%S"


class _Level(msgspec.Struct):
    price: Number = 0
    quantity: Number = 0


class _Depth(msgspec.Struct):
    buy: list[_Level] = []
    sell: list[_Level] = []


class _Quote(msgspec.Struct, rename="camel"):
    exchange: str
    symbol_token: str | int
    ltp: Number
    trade_volume: Number = 0
    opn_interest: Number = 0
    exch_feed_time: str = ""
    depth: _Depth = msgspec.field(default_factory=_Depth)


class _Quotes(msgspec.Struct):
    fetched: list[_Quote]


class _StreamError(msgspec.Struct, rename="camel"):
    error_code: str = ""
    error_message: str = ""


class _Changed(Exception):
    """Other instruments are wanted."""


class AngelOneFeed:
    """A `FeedClient`: SnapQuote packets of up to 3,000 instruments.

    Parameters
    ----------
    client
        Whose session, budget and scrip master are used; its `instruments` must have been read.
    transport
        Way to the host of the market stream.
    random
        Of the waits before coming back.
    """

    def __init__(self, client: AngelOneClient, transport: Transport, random: Random, *, mode: int = SNAP_QUOTE) -> None:
        self.on_rows: Callable[[TickBatch], None] = _nothing
        self.on_state: Callable[[bool, str], None] = _nothing
        self.counts: Counter[str] = Counter()
        """`packets`, `text`, `error_<code>`, `bad_quote`, `delisted`, `reopened`; `refused` has packets not taken."""
        self._client = client
        self._transport = transport
        self._random = random
        self._mode = mode
        self._lines: list[_Line] = []
        self._asked: tuple[InstrumentTable, Sequence[int]] | None = None
        self._changed = asyncio.Event()
        self._is_up = False
        self._last_at = 0
        self._asked_quotes = Gathered(self._quotes, most=BATCH, wait_s=GATHER_S)
        client.scrips.on_changed.append(self._renew)

    # ------------------------------------------------------------ what is asked for
    async def subscribe(self, table: InstrumentTable, places: Sequence[int]) -> None:
        """Ask for the instruments at these places, the most important first; what was asked for before is replaced.

        Raises
        ------
        InputInvalid
            Too many, or one is not in today's scrip master; nothing is changed.
        """
        self._ask(table, [self._contract(table[place].id, place) for place in dict.fromkeys(places)])

    def _ask(self, table: InstrumentTable, wanted: Sequence[tuple[int, Contract]]) -> None:
        if len(wanted) > MOST_STREAMS * MOST_TOKENS:
            raise InputInvalid(f"{len(wanted)} instruments: Angel One streams {MOST_STREAMS * MOST_TOKENS} at most")
        self._asked = (table, [place for place, _ in wanted])
        self._lines = [
            _Line(self, wanted[first : first + MOST_TOKENS], len(table), first // MOST_TOKENS)
            for first in range(0, len(wanted), MOST_TOKENS)
        ]
        self._changed.set()

    def _renew(self) -> None:
        """Another day, other tokens; what is not listed any more is left out."""
        if self._asked is None:
            return
        table, places = self._asked
        master = self._client.master
        found = [(place, master.by_id.get(table[place].id)) for place in places] if master else []
        self.counts["delisted"] += sum(contract is None for _, contract in found)
        self._ask(table, [(place, contract) for place, contract in found if contract is not None])

    def _contract(self, name: str, place: int) -> tuple[int, Contract]:
        master = self._client.master
        contract = None if master is None else master.by_id.get(name)
        if contract is None:
            raise InputInvalid(f"{name} is not in today's scrip master")
        return place, contract

    async def run(self) -> None:
        """Keep every stream alive until cancelled; after `subscribe` they are opened anew."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.TaskGroup() as group:
                    for line in self._lines:
                        group.create_task(line.run())
                    group.create_task(self._until_changed())
            except* _Changed:
                self.line_down("subscriptions changed")

    async def _until_changed(self) -> None:
        await self._changed.wait()
        raise _Changed

    @property
    def refused(self) -> dict[str, int]:
        """Packets that were not taken, by reason."""
        total: Counter[str] = Counter()
        for line in self._lines:
            total.update(line.decoder.refused)
        return dict(total)

    # ------------------------------------------------------------ what the lines tell
    def line_up(self) -> None:
        """A stream is subscribed and resynchronised."""
        if not self._is_up and all(line.is_ready for line in self._lines):
            self._is_up = True
            self.on_state(True, f"{len(self._lines)} streams up, resynchronised")

    def line_down(self, why: str) -> None:
        """A stream is not."""
        self.counts["reopened"] += 1
        if self._is_up:
            self._is_up = False
            self.on_state(False, f"market stream: {why}")

    def received_at(self) -> int:
        """Time of arrival of what is here now, ns; never decreases."""
        self._last_at = max(self._last_at, self._client.session.clock.now())
        return self._last_at

    def keeper(self, line: "_Line") -> StreamKeeper:
        """Keeps a line's stream."""
        return StreamKeeper(
            self._client.session, self._transport, MARKET_STREAM, self._random, work=line.work, on_down=line.down,
            name=f"market-{line.number}", must_answer=True,
        )  # fmt: skip

    def request(self, line: "_Line") -> str:
        """What subscribes a line's tokens."""
        by_type: dict[int, list[str]] = {}
        for _, contract in line.wanted:
            by_type.setdefault(contract.exchange_type, []).append(contract.token)
        tokens = [{"exchangeType": number, "tokens": tokens} for number, tokens in by_type.items()]
        params = {"mode": self._mode, "tokenList": tokens}
        return msgspec.json.encode({"correlationID": f"ax{line.number}", "action": 1, "params": params}).decode()

    # ------------------------------------------------------------ REST
    async def snapshots(self, line: "_Line") -> None:
        """Present quotes of a line's instruments into rows, 50 at a time; those that streamed since are newer.

        Raises
        ------
        BrokerError
            They could not be had.
        """
        for first in range(0, len(line.wanted), BATCH):
            part = line.wanted[first : first + BATCH]
            quotes = await self._quotes([(contract.exchange, contract.token) for _, contract in part])
            tables = [batch.table for batch in self._restored(line, quotes, part)]
            if tables:
                self.on_rows(TickBatch(np.ascontiguousarray(np.concatenate(tables, axis=1))))

    async def last_price(self, instrument: str) -> int:
        """Last price of one instrument, 1/10,000. Several that are asked for at once go together, up to 50 of them.

        Raises
        ------
        InputInvalid
            It is not in today's scrip master.
        BrokerError
            It could not be had.
        """
        _, contract = self._contract(instrument, 0)
        quote = await self._asked_quotes.get((contract.exchange, contract.token))
        if quote is None:
            raise BrokerUnreachable(f"no price of {instrument}: the answer leaves it out")
        try:
            return _cells(quote)[LAST]
        except ValueError as error:
            raise BrokerUnreachable(f"no price of {instrument}: {error}") from error

    async def _quotes(self, tokens: Sequence[_Token]) -> dict[_Token, _Quote]:
        by_exchange: dict[str, list[str]] = {}
        for exchange, token in tokens:
            by_exchange.setdefault(exchange, []).append(token)
        body = {"mode": "FULL", "exchangeTokens": by_exchange}
        data = await self._client.caller.read("POST", QUOTE, QUOTES, body, priority=Priority.LOOKUP)
        try:
            return {(quote.exchange, str(quote.symbol_token)): quote for quote in one_of(data, _Quotes).fetched}
        except ValueError as error:
            raise BrokerUnreachable(f"quotes not understood: {error}") from error

    def _restored(
        self, line: "_Line", quotes: Mapping[_Token, _Quote], wanted: Sequence[tuple[int, Contract]]
    ) -> Iterator[TickBatch]:
        at = self.received_at()
        for place, contract in wanted:
            quote = quotes.get((contract.exchange, contract.token))
            if quote is None or line.decoder.has_new(place):
                continue
            try:
                row = line.decoder.restore(place, _cells(quote), at)
            except ValueError:
                self.counts["bad_quote"] += 1
                continue
            if row is not None:
                yield row


class _Line:
    """One stream and its share of the instruments."""

    def __init__(self, feed: AngelOneFeed, wanted: Sequence[tuple[int, Contract]], places: int, number: int) -> None:
        self.wanted = wanted
        self.number = number
        self.is_ready = False
        tokens = {(contract.exchange_type, contract.token): place for place, contract in wanted}
        self.decoder = PacketDecoder(tokens, places)
        self._feed = feed
        self._waiting: list[bytes] = []

    async def run(self) -> None:
        """Until cancelled."""
        await self._feed.keeper(self).run()

    def down(self, why: str) -> None:
        """The stream ended."""
        self.is_ready = False
        self._feed.line_down(why)

    async def work(self, stream: LiveStream) -> None:
        """Subscribe, take packets, and beside that resynchronise."""
        self.decoder.new_connection()
        await stream.send(self._feed.request(self))
        async with asyncio.TaskGroup() as group:
            resync = group.create_task(self._resynchronise(stream))
            try:
                await self._take(stream)
            finally:
                resync.cancel()

    async def _resynchronise(self, stream: LiveStream) -> None:
        """Once the stream has said anything at all, read what is there now: together they are the whole truth."""
        await stream.heard.wait()
        backoff = Backoff(self._feed._random)  # noqa: SLF001
        while True:
            try:
                await self._feed.snapshots(self)
            except BrokerError as error:
                log.warning("quotes_not_read", line=self.number, why=str(error), action="retry")
                await asyncio.sleep(backoff.wait_s())
            else:
                self.is_ready = True
                self._feed.line_up()
                return

    async def _take(self, stream: LiveStream) -> None:
        """What arrives in one turn of the loop becomes one batch."""
        loop, waiting = asyncio.get_running_loop(), self._waiting
        while True:
            message = await stream.receive()
            if isinstance(message, bytes):
                if not waiting:
                    loop.call_soon(self._flush)
                waiting.append(message)
            else:
                self._hear(message)

    def _flush(self) -> None:
        packets, self._waiting[:] = self._waiting.copy(), ()
        self._feed.counts["packets"] += len(packets)
        rows = self.decoder.decode(packets, self._feed.received_at())
        if len(rows):
            self._feed.on_rows(rows)

    def _hear(self, message: str) -> None:
        """Text on the market stream is an error of the last request."""
        self._feed.counts["text"] += 1
        try:
            error = msgspec.json.decode(message, type=_StreamError)
        except JSON_ERRORS:
            return
        if error.error_code:
            self._feed.counts[f"error_{error.error_code[:8]}"] += 1
            log.warning(
                "market_stream_error", line=self.number, code=error.error_code[:8], why=error.error_message[:200]
            )  # fmt: skip


def _cells(quote: _Quote) -> dict[int, int]:
    """Cells of a tick from a FULL quote.

    Raises
    ------
    ValueError
        A field makes no sense.
    """
    stamp = datetime.strptime(quote.exch_feed_time, _STAMP).replace(tzinfo=INDIA)
    bid = quote.depth.buy[0] if quote.depth.buy else _Level()
    ask = quote.depth.sell[0] if quote.depth.sell else _Level()
    cells = field_cells(
        exchange_at=int(stamp.timestamp()) * NS, bid=money("price", bid.price), ask=money("price", ask.price),
        bid_size=units("quantity", bid.quantity), ask_size=units("quantity", ask.quantity),
        last=money("ltp", quote.ltp), volume=units("tradeVolume", quote.trade_volume),
        oi=units("opnInterest", quote.opn_interest),
    )  # fmt: skip
    if min(cells.values()) < 0:
        raise ValueError("a field is below 0")
    return cells


def _nothing(*_: Any) -> None:
    """Before the owner has set it."""
