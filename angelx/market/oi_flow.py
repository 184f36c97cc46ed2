"""Open-interest flow: which way each change of open interest was taken, interval by interval (SPEC 3.2).

An interval of a contract ends where its open interest changes. It begins at the later of the contract's own last change
and the exchange's last publication (changes within `PUBLICATION` of each other are one). The change is classed by what
the premium did meanwhile:

=================  ==============  ================  =======================
class              open interest   premium           who was in a hurry
=================  ==============  ================  =======================
long build-up      up              up                buyers open
short build-up     up              down              writers open
long unwinding     down            down              buyers close
short covering     down            up                writers close
=================  ==============  ================  =======================

The premium is the mid where both ends have one, else the last trade; where neither moved the change is *unclassed*. The
window holds the intervals that ended within `window_ns` before the newest publication, on the exchange's clock.

What is not used, and counted: an open interest of 0 after one that was not (`oi_missing`); a row whose session volume
is below the one before, as an older page served late has (`oi_older`; a second one in a row is believed); a change back
to the value before that is larger than what was traded since (`oi_back`; the change it undoes leaves the window).
"""

from typing import Any, Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.scalars import NS
from angelx.domain.ticks import ASK, BID, EXCHANGE_AT, INSTRUMENT, LAST, OI, VOLUME, Rows, Table

WINDOW: Final = 300 * NS
PUBLICATION: Final = 10 * NS
"""Changes so near each other belong to one publication of the exchange."""

LONG_BUILD_UP: Final = 0
SHORT_BUILD_UP: Final = 1
LONG_UNWINDING: Final = 2
SHORT_COVERING: Final = 3
UNCLASSED: Final = 4
CLASSES: Final = 5

REASONS: Final = ("oi_missing", "oi_older", "oi_back")

# Columns of a contract's cells.
_OI: Final = 0
_OI_BEFORE: Final = 1
_VOLUME: Final = 2
_VOLUME_THEN: Final = 3
"""Session volume at the last change of open interest."""
_MID: Final = 4
_LAST: Final = 5
_MID_THEN: Final = 6
_LAST_THEN: Final = 7
"""Premium where the present interval began."""
_PUBLICATION: Final = 8
_ENTRY: Final = 9
"""Number of the last interval in the ring, from 1; 0 = none."""
_DOUBT: Final = 10
"""1: the last row had a volume below the one before."""
_SEEN: Final = 11
_CELLS: Final = 12

# Places in the marks.
_HEAD: Final = 0
"""Number of the oldest interval in the window, from 1."""
_NEXT: Final = 1
_NEWEST: Final = 2
"""Exchange time of the newest publication, its last change."""
_FIRST: Final = 3
"""Of its first change."""
_BEFORE: Final = 4
"""Newest time of the publication before."""
_NUMBER: Final = 5
"""Publications so far."""
_COUNTS: Final = 6
_MARKS: Final = _COUNTS + len(REASONS)

# Columns of the ring.
_AT: Final = 0
_SLOT: Final = 1
_CLASS: Final = 2
_UNITS: Final = 3
_SINCE: Final = 4
"""Where the publication's interval began: the one before it."""
_RING: Final = 5


@nb.njit(cache=True, nogil=True)
def _drop_old(sums: Table, ring: Table, marks: Table, window: int) -> None:
    """Take intervals that left the window out of the sums."""
    capacity = ring.shape[0]
    until = marks[_NEWEST] - window
    while marks[_HEAD] < marks[_NEXT]:
        entry = ring[marks[_HEAD] % capacity]
        if entry[_AT] > until:
            return
        sums[entry[_SLOT], entry[_CLASS]] -= entry[_UNITS]
        marks[_HEAD] += 1


@nb.njit(cache=True, nogil=True)
def _publish(at: int, sums: Table, ring: Table, marks: Table, window: int) -> None:
    """A change of exchange time `at`: it belongs to the newest publication or begins one."""
    if marks[_NUMBER] == 0 or at >= marks[_FIRST] + PUBLICATION:
        marks[_BEFORE] = marks[_NEWEST]
        marks[_FIRST] = at
        marks[_NUMBER] += 1
    if at > marks[_NEWEST]:
        marks[_NEWEST] = at
        _drop_old(sums, ring, marks, window)


@nb.njit(cache=True, nogil=True)
def _class_of(change: int, mid: int, mid_then: int, last: int, last_then: int) -> int:
    moved = 0
    if mid > 0 and mid_then > 0:
        moved = mid - mid_then
    if moved == 0 and last > 0 and last_then > 0:
        moved = last - last_then
    if moved == 0:
        return UNCLASSED
    if change > 0:
        return LONG_BUILD_UP if moved > 0 else SHORT_BUILD_UP
    return SHORT_COVERING if moved > 0 else LONG_UNWINDING


@nb.njit(cache=True, nogil=True)
def _change(cell: Table, slot: int, at: int, row: Table, sums: Table, ring: Table, marks: Table, window: int) -> None:
    """Open interest changed from one known value to another: an interval ends."""
    oi, volume, mid, last = row
    change = oi - cell[_OI]
    traded = volume - cell[_VOLUME_THEN]
    number = cell[_ENTRY]
    _publish(at, sums, ring, marks, window)
    if oi == cell[_OI_BEFORE] and abs(change) > traded and number > 0:
        marks[_COUNTS + 2] += 1
        if number >= marks[_HEAD]:
            entry = ring[number % ring.shape[0]]
            sums[slot, entry[_CLASS]] -= entry[_UNITS]
            entry[_UNITS] = 0
        cell[_ENTRY] = 0
    else:
        number = marks[_NEXT]
        entry = ring[number % ring.shape[0]]
        entry[_AT] = marks[_NEWEST]
        entry[_SLOT] = slot
        entry[_CLASS] = _class_of(change, mid, cell[_MID_THEN], last, cell[_LAST_THEN])
        entry[_UNITS] = abs(change)
        entry[_SINCE] = marks[_BEFORE]
        sums[slot, entry[_CLASS]] += abs(change)
        marks[_NEXT] += 1
        cell[_ENTRY] = number
    cell[_OI_BEFORE] = cell[_OI]
    cell[_OI] = oi
    cell[_VOLUME_THEN] = volume
    cell[_MID_THEN], cell[_LAST_THEN] = mid, last
    cell[_PUBLICATION] = marks[_NUMBER]


@nb.njit(cache=True, nogil=True)
def _fold(
    table: Table, start: int, stop: int, slots: Table, cells: Table, sums: Table, ring: Table, marks: Table, window: int
) -> int:
    """Rows [start, stop) in; how many changes of open interest were taken."""
    taken = 0
    row = np.zeros(4, np.int64)
    for number in range(start, stop):
        slot = slots[table[INSTRUMENT, number]]
        if slot < 0:
            continue
        cell = cells[slot]
        oi, volume = table[OI, number], table[VOLUME, number]
        bid, ask, last = table[BID, number], table[ASK, number], table[LAST, number]
        mid = bid + ask if 0 < bid <= ask else 0
        if volume < cell[_VOLUME] and cell[_DOUBT] == 0:
            cell[_DOUBT] = 1
            marks[_COUNTS + 1] += 1
            continue
        if cell[_DOUBT] and volume < cell[_VOLUME]:  # Twice in a row: the volume was corrected, begin from here.
            cell[_SEEN] = 0
        cell[_DOUBT] = 0
        cell[_VOLUME] = volume
        if cell[_PUBLICATION] < marks[_NUMBER]:  # The premium stood when the exchange published.
            cell[_MID_THEN], cell[_LAST_THEN] = cell[_MID], cell[_LAST]
            cell[_PUBLICATION] = marks[_NUMBER]
        if oi == 0:
            marks[_COUNTS] += np.int64(cell[_SEEN] and cell[_OI] > 0)
        elif cell[_SEEN] == 0:
            cell[_OI] = cell[_OI_BEFORE] = oi
            cell[_VOLUME_THEN], cell[_MID_THEN], cell[_LAST_THEN] = volume, mid, last
            cell[_ENTRY] = 0
            cell[_SEEN] = 1
        elif oi != cell[_OI]:
            row[0], row[1], row[2], row[3] = oi, volume, mid, last
            _change(cell, slot, table[EXCHANGE_AT, number], row, sums, ring, marks, window)
            taken += 1
        cell[_MID], cell[_LAST] = mid, last
    return taken


class OiFlow:
    """The flow of every contract over the window, kept as rows come.

    Parameters
    ----------
    slots
        By place in the instrument table the contract's number, -1 for what has no open interest of interest.
    contracts
        How many there are.
    window_ns
        Length of the window on the exchange's clock.
    """

    def __init__(self, slots: NDArray[np.int64], contracts: int, window_ns: int = WINDOW) -> None:
        self._slots, self._window = slots, window_ns
        self._cells = np.zeros((contracts, _CELLS), np.int64)
        self.oi: NDArray[np.int64] = self._cells[:, _OI]
        """Open interest of each contract as last believed, units; read only, as the next two."""
        self.volume: NDArray[np.int64] = self._cells[:, _VOLUME]
        """Volume of the session of each contract as last believed, units."""
        self.units: NDArray[np.int64] = np.zeros((contracts, CLASSES), np.int64)
        """Units of each contract in the window by class."""
        self.cells = self.units.data
        """The same for single cells: `cells[contract, LONG_BUILD_UP]` is a Python int."""
        self._ring = np.zeros((max(4 * contracts, 64), _RING), np.int64)
        self._room = self._ring.shape[0]
        """As many intervals may end before the ring must be looked at."""
        self._marks = np.zeros(_MARKS, np.int64)
        self._marks[_HEAD] = self._marks[_NEXT] = 1
        self._folding = self._columns()

    def _columns(self) -> tuple[Table, Table, Table, Table, Table, int]:
        """What the kernel takes, in its order."""
        return self._slots, self._cells, self.units, self._ring, self._marks, self._window

    def fold(self, rows: Rows) -> int:
        """Take rows in; answers how many changes of open interest they brought."""
        start, stop = rows.start, rows.stop
        self._room -= stop - start
        if self._room < 0:
            self._make_room(stop - start)
        taken: int = _fold(rows.batch.table, start, stop, *self._folding)
        return taken

    def _make_room(self, rows: int) -> None:
        """Count how many intervals the ring has room for after these rows, each of which may end one."""
        within = int(self._marks[_NEXT] - self._marks[_HEAD]) + rows
        while within > self._ring.shape[0]:
            self._grow()
        self._room = self._ring.shape[0] - within

    def _grow(self) -> None:
        """A ring of twice the size, every interval at its own number."""
        ring = self._ring
        self._ring = np.zeros((2 * ring.shape[0], _RING), np.int64)
        numbers = np.arange(self._marks[_HEAD], self._marks[_NEXT])
        self._ring[numbers % self._ring.shape[0]] = ring[numbers % ring.shape[0]]
        self._folding = self._columns()

    def new_session(self) -> None:
        """A session opens: the window is empty, and the first open interest of each contract is no change."""
        self.units[:] = 0
        self._cells[:] = 0
        counts = self._marks[_COUNTS:].copy()
        self._marks[:] = 0
        self._marks[_COUNTS:] = counts
        self._marks[_HEAD] = self._marks[_NEXT] = 1

    @property
    def updated_at(self) -> int:
        """Exchange time of the newest publication, ns; 0 = none yet."""
        return int(self._marks[_NEWEST])

    @property
    def since(self) -> int:
        """Where the window's oldest interval began, exchange time, ns; 0 = no publication yet."""
        head = int(self._marks[_HEAD])
        if not self._marks[_NUMBER]:
            return 0
        begin = int(self._marks[_NEWEST]) - self._window
        if head == self._marks[_NEXT]:
            return begin
        oldest = int(self._ring[head % self._ring.shape[0], _SINCE])
        return oldest or begin

    @property
    def ignored(self) -> dict[str, int]:
        """What was not used, by reason; only reasons that occurred."""
        counts: list[Any] = self._marks[_COUNTS:].tolist()
        return {reason: count for reason, count in zip(REASONS, counts, strict=True) if count}


def signed(units: NDArray[Any]) -> NDArray[Any]:
    """Flow for the premium (last axis: classes): build-up of longs and covering of shorts less their opposites."""
    answer: NDArray[Any] = (
        units[..., LONG_BUILD_UP] + units[..., SHORT_COVERING] - units[..., SHORT_BUILD_UP] - units[..., LONG_UNWINDING]
    )
    return answer
