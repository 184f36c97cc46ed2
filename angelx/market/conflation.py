"""Conflation: what a consumer that lags still gets of rows it could not take one by one (SPEC 1.4).

Of each instrument its first and its last row, the rows of its highest and its lowest last price, and every row in which
the open interest moved: a bar, a volume and a flow made of what is left are those of all rows. Volumes are cumulative.
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.ticks import BID, CHANGED, EXCHANGE_AT, INSTRUMENT, LAST, OI, Table, TickBatch


def conflated(batch: TickBatch, instruments: int) -> TickBatch:
    """A batch of accepted, marked rows without those that say nothing lasting; `CHANGED` holds against what is left.

    Parameters
    ----------
    instruments
        How many there are: places are below it.
    """
    table = batch.table
    stays = _lasting(table, instruments)
    _mark(table, instruments, stays)
    return TickBatch(np.ascontiguousarray(table[:, stays]))


@nb.njit(cache=True, nogil=True)
def _lasting(table: Table, instruments: int) -> NDArray[np.bool_]:
    """Which rows stay."""
    first = np.full(instruments, -1, np.int64)
    last, high, low = first.copy(), first.copy(), first.copy()
    stays: NDArray[np.bool_] = (table[CHANGED] & (1 << OI)) != 0
    for row in range(table.shape[1]):
        place, price = table[INSTRUMENT, row], table[LAST, row]
        if first[place] < 0:
            first[place] = row
        last[place] = row
        if price > 0 and (high[place] < 0 or price > table[LAST, high[place]]):
            high[place] = row
        if price > 0 and (low[place] < 0 or price < table[LAST, low[place]]):
            low[place] = row
    for place in range(instruments):
        for row in (first[place], last[place], high[place], low[place]):
            if row >= 0:
                stays[row] = True
    return stays


@nb.njit(cache=True, nogil=True)
def _mark(table: Table, instruments: int, stays: NDArray[np.bool_]) -> None:
    """Mark what stays against what stayed before it of the instrument; a row that came back in no time to what that
    one says is left out too: whoever reads it again would take it for a duplicate.
    """
    before = np.full(instruments, -1, np.int64)
    for row in range(table.shape[1]):
        if stays[row]:
            place = table[INSTRUMENT, row]
            held, before[place] = before[place], row
            if held >= 0:
                changed = np.int64(0)
                for field in range(BID, OI + 1):
                    changed |= np.int64(table[field, row] != table[field, held]) << field
                table[CHANGED, row] = changed
                if changed == 0 and table[EXCHANGE_AT, row] == table[EXCHANGE_AT, held]:
                    stays[row], before[place] = False, held
