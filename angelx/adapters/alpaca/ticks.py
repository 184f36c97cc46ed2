"""Market messages into tick columns: typed decoding, prices exact to 1/10,000."""

import math
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
import numba as nb
import numpy as np
from msgspec.msgpack import Ext
from numpy.typing import NDArray

from angelx.adapters.alpaca import market_messages as wire
from angelx.domain.instruments import InstrumentTable, Kind
from angelx.domain.scalars import NS, SCALE, price_of
from angelx.domain.ticks import (
    ASK,
    ASK_SIZE,
    AT,
    BID,
    BID_SIZE,
    EXCHANGE_AT,
    FIELDS,
    INSTRUMENT,
    LAST,
    VOLUME,
    Table,
    TickBatch,
)
from angelx.domain.timestamps import instant_of

QUOTE: Final = 0
TRADE: Final = 1
VOLUME_ONLY: Final = 2
"""A trade that counts towards the volume, but whose price is not the market's."""
_WIDTH: Final = 8
"""Words of one message: place, kind, time, arrival as integers; two prices and two sizes as doubles, of which a trade
leaves the second ones empty."""
_PACK: Final = struct.Struct("<qqqqdddd").pack_into
_UNSIGNED: Final = struct.Struct(">Q").unpack

MOST_PRICE: Final = 1e8
"""Above this a double no longer holds four decimals for certain."""
NOT_LAST: Final = frozenset("BCGHIMNPQRTUVWZ479")
"""Conditions under which a trade is not the last price: average price, cash, odd lot, out of sequence, extended hours,
prior reference, contingent … (CTA and UTP plans, sale condition guidelines; from memory)."""
NOT_VOLUME: Final = frozenset("MQ9")
"""Official opens and closes repeat trades that were reported before."""

_SIZE: Final = 8 * _WIDTH
_FIRST_ROOM: Final = 1_024
_INEXACT: Final = -(2**62)
_DECIMALS_SEEN: Final = 1e-3
_EXT_TIMESTAMP: Final = -1


@nb.njit(cache=True, nogil=True)
def _scale(numbers: NDArray[np.float64], rows: int, prices: NDArray[np.int64]) -> int:
    """Prices as 1/10,000; returns how many have more than four decimals: those cells hold `_INEXACT`."""
    inexact = 0
    for row in range(rows):
        for column in range(2):
            exact = numbers[row, 4 + column] * SCALE
            whole = np.rint(exact)
            if abs(exact - whole) > _DECIMALS_SEEN:
                prices[row, column] = _INEXACT
                inexact += 1
            else:
                prices[row, column] = np.int64(whole)
    return inexact


@nb.njit(cache=True, nogil=True)
def _apply(
    words: NDArray[np.int64],
    numbers: NDArray[np.float64],
    prices: NDArray[np.int64],
    units: NDArray[np.int64],
    since: NDArray[np.int64],
    cells: Table,
    out: Table,
) -> int:
    """Messages into whole rows: each carries what its instrument's messages before it said; how many rows that makes.

    What is not newer than `since[QUOTE or TRADE, instrument]` is in a snapshot already and makes none.
    """
    rows = 0
    for row in range(out.shape[1]):
        place, kind, time = words[row, 0], words[row, 1], words[row, 2]
        if time <= since[min(kind, TRADE), place]:
            continue
        cell = cells[place]
        lot = units[place]
        size = np.int64(numbers[row, 6]) * lot
        if kind == QUOTE:
            cell[BID], cell[ASK] = prices[row, 0], prices[row, 1]
            cell[BID_SIZE], cell[ASK_SIZE] = size, np.int64(numbers[row, 7]) * lot
        else:
            if kind == TRADE:
                cell[LAST] = prices[row, 0]
            cell[VOLUME] = max(cell[VOLUME] + size, 0)
        cell[EXCHANGE_AT] = time
        cell[AT] = words[row, 3]
        for field in range(FIELDS):
            out[field, rows] = cell[field]
        rows += 1
    return rows


class TickColumns:
    """Takes frames in, gives tick batches out. What cannot be used is counted by reason, and nothing is raised.

    Parameters
    ----------
    symbols
        Place in the table by the stream's symbol.
    """

    def __init__(self, table: InstrumentTable, symbols: Mapping[str, int]) -> None:
        self.refused: Counter[str] = Counter()
        """Messages and frames that could not be used, by reason."""
        self.rounded = 0
        """Prices that had more than four decimals."""
        self.received = 0
        """Quotes, trades, cancels and corrections taken in."""
        self.repeated = 0
        """Ticks that a snapshot had said already."""
        self.newest = 0
        """Newest exchange time seen, ns."""
        self._symbols = dict(symbols)
        self._rows = 0
        self._room = bytearray()
        self._make_room(_FIRST_ROOM)
        self._units = np.array([i.lot_size if i.kind is Kind.OPTION else 1 for i in table], np.int64)
        self.cells: Table = np.zeros((max(len(table), 1), FIELDS), np.int64)
        """The last row of every instrument, shape (instruments, FIELDS)."""
        self.cells[:, INSTRUMENT] = np.arange(len(self.cells))
        self._since = np.zeros((2, len(self.cells)), np.int64)
        self._json = msgspec.json.Decoder(list[wire.AnyMessage])
        self._msgpack = msgspec.msgpack.Decoder(list[wire.AnyMessage])
        self._warm_up()

    def _warm_up(self) -> None:
        """Compile or load the kernels now, not at the first tick."""
        nothing = np.empty((FIELDS, 0), np.int64)
        _scale(self._numbers, 0, self._prices)
        _apply(self._words, self._numbers, self._prices, self._units, self._since, self.cells, nothing)

    # ------------------------------------------------------------ frames in
    def take(self, frame: str | bytes, at: int, *, msgpack: bool) -> Sequence[wire.Message]:
        """Take one frame received at `at`, ns; returns the messages that are not ticks."""
        try:
            is_binary = msgpack and type(frame) is bytes
            messages = self._msgpack.decode(frame) if is_binary else self._json.decode(frame)  # type: ignore[arg-type]
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            messages = self._salvage(frame, msgpack=msgpack)
        others: list[wire.Message] = []
        add = self._add
        for message in messages:
            kind = type(message)
            if kind is wire.Quote:
                add(QUOTE, message.S, message.t, at, message.bp, message.ap, message.bs, message.ask_size)  # type: ignore[union-attr]
            elif kind is wire.Trade:
                self._trade(message, at)  # type: ignore[arg-type]
            elif kind is wire.Cancel:
                add(VOLUME_ONLY, message.S, message.t, at, 0.0, 0.0, -message.s, 0.0)  # type: ignore[union-attr]
            elif kind is wire.Correction:
                change = message.corrected_size - message.original_size  # type: ignore[union-attr]
                add(VOLUME_ONLY, message.S, message.t, at, 0.0, 0.0, change, 0.0)  # type: ignore[union-attr]
            else:
                others.append(message)
        return others

    def _trade(self, trade: wire.Trade, at: int) -> None:
        conditions = trade.c
        kind, size = TRADE, trade.s
        if type(conditions) is list and not NOT_LAST.isdisjoint(conditions):
            kind = VOLUME_ONLY
            if not NOT_VOLUME.isdisjoint(conditions):
                size = 0.0
        self._add(kind, trade.S, trade.t, at, trade.p, 0.0, size, 0.0)

    def _add(
        self, kind: int, symbol: str, time: wire.Time, at: int, bid: float, ask: float, bid_size: float, ask_size: float
    ) -> None:
        place = self._symbols.get(symbol)
        if place is None:
            self.refused["unknown_symbol"] += 1
            return
        if not (0.0 <= bid < MOST_PRICE and 0.0 <= ask < MOST_PRICE):
            self.refused["bad_price"] += 1
            return
        least = -MOST_PRICE if kind == VOLUME_ONLY else 0.0
        if not (least <= bid_size < MOST_PRICE and 0.0 <= ask_size < MOST_PRICE):
            self.refused["bad_size"] += 1
            return
        try:
            exchange_at = instant_of(time) if type(time) is str else _extension(time)  # type: ignore[arg-type]
            if exchange_at > self.newest:  # noqa: PLR1730 - the call costs 0.1 us
                self.newest = exchange_at
        except ValueError:
            self.refused["bad_time"] += 1
            return
        rows = self._rows
        if rows == self._capacity:
            self._make_room(2 * rows)
        _PACK(self._room, rows * _SIZE, place, kind, exchange_at, at, bid, ask, bid_size, ask_size)
        self._rows = rows + 1

    def _make_room(self, rows: int) -> None:
        """Room for so many messages; those that wait are kept."""
        room = bytearray(rows * _SIZE)
        if self._rows:
            room[: self._rows * _SIZE] = self._room
        self._room, self._capacity = room, rows
        self._words = np.frombuffer(room, np.int64).reshape(rows, _WIDTH)
        self._numbers = np.frombuffer(room, np.float64).reshape(rows, _WIDTH)
        self._prices = np.empty((rows, 2), np.int64)

    def _salvage(self, frame: str | bytes, *, msgpack: bool) -> list[wire.AnyMessage]:
        """The good messages of a frame that as a whole does not decode."""
        codec = msgspec.msgpack if msgpack and type(frame) is bytes else msgspec.json
        try:
            parts = codec.decode(frame, type=list[msgspec.Raw])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            self.refused["bad_frame"] += 1
            return []
        good: list[wire.AnyMessage] = []
        for part in parts:
            try:
                good.append(codec.decode(part, type=wire.AnyMessage))
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                self.refused[self._why(part, codec.decode)] += 1
        return good

    @staticmethod
    def _why(part: msgspec.Raw, decode: Callable[..., wire.Kind]) -> str:
        try:
            kind = decode(part, type=wire.Kind).T
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return "bad_message"
        return "bad_message" if kind in wire.KNOWN else "unknown_kind"

    # ------------------------------------------------------------ batches out
    @property
    def waiting(self) -> int:
        """Rows taken in and not yet given out."""
        return self._rows

    def batch(self) -> TickBatch | None:
        """Everything taken in since the last call; `None` where that is nothing."""
        rows = self._rows
        if not rows:
            return None
        if _scale(self._numbers, rows, self._prices):
            self._round(rows)
        table = np.empty((FIELDS, rows), np.int64)
        made = _apply(self._words, self._numbers, self._prices, self._units, self._since, self.cells, table)
        self._rows = 0
        self.received += rows
        if made < rows:
            self.repeated += rows - made
            table, rows = np.ascontiguousarray(table[:, :made]), made
            if not made:
                return None
        return TickBatch(table)

    def _round(self, rows: int) -> None:
        """More than four decimals: the shortest text of the double is the text that was sent (up to 15 digits)."""
        for row, column in zip(*np.nonzero(self._prices[:rows] == _INEXACT), strict=True):
            self._prices[row, column] = exact_price(float(self._numbers[row, 4 + column]))
            self.rounded += 1

    def seed(self, place: int, columns: Mapping[int, int], *, quoted_at: int, traded_at: int) -> None:
        """What a snapshot says of an instrument, by field; ticks up to those times are in it."""
        cell = self.cells[place]
        for field, value in columns.items():
            cell[field] = value
        cell[EXCHANGE_AT] = max(int(cell[EXCHANGE_AT]), quoted_at, traded_at)
        self._since[QUOTE, place] = max(int(self._since[QUOTE, place]), quoted_at)
        self._since[TRADE, place] = max(int(self._since[TRADE, place]), traded_at)

    def inherit(self, before: "TickColumns") -> None:
        """Go on counting where another set of columns ended."""
        self.refused, self.rounded = before.refused, before.rounded
        self.received, self.repeated, self.newest = before.received, before.repeated, before.newest

    @staticmethod
    def instant(time: wire.Time) -> int:
        """A message's time, ns; 0 where it cannot be read."""
        try:
            return instant_of(time) if isinstance(time, str) else _extension(time)
        except ValueError:
            return 0

    def whole(self, places: Sequence[int], at: int) -> TickBatch | None:
        """The last row of these instruments again, received at `at`; `None` where none is known."""
        known = [place for place in places if self.cells[place, EXCHANGE_AT]]
        if not known:
            return None
        table = np.ascontiguousarray(self.cells[known].T)
        table[AT] = at
        return TickBatch(table)


def exact_price(number: float) -> int:
    """A price that JSON or msgpack carried as a double, as 1/10,000 rounded half-even from its decimal text.

    Raises
    ------
    ValueError
        It is not finite.
    """
    if not math.isfinite(number):
        raise ValueError(f"not a price: {number}")
    return price_of(Decimal(repr(number)))


def _extension(time: Ext) -> int:
    """A msgpack Timestamp (32, 64 or 96 bits) as ns.

    Raises
    ------
    ValueError
        It is another extension, or has another length.
    """
    data: bytes = time.data  # type: ignore[assignment]  # the decoder makes bytes
    if time.code != _EXT_TIMESTAMP or len(data) not in (4, 8, 12):
        raise ValueError("not a timestamp")
    bits: int = _UNSIGNED(data)[0] if len(data) == 8 else int.from_bytes(data, "big")
    if len(data) == 8:
        seconds, fraction = bits & 0x3_FFFF_FFFF, bits >> 34
    elif len(data) == 4:
        seconds, fraction = bits, 0
    else:
        seconds, fraction = int.from_bytes(data[4:], "big", signed=True), bits >> 64
    at = seconds * NS + fraction
    if fraction >= NS or not 0 <= at < 2**62:
        raise ValueError(f"no such time: {seconds} s and {fraction} ns")
    return at
