"""The differential processor: refuses rows that cannot be true, and marks in the others what really changed.

Every row is held against the last accepted row of its instrument, in order of arrival, so the answer does not depend on
how the stream is cut into batches. Before an instrument's first row all its cells count as 0, so that row is marked
with every cell that says something.
"""

from collections.abc import Sequence
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
    CHANGED,
    EXCHANGE_AT,
    FIELDS,
    INSTRUMENT,
    LAST,
    NOT_A_NUMBER,
    OI,
    VOLUME,
    Table,
    TickBatch,
)

CLOCK_BACKWARDS: Final = "clock_backwards"
"""Received earlier than the row accepted before it, whatever the instrument."""
UNKNOWN_INSTRUMENT: Final = "unknown_instrument"
"""Its place is outside the table."""
NOT_A_NUMBER_CODE: Final = "not_a_number"
"""A cell was NaN, infinite or unparsable at its source."""
NEGATIVE: Final = "negative"
"""A price, size, volume, open interest or exchange time below zero."""
CROSSED: Final = "crossed"
"""Bid above ask, both there."""
OFF_TICK: Final = "off_tick"
"""Bid or ask is not a multiple of the instrument's tick size."""
AHEAD_OF_CLOCK: Final = "ahead_of_clock"
"""Exchange time later than `AHEAD_NS` after it was received: accepted, it would silence the instrument until then."""
OUT_OF_ORDER: Final = "out_of_order"
"""Exchange time before the instrument's last accepted one."""
DUPLICATE: Final = "duplicate"
"""The same exchange time as the instrument's last accepted row and nothing changed."""

REASONS: Final = (
    CLOCK_BACKWARDS, UNKNOWN_INSTRUMENT, NOT_A_NUMBER_CODE, NEGATIVE, CROSSED, OFF_TICK, AHEAD_OF_CLOCK, OUT_OF_ORDER,
    DUPLICATE,
)  # fmt: skip
"""In the order in which they are looked for: a row has the first that applies."""

AHEAD_NS: Final = 60_000_000_000
"""How far an exchange's clock may be ahead of ours in a row, ns. Trading stops at far less (SPEC 1.3); this only keeps
a broken stamp out."""

# Columns of the compiled state, one row for each instrument.
_AT: Final = 0
_FIRST: Final = BID - 1  # State column = field - _FIRST, so BID is column 1 and OI column 7.
_TICK: Final = OI - _FIRST + 1
_CELLS: Final = _TICK + 1
_NEVER: Final = -(2**63)
_TOUCH: Final = 1 << BID | 1 << ASK
_BITS: Final = np.array([cells.bit_count() for cells in range(1 << (OI - BID + 1))])

# Places in the counters.
_LAST_AT: Final = 0
_ROWS: Final = 1
_UNCHANGED: Final = 2
_CHANGED_CELLS: Final = 3
_REFUSED: Final = 4
_FIRST_ROW: Final = _REFUSED + len(REASONS)
_FIRST_PLACE: Final = _FIRST_ROW + len(REASONS)
_COUNTERS: Final = _FIRST_PLACE + len(REASONS)


@nb.njit(cache=True, nogil=True)
def _refusal(table: Table, row: int, state: Table, last_at: int) -> int:
    """Number of the first reason against a row that was not accepted."""
    place = table[INSTRUMENT, row]
    bid, ask, exchange_at = table[BID, row], table[ASK, row], table[EXCHANGE_AT, row]
    cells = table[EXCHANGE_AT : OI + 1, row]
    if table[AT, row] < last_at:
        reason = 0
    elif place < 0 or place >= state.shape[0]:
        reason = 1
    elif (cells == NOT_A_NUMBER).any():
        reason = 2
    elif (cells < 0).any():
        reason = 3
    elif bid > ask > 0:
        reason = 4
    elif bid % state[place, _TICK] or ask % state[place, _TICK]:
        reason = 5
    elif exchange_at > table[AT, row] + AHEAD_NS:
        reason = 6
    elif exchange_at < state[place, _AT]:
        reason = 7
    else:
        reason = 8
    return reason


@nb.njit(cache=True, nogil=True)
def _process(table: Table, state: Table, counters: Table, kept: Table) -> int:
    """Mark every row of the table; answer how many were accepted, their numbers in `kept`."""
    places = np.uint64(state.shape[0])
    ats, exchange_ats, instruments = table[AT], table[EXCHANGE_AT], table[INSTRUMENT]
    bids, asks, bid_sizes, ask_sizes = table[BID], table[ASK], table[BID_SIZE], table[ASK_SIZE]
    lasts, volumes, ois, marks = table[LAST], table[VOLUME], table[OI], table[CHANGED]
    last_at = counters[_LAST_AT]
    accepted = unchanged = cells = 0
    for row in range(table.shape[1]):
        place = np.uint64(instruments[row])
        at, exchange_at = ats[row], exchange_ats[row]
        sound = place < places and at >= last_at and exchange_at <= at + AHEAD_NS
        if sound:
            held = state[place]
            before = held[_AT]
            bid, ask, bid_size, ask_size = bids[row], asks[row], bid_sizes[row], ask_sizes[row]
            last, volume, oi = lasts[row], volumes[row], ois[row]
            differs = (
                (bid ^ held[BID - _FIRST])
                | (ask ^ held[ASK - _FIRST])
                | (bid_size ^ held[BID_SIZE - _FIRST])
                | (ask_size ^ held[ASK_SIZE - _FIRST])
                | (last ^ held[LAST - _FIRST])
                | (volume ^ held[VOLUME - _FIRST])
                | (oi ^ held[OI - _FIRST])
            )
            if differs == 0:  # What was sound is sound still: only its time may be wrong.
                sound = exchange_at > before and exchange_at >= 0
                changed = np.int64(0)
            else:
                sound = (
                    exchange_at >= before
                    and (exchange_at | bid | ask | bid_size | ask_size | last | volume | oi) >= 0
                    and (bid <= ask or ask == 0)
                )
                changed = (
                    np.int64(bid != held[BID - _FIRST]) << BID
                    | np.int64(ask != held[ASK - _FIRST]) << ASK
                    | np.int64(bid_size != held[BID_SIZE - _FIRST]) << BID_SIZE
                    | np.int64(ask_size != held[ASK_SIZE - _FIRST]) << ASK_SIZE
                    | np.int64(last != held[LAST - _FIRST]) << LAST
                    | np.int64(volume != held[VOLUME - _FIRST]) << VOLUME
                    | np.int64(oi != held[OI - _FIRST]) << OI
                )
                if sound and changed & _TOUCH:
                    sound = bid % held[_TICK] == 0 and ask % held[_TICK] == 0
                if sound:
                    held[BID - _FIRST], held[ASK - _FIRST] = bid, ask
                    held[BID_SIZE - _FIRST], held[ASK_SIZE - _FIRST] = bid_size, ask_size
                    held[LAST - _FIRST], held[VOLUME - _FIRST], held[OI - _FIRST] = last, volume, oi
                    cells += _BITS[changed >> BID]
            if sound:
                held[_AT] = exchange_at
                marks[row] = changed
                kept[accepted] = row
                accepted += 1
                unchanged += int(changed == 0)
                last_at = at
                continue
        reason = _refusal(table, row, state, last_at)
        if counters[_REFUSED + reason] == 0:
            counters[_FIRST_ROW + reason] = counters[_ROWS] + row
            counters[_FIRST_PLACE + reason] = instruments[row]
        counters[_REFUSED + reason] += 1
    counters[_LAST_AT] = last_at
    counters[_ROWS] += table.shape[1]
    counters[_UNCHANGED] += unchanged
    counters[_CHANGED_CELLS] += cells
    return accepted


class Differential:
    """Validates and marks the rows of every batch against the last accepted state of their instruments.

    Parameters
    ----------
    instruments
        How many there are: places 0 to `instruments - 1` are known.
    tick_sizes
        Smallest price step of each instrument, 1/10,000; 0 = its prices are not checked. `None` checks nothing.
        Only bid and ask are held against it: trades may print between the ticks (US midpoint and sub-penny trades).
    """

    def __init__(self, instruments: int, tick_sizes: Sequence[int] | NDArray[np.int64] | None = None) -> None:
        steps = np.zeros(instruments, np.int64) if tick_sizes is None else np.array(tick_sizes, np.int64)
        if steps.shape != (instruments,) or (instruments and steps.min() < 0):
            raise ValueError(f"tick_sizes: {instruments} numbers of at least 0, was {tick_sizes!r}")
        self._state = np.zeros((instruments, _CELLS), np.int64)
        self._state[:, _AT] = _NEVER
        self._state[:, _TICK] = np.maximum(steps, 1)  # Everything is a multiple of 1.
        self._counters = np.zeros(_COUNTERS, np.int64)
        self._counters[_LAST_AT] = _NEVER
        self._kept = np.empty(1024, np.int64)

    def process(self, batch: TickBatch) -> TickBatch:
        """The batch with `CHANGED` filled in: the same object where every row was accepted, else a smaller one."""
        rows = batch.rows
        if rows > self._kept.shape[0]:
            self._kept = np.empty(rows, np.int64)
        accepted = _process(batch.table, self._state, self._counters, self._kept)
        return batch if accepted == rows else TickBatch(batch.table.take(self._kept[:accepted], axis=1))

    # ------------------------------------------------------------ what it holds
    def snapshot(self) -> Table:
        """The last accepted row of every instrument, shape (FIELDS, instruments); all 0 where none has come yet.

        `AT` is the time of the last accepted row of all; `CHANGED` marks every cell that is not 0.
        """
        state = self._state
        table = np.zeros((FIELDS, state.shape[0]), np.int64)
        seen = state[:, _AT] != _NEVER
        table[INSTRUMENT] = np.arange(state.shape[0])
        table[AT, seen] = self._counters[_LAST_AT]
        table[EXCHANGE_AT, seen] = state[seen, _AT]
        table[BID : OI + 1] = state[:, BID - _FIRST : _TICK].T
        for field in range(BID, OI + 1):
            table[CHANGED] |= (table[field] != 0).astype(np.int64) << field
        return table

    @property
    def rows(self) -> int:
        """Rows received so far, refused ones included."""
        return int(self._counters[_ROWS])

    @property
    def unchanged(self) -> int:
        """Accepted rows in which only the exchange's time was newer."""
        return int(self._counters[_UNCHANGED])

    @property
    def changed_cells(self) -> int:
        """Cells that changed in accepted rows; an accepted row has seven."""
        return int(self._counters[_CHANGED_CELLS])

    @property
    def refused(self) -> dict[str, int]:
        """Rows left out so far, by reason; only reasons that occurred."""
        counts = self._counters[_REFUSED:_FIRST_ROW].tolist()
        return {reason: count for reason, count in zip(REASONS, counts, strict=True) if count}

    @property
    def first_refused(self) -> dict[str, tuple[int, int]]:
        """For each reason that occurred its first row (counted from 0 over all batches) and that row's instrument."""
        rows = self._counters[_FIRST_ROW:_FIRST_PLACE].tolist()
        places = self._counters[_FIRST_PLACE:].tolist()
        found = zip(REASONS, rows, places, strict=True)
        counts = self.refused
        return {reason: (row, place) for reason, row, place in found if reason in counts}
