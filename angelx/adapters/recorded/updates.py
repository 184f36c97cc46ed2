"""Updates: what rows of recordings say, merged in order of time and folded into whole tick rows.

A table of updates is a tick table with one more row. A cell is `UNSET` where the update says nothing of it, then the
instrument keeps what it has.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numba as nb
import numpy as np

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
    OI,
    VOLUME,
    Table,
)

UNSET: Final = -(2**63)
"""This update does not say."""
TRADED: Final = CHANGED
"""Units traded since the instrument's update before; `VOLUME` is their sum in the exchange day. 0 where an update says
the volume itself."""
DAY: Final = FIELDS
"""Exchange day: an instrument begins each with nothing, neither quote nor last price nor volume."""
UPDATE_FIELDS: Final = FIELDS + 1

_NO_DAY: Final = -(2**63)
_FIRST: Final = BID - 1  # State column = field - _FIRST; column 0 is the exchange day.
_WIDTH: Final = OI - _FIRST + 1


def updates(rows: int) -> Table:
    """That many updates that say nothing yet."""
    table = np.full((UPDATE_FIELDS, rows), UNSET, np.int64)
    table[TRADED] = 0
    return table


def merge(streams: Sequence[Iterator[Table]]) -> Iterator[Table]:
    """Updates of several streams in order of `AT`; equal times in order of the streams.

    Each stream is in order itself. At most about a table of each is held at once.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    nothing = updates(0)
    held = [next(stream, nothing) for stream in streams]
    going = {place for place, table in enumerate(held) if table.shape[1]}
    while going:
        # Streams can still bring rows as late as their last one: what comes before all of these is complete.
        limit = min(int(held[place][AT, -1]) for place in going)
        cuts = [int(np.searchsorted(table[AT], limit)) for table in held]
        if any(cuts):
            yield in_order([table[:, :cut] for table, cut in zip(held, cuts, strict=True) if cut])
        held = [table[:, cut:] for table, cut in zip(held, cuts, strict=True)]
        for place in [place for place in going if held[place][AT, -1] == limit]:
            more = next(streams[place], nothing)
            if more.shape[1]:
                held[place] = np.concatenate((held[place], more), axis=1)
            else:
                going.remove(place)
    if any(table.shape[1] for table in held):
        yield in_order(held)


def in_order(tables: Sequence[Table]) -> Table:
    """One table of the updates of several, by `AT`; equal times stay in the order given."""
    if len(tables) == 1:
        return tables[0]
    table = np.concatenate(tables, axis=1)
    return table.take(np.argsort(table[AT], kind="stable"), axis=1)


class Fold:
    """What every instrument says after the updates so far."""

    def __init__(self, instruments: int) -> None:
        self._state = np.zeros((instruments, _WIDTH), np.int64)
        self._state[:, 0] = _NO_DAY

    def rows(self, table: Table) -> Table:
        """Whole tick rows of the updates, shape (FIELDS, rows); `CHANGED` is 0."""
        rows = np.empty((FIELDS, table.shape[1]), np.int64)
        _fold(table, self._state, rows)
        return rows


@nb.njit(cache=True, nogil=True)
def _fold(table: Table, state: Table, rows: Table) -> None:
    """Carry every instrument's cells forward.

    Where an update says only one side and that crosses the other, the other is older: it is dropped until it is said
    again. A value that cannot be (negative, not a number) is passed on to be refused, and not carried.
    """
    for row in range(table.shape[1]):
        held = state[table[INSTRUMENT, row]]
        if held[0] != table[DAY, row]:
            held[:] = 0
            held[0] = table[DAY, row]
        for field in range(BID, OI + 1):
            value = table[field, row]
            if value >= 0:
                held[field - _FIRST] = value
            rows[field, row] = held[field - _FIRST] if value == UNSET else value
        traded = table[TRADED, row]
        if traded >= 0:
            held[VOLUME - _FIRST] += traded
            if table[VOLUME, row] == UNSET:
                rows[VOLUME, row] = held[VOLUME - _FIRST]
        else:
            rows[VOLUME, row] = traded
        if held[BID - _FIRST] > held[ASK - _FIRST] > 0:
            if table[BID, row] > 0 and table[ASK, row] == UNSET:
                held[ASK - _FIRST] = held[ASK_SIZE - _FIRST] = rows[ASK, row] = rows[ASK_SIZE, row] = 0
            elif table[ASK, row] > 0 and table[BID, row] == UNSET:
                held[BID - _FIRST] = held[BID_SIZE - _FIRST] = rows[BID, row] = rows[BID_SIZE, row] = 0
        rows[INSTRUMENT, row], rows[AT, row] = table[INSTRUMENT, row], table[AT, row]
        rows[EXCHANGE_AT, row], rows[CHANGED, row] = table[EXCHANGE_AT, row], 0
