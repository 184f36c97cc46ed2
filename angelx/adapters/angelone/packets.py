"""Binary market packets of WebSocket 2.0 into tick columns: compiled, no Python object per field.

Layout (little-endian, one packet per message, prices int64 in paise): the first byte is the mode, which fixes the
length. What a packet does not carry is filled from the instrument's row before, so that every row is a whole top of
book.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

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
    OI,
    VOLUME,
    Table,
    TickBatch,
)

LTP: Final = 1
QUOTE: Final = 2
SNAP_QUOTE: Final = 3
DEPTH_20: Final = 4
LENGTHS: Final = {LTP: 51, QUOTE: 123, SNAP_QUOTE: 379, DEPTH_20: 443}

CURRENCY: Final = 13
"""The exchange type whose prices are in 1/10,000,000 instead of 1/100."""

REASONS: Final = ("length", "mode", "token", "unknown_token", "time", "range", "depth", "out_of_order")
"""Why a packet was not taken: its length is not its mode's; no such mode; a token that is no number; nothing we asked
for; an exchange time outside 1970-2100; a negative or absurd price or quantity; depth flags that are neither buy nor
sell; older than what was seen of the instrument on this connection.
"""
_LENGTH, _MODE, _TOKEN, _UNKNOWN, _TIME, _RANGE, _DEPTH, _OLD = range(8)
_TAKEN: Final = -1

_TOKEN_AT: Final = 2
_TOKEN_END: Final = 27
_MOST_DIGITS: Final = 16
_LATEST_MS: Final = 4_102_444_800_000
"""2100-01-01."""
_MOST: Final = 2**52
"""Above this no price or quantity can be true, and the product with the scale would overflow."""
_SEQUENCE: Final = FIELDS
_WIDTH: Final = 16
_NEVER: Final = -(2**62)
_HASH: Final = 0x9E3779B97F4A7C15 - 2**64
_TYPE_SHIFT: Final = 55
"""16 digits fit below it, a byte above."""


Cells = NDArray[np.int64]


@nb.njit(cache=True, nogil=True)
def _i64(raw: bytes, at: int) -> int:
    value = np.uint64(0)
    for byte in range(8):
        value |= np.uint64(raw[at + byte]) << np.uint64(8 * byte)
    return int(np.int64(value))


@nb.njit(cache=True, nogil=True)
def _i32(raw: bytes, at: int) -> int:
    value = np.uint32(0)
    for byte in range(4):
        value |= np.uint32(raw[at + byte]) << np.uint32(8 * byte)
    return int(np.int32(value))


@nb.njit(cache=True, nogil=True)
def _price(wire: int, exchange_type: int) -> int:
    """1/10,000 of the currency unit; halves to even where the wire is finer."""
    if exchange_type != CURRENCY:
        return wire * 100
    whole, rest = wire // 1000, wire % 1000
    if rest > 500 or (rest == 500 and whole % 2 == 1):
        whole += 1
    return whole


@nb.njit(cache=True, nogil=True)
def _key(raw: bytes, start: int) -> int:
    """Exchange type and token as one number; -1 where the token is none."""
    token, digits = 0, 0
    for at in range(start + _TOKEN_AT, start + _TOKEN_END):
        byte = int(raw[at])
        if byte == 0:
            break
        if byte < 48 or byte > 57 or digits == _MOST_DIGITS:
            return -1
        token = token * 10 + byte - 48
        digits += 1
    if digits == 0:
        return -1
    return int(raw[start + 1]) << _TYPE_SHIFT | token


@nb.njit(cache=True, nogil=True)
def _slot(slots: Cells, key: int) -> int:
    """Where a key is, or would be, in the open hash table."""
    mask = slots.shape[0] - 1
    slot = ((key * _HASH) >> 20) & mask
    while slots[slot, 0] != key and slots[slot, 0] != -1:  # A set of the two would be built each time.
        slot = (slot + 1) & mask
    return int(slot)


@nb.njit(cache=True, nogil=True)
def _is_sane(value: int) -> bool:
    return 0 <= value < _MOST


@nb.njit(cache=True, nogil=True)
def _take_depth_5(raw: bytes, start: int, kind: int, states: Cells, new: int) -> int:
    """The first buy and the first sell of the best five into the row."""
    bid, bid_size, ask, ask_size = 0, 0, 0, 0
    has_bid, has_ask = False, False
    for level in range(10):
        at = start + 147 + 20 * level
        flag = int(raw[at]) | int(raw[at + 1]) << 8
        quantity, price = _i64(raw, at + 2), _i64(raw, at + 10)
        if flag > 1:
            return _DEPTH
        if not _is_sane(quantity) or not _is_sane(price):
            return _RANGE
        if flag == 1 and not has_bid:
            has_bid, bid, bid_size = True, price, quantity
        elif flag == 0 and not has_ask:
            has_ask, ask, ask_size = True, price, quantity
    states[new, BID], states[new, BID_SIZE] = _price(bid, kind), bid_size
    states[new, ASK], states[new, ASK_SIZE] = _price(ask, kind), ask_size
    return _TAKEN


@nb.njit(cache=True, nogil=True)
def _take_depth_20(raw: bytes, start: int, kind: int, states: Cells, new: int) -> int:
    """The first of twenty buys and sells into the row."""
    bid_size, bid = _i32(raw, start + 43), _i32(raw, start + 47)
    ask_size, ask = _i32(raw, start + 243), _i32(raw, start + 247)
    if bid < 0 or ask < 0 or bid_size < 0 or ask_size < 0:
        return _RANGE
    states[new, BID], states[new, BID_SIZE] = _price(bid, kind), bid_size
    states[new, ASK], states[new, ASK_SIZE] = _price(ask, kind), ask_size
    return _TAKEN


@nb.njit(cache=True, nogil=True)
def _take(raw: bytes, start: int, states: Cells, new: int, last: int) -> int:  # noqa: PLR0911
    """One packet whose length is right into the row `new`, which begins as a copy of `last`; why not, or `_TAKEN`."""
    mode, kind = int(raw[start]), int(raw[start + 1])
    has_sequence = mode != DEPTH_20
    sequence = _i64(raw, start + 27) if has_sequence else states[last, _SEQUENCE]
    milliseconds = _i64(raw, start + (35 if has_sequence else 27))
    if milliseconds < 0 or milliseconds > _LATEST_MS:
        return _TIME
    exchange_at = milliseconds * 1_000_000
    if sequence < states[last, _SEQUENCE] or (
        sequence == states[last, _SEQUENCE] and exchange_at < states[last, EXCHANGE_AT]
    ):
        return _OLD
    states[new, EXCHANGE_AT] = exchange_at
    states[new, _SEQUENCE] = sequence
    if mode == DEPTH_20:
        return _take_depth_20(raw, start, kind, states, new)
    last_price = _i64(raw, start + 43)
    if not _is_sane(last_price):
        return _RANGE
    states[new, LAST] = _price(last_price, kind)
    if mode == LTP:
        return _TAKEN
    volume = _i64(raw, start + 67)
    if not _is_sane(volume):
        return _RANGE
    states[new, VOLUME] = volume
    if mode == QUOTE:
        return _TAKEN
    interest = _i64(raw, start + 131)
    if not _is_sane(interest):
        return _RANGE
    states[new, OI] = interest
    return _take_depth_5(raw, start, kind, states, new)


@nb.njit(cache=True, nogil=True)
def _why_not(raw: bytes, start: int, length: int) -> int:
    """What is wrong with the frame of a packet, or `_TAKEN`."""
    if length < 1:
        return _LENGTH
    mode = raw[start]
    if mode < LTP or mode > DEPTH_20:
        return _MODE
    expected = 51 if mode == LTP else 123 if mode == QUOTE else 379 if mode == SNAP_QUOTE else 443
    return _TAKEN if length == expected else _LENGTH


@nb.njit(cache=True, nogil=True)
def _decode_at(
    raw: bytes, start: int, length: int, at: int, slots: Cells, states: Cells, table: Table, row: int
) -> int:
    """One packet into a row of the table; 1 where it was taken, 0 where it was counted.

    Rows are named by number: views of them would cost more than the work (references are counted atomically).
    """
    counts, new = states.shape[0] - 1, states.shape[0] - 2
    why = _why_not(raw, start, length)
    if why == _TAKEN:
        key = _key(raw, start)
        slot = _slot(slots, key) if key >= 0 else 0
        if key >= 0 and slots[slot, 0] == key:
            last = slots[slot, 1]
            for field in range(_WIDTH):
                states[new, field] = states[last, field]
            why = _take(raw, start, states, new, last)
            if why == _TAKEN:
                for field in range(_WIDTH):
                    states[last, field] = states[new, field]
                for field in range(FIELDS):
                    table[field, row] = states[new, field]
                table[AT, row] = at
                return 1
        else:
            why = _TOKEN if key < 0 else _UNKNOWN
    states[counts, why] += 1
    return 0


@nb.njit(cache=True, nogil=True)
def _decode(raw: bytes, lengths: Cells, at: int, slots: Cells, states: Cells, table: Table) -> int:
    """All packets into the table; how many rows came of it."""
    rows = start = 0 * len(raw)  # A literal would have everything compiled a second time.
    for packet in range(lengths.shape[0]):
        rows += _decode_at(raw, start, lengths[packet], at, slots, states, table, rows)
        start += lengths[packet]
    return rows


@nb.njit(cache=True, nogil=True)
def _decode_one(raw: bytes, at: int, slots: Cells, states: Cells, table: Table) -> int:
    """One packet, without an array of lengths: half the way of a lone packet is its arguments."""
    first = 0 * len(raw)  # no literal
    return _decode_at(raw, first, len(raw), at, slots, states, table, first)


class PacketDecoder:
    """Packets of the instruments asked for into rows of their table.

    Parameters
    ----------
    tokens
        Place in the table by (exchange type, token).
    places
        Size of the table.

    Raises
    ------
    ValueError
        A token is not a number of at most 16 digits, or its exchange type does not fit a byte.
    """

    def __init__(self, tokens: Mapping[tuple[int, str], int], places: int) -> None:
        size = 1 << max((2 * len(tokens)).bit_length(), 4)
        self._slots = np.full((size, 2), -1, np.int64)
        """Key and place, an open hash table."""
        self._states = np.zeros((places + 2, _WIDTH), np.int64)
        """The last row of each instrument and its sequence number; then room for one, and the counts of refusals."""
        self._states[:places, INSTRUMENT] = np.arange(places)
        self.new_connection()
        for (exchange_type, token), place in tokens.items():
            is_number = token.isascii() and token.isdecimal() and len(token) <= _MOST_DIGITS
            if not is_number or not 0 <= exchange_type < 1 << 8:
                raise ValueError(f"exchange type {exchange_type}, token {token!r}: not what the wire can carry")
            key = exchange_type << _TYPE_SHIFT | int(token)
            self._slots[_slot(self._slots, key)] = key, place
        self.decode((), 0)  # Compiles or loads now, not at the first tick.
        _decode_one(b"\0", 0, self._slots, np.zeros_like(self._states[:2]), np.empty((FIELDS, 1), np.int64))

    def decode(self, packets: Sequence[bytes], at: int) -> TickBatch:
        """Rows of the packets that are sound, in their order, received at `at` (ns); the others are counted."""
        count = len(packets)
        table: Table = np.empty((FIELDS, count), np.int64)
        if count == 1:
            rows = _decode_one(packets[0], at, self._slots, self._states, table)
        else:
            lengths = np.fromiter(map(len, packets), np.int64, count)
            rows = _decode(b"".join(packets), lengths, at, self._slots, self._states, table)
        return TickBatch(table if rows == count else np.ascontiguousarray(table[:, :rows]))

    def new_connection(self) -> None:
        """Sequence numbers begin anew: what comes next is newer than everything seen."""
        self._states[:-2, _SEQUENCE] = _NEVER

    def restore(self, place: int, cells: Mapping[int, int], at: int) -> TickBatch | None:
        """One row from what REST knows of an instrument (by field), received at `at`; `None` where we know newer."""
        state = self._states[place]
        if cells[EXCHANGE_AT] < state[EXCHANGE_AT]:
            return None
        for field, value in cells.items():
            state[field] = value
        state[AT] = at
        return TickBatch(np.ascontiguousarray(state[:FIELDS].reshape(FIELDS, 1)).copy())

    def has_new(self, place: int) -> bool:
        """Whether a packet of the instrument came on this connection."""
        return bool(self._states[place, _SEQUENCE] != _NEVER)

    @property
    def refused(self) -> dict[str, int]:
        """Packets not taken, by reason."""
        return {name: int(count) for name, count in zip(REASONS, self._states[-1], strict=False) if count}


def field_cells(**cells: int) -> dict[int, int]:
    """Cells by field number from field names: `field_cells(bid=1, ask=2)`."""
    numbers: dict[str, int] = {
        "exchange_at": EXCHANGE_AT, "bid": BID, "ask": ASK, "bid_size": BID_SIZE, "ask_size": ASK_SIZE, "last": LAST,
        "volume": VOLUME, "oi": OI,
    }  # fmt: skip
    return {numbers[name]: value for name, value in cells.items()}
