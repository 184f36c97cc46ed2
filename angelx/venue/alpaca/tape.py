"""What was quoted and traded so far, for questions about the past: the rows themselves, cut at a size, and minutes."""

from collections.abc import Sequence
from typing import Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.ticks import AT, EXCHANGE_AT, FIELDS, INSTRUMENT, LAST, VOLUME, Table, TickBatch
from angelx.venue.alpaca.minutes import Minutes

MOST_ROWS: Final = 1_000_000
_ROOM: Final = 1_024
Integers = NDArray[np.int64]


@nb.njit(cache=True, nogil=True)
def _note(
    table: Table,
    start: int,
    stop: int,
    volume: Integers,
    size: Integers,
    at: Integers,
    count: Integers,
    sizes: Integers,
) -> int:
    """What each row traded: its volume beyond the one before it. The first row of an instrument traded nothing.

    Answers how many traded something.
    """
    found = 0
    for row in range(start, stop):
        place = table[INSTRUMENT, row]
        traded = table[VOLUME, row] - volume[place] if volume[place] >= 0 else 0
        sizes[row - start] = 0
        if traded > 0 and table[LAST, row] > 0:
            sizes[row - start] = traded
            size[place] = traded
            at[place] = table[EXCHANGE_AT, row] if table[EXCHANGE_AT, row] > 0 else table[AT, row]
            count[place] += 1
            found += 1
        volume[place] = max(volume[place], table[VOLUME, row])
    return found


class Tape:
    """The last `most_rows` rows, and the last trade of each instrument."""

    def __init__(self, instruments: int, *, most_rows: int = MOST_ROWS) -> None:
        self._most = most_rows
        self._spans: list[list[int]] = []
        """Start and stop in the batch of the same place."""
        self._batches: list[TickBatch] = []
        self._rows = 0
        self.size = np.zeros(instruments, np.int64)
        """Units of the last trade."""
        self.traded_at = np.zeros(instruments, np.int64)
        """When it was, ns; 0 = there was none."""
        self.count = np.zeros(instruments, np.int64)
        """Trades so far."""
        self.sizes = np.zeros(_ROOM, np.int64)
        """What each row of the last call of `take` traded, units; valid until the next one."""
        self.minutes = Minutes(instruments)
        """What traded in each minute, however long ago."""
        self._volume = np.full(instruments, -1, np.int64)
        nothing = TickBatch.empty()  # Compiles or loads now, not at the first row.
        _note(nothing.table, 0, 0, self._volume, self.size, self.traded_at, self.count, self.sizes)

    def take(self, batch: TickBatch, start: int, stop: int) -> None:
        """Rows [start, stop) came."""
        if self._batches and self._batches[-1] is batch and self._spans[-1][1] == start:
            self._spans[-1][1] = stop
        else:
            self._batches.append(batch)
            self._spans.append([start, stop])
        self._rows += stop - start
        if stop - start > len(self.sizes):
            self.sizes = np.zeros(2 * (stop - start), np.int64)
        sizes = self.sizes
        if _note(batch.table, start, stop, self._volume, self.size, self.traded_at, self.count, sizes):
            self.minutes.take(batch, start, stop, sizes)
        while self._rows > self._most and len(self._batches) > 1:
            first, last = self._spans.pop(0)
            del self._batches[0]
            self._rows -= last - first

    def rows(self, places: Sequence[int]) -> dict[int, Table]:
        """All rows of these instruments, each in a table of its own, oldest first."""
        if not self._batches:
            return {}
        wanted = np.zeros(len(self.size), np.bool_)
        wanted[list(places)] = True
        parts = []
        for batch, (start, stop) in zip(self._batches, self._spans, strict=True):
            piece = batch.table[:, start:stop]
            parts.append(piece[:, wanted[piece[INSTRUMENT]]])
        whole = np.concatenate(parts, axis=1) if parts else np.zeros((FIELDS, 0), np.int64)
        order = np.argsort(whole[INSTRUMENT], kind="stable")
        whole = whole[:, order]
        edges = np.searchsorted(whole[INSTRUMENT], np.arange(len(self.size) + 1))
        return {place: whole[:, edges[place] : edges[place + 1]] for place in places if edges[place + 1] > edges[place]}


def times(rows: Table) -> Integers:
    """When each row happened: the exchange's time, else ours."""
    found: Integers = np.where(rows[EXCHANGE_AT] > 0, rows[EXCHANGE_AT], rows[AT])
    return found


def traded(rows: Table) -> Integers:
    """Units each row traded; the first row's own are not known and taken as none."""
    found = np.zeros(rows.shape[1], np.int64)
    found[1:] = np.maximum(np.diff(rows[VOLUME]), 0)
    found[rows[LAST] <= 0] = 0
    return found
