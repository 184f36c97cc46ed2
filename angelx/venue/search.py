"""Where the next row is that can fill an order which waits: compiled, whatever the number of instruments or orders."""

from typing import Any, Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, FIELDS, INSTRUMENT, Table, TickBatch

BUY_LIMIT: Final = 0
SELL_LIMIT: Final = 1
"""Best limit of each side; 0 and `NEVER` where nothing waits."""
IS_SPENT: Final = 2
"""Whether one of the next two is there."""
SPENT_ASK: Final = 3
SPENT_ASK_SIZE: Final = 4
SPENT_BID: Final = 5
SPENT_BID_SIZE: Final = 6
"""The quote that an order would still trade with but that we have used up, 0 = there is none such. It fills nothing as
long as its price and size stand."""
NEVER: Final = 2**62
_WIDTH: Final = 8

_FIRST_LOOK: Final = 256
_LONGEST_LOOK: Final = 8192


@nb.njit(cache=True)
def _stirs(table: Table, row: int, cells: Table, place: int) -> bool:
    """Whether a row fills something or shows another quote than a spent one."""
    bid, ask = table[BID, row], table[ASK, row]
    is_crossed = 0 < ask < bid
    if cells[place, SPENT_ASK]:
        if ask != cells[place, SPENT_ASK] or table[ASK_SIZE, row] != cells[place, SPENT_ASK_SIZE]:
            return True
    elif 0 < ask <= cells[place, BUY_LIMIT] and table[ASK_SIZE, row] > 0 and not is_crossed:
        return True
    if cells[place, SPENT_BID]:
        return bool(bid != cells[place, SPENT_BID] or table[BID_SIZE, row] != cells[place, SPENT_BID_SIZE])
    return bool(bid >= cells[place, SELL_LIMIT] and table[BID_SIZE, row] > 0 and not is_crossed)


@nb.njit(cache=True)
def _first_row(table: Table, start: int, stop: int, waiting: NDArray[np.bool_], cells: Table) -> int:
    """The first row in [start, stop) that stirs an order which waits; -1 where there is none."""
    places = waiting.shape[0]
    for row in range(start, stop):
        place = table[INSTRUMENT, row]
        if place < 0 or place >= places or not waiting[place]:
            continue
        bid, ask = table[BID, row], table[ASK, row]
        is_off_buys, is_off_sells = ask > cells[place, BUY_LIMIT] or ask <= 0, bid < cells[place, SELL_LIMIT]
        if is_off_buys and is_off_sells and not cells[place, IS_SPENT]:
            continue
        if _stirs(table, row, cells, place):
            return row
    return -1


class Search:
    """Looks ahead in a batch for the row that stirs an order, and remembers the answer.

    The look-ahead is bounded and doubles while it finds nothing: a book which changes often costs little, and one that
    rests long costs a call every `_LONGEST_LOOK` rows.
    """

    __slots__ = ("_batch", "_cells", "_found", "_from", "_look", "_to", "_view", "_waiting")

    def __init__(self, places: int) -> None:
        self._waiting = np.zeros(places, np.bool_)
        self._cells: Table = np.zeros((places, _WIDTH), np.int64)
        self._view: Any = self._cells.data
        self._batch: TickBatch | None = None
        self._from = self._to = 0
        """Rows [from, to) of the batch were looked at."""
        self._found = -1
        """The row that was found, always the last one looked at; -1 = none."""
        self._look = _FIRST_LOOK
        _first_row(np.zeros((FIELDS, 1), np.int64), 0, 0, self._waiting, self._cells)  # Compiles or loads now.

    def wait(self, place: int, cells: tuple[int, ...]) -> None:
        """What is waited for in an instrument, by field; the remembered answer is forgotten."""
        view = self._view
        for field, value in enumerate(cells):
            view[place, field] = value
        self._waiting[place] = cells[BUY_LIMIT] > 0 or cells[SELL_LIMIT] < NEVER
        self._batch = None
        self._look = _FIRST_LOOK

    def next_row(self, batch: TickBatch, start: int, stop: int) -> int:
        """The row after the first one in [start, stop) that stirs an order, or up to which none does."""
        if batch is not self._batch or not self._from <= start < self._to:
            self._look_ahead(batch, start)
        return min(stop, self._to)

    def stirs(self, batch: TickBatch, row: int) -> bool:
        """Whether a row stirs an order."""
        if batch is not self._batch or not self._from <= row < self._to:
            self._look_ahead(batch, row)
        return row == self._found

    def _look_ahead(self, batch: TickBatch, start: int) -> None:
        if batch is self._batch:
            self._look = min(2 * self._look, _LONGEST_LOOK)
        stop = min(start + self._look, batch.rows)
        found = _first_row(batch.table, start, stop, self._waiting, self._cells)
        self._batch, self._from, self._found = batch, start, found
        self._to = stop if found < 0 else found + 1
