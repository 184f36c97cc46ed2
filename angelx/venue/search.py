"""Where the next row is that can fill a resting order: compiled, whatever the number of instruments or orders."""

from typing import Any, Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from angelx.domain.scalars import BUY, SELL
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, FIELDS, INSTRUMENT, Table, TickBatch

BUY_LIMIT: Final = 0
SELL_LIMIT: Final = 1
"""Best resting limit of each side, 0 = nothing rests there."""
ASK_SPENT: Final = 2
ASK_SPENT_SIZE: Final = 3
BID_SPENT: Final = 4
BID_SPENT_SIZE: Final = 5
"""The quote that resting orders would still trade with but have used up, 0 = there is none such. It fills nothing as
long as its price and size stand."""
_WIDTH: Final = 8

_FIRST_LOOK: Final = 256
_LONGEST_LOOK: Final = 8192


@nb.njit(cache=True)
def _stirs(side: int, limit: int, spent: int, spent_size: int, price: int, size: int) -> bool:
    """Whether a quote fills something at the limit or is another one than the spent quote."""
    if spent:
        return price != spent or size != spent_size
    return price > 0 and size > 0 and (limit - price) * side >= 0


@nb.njit(cache=True)
def _next_row(table: Table, start: int, stop: int, waiting: NDArray[np.bool_], cells: Table) -> int:
    """The row after the first one in [start, stop) that stirs an order which waits; else stop."""
    places = waiting.shape[0]
    for row in range(start, stop):
        place = table[INSTRUMENT, row]
        if place < 0 or place >= places or not waiting[place]:
            continue
        cell, bid, ask = cells[place], table[BID, row], table[ASK, row]
        if 0 < ask < bid and not cell[ASK_SPENT] and not cell[BID_SPENT]:
            continue
        buy, spent, spent_size = cell[BUY_LIMIT], cell[ASK_SPENT], cell[ASK_SPENT_SIZE]
        if buy and _stirs(BUY, buy, spent, spent_size, ask, table[ASK_SIZE, row]):
            return row + 1
        sell, spent, spent_size = cell[SELL_LIMIT], cell[BID_SPENT], cell[BID_SPENT_SIZE]
        if sell and _stirs(SELL, sell, spent, spent_size, bid, table[BID_SIZE, row]):
            return row + 1
    return stop


class Search:
    """Looks ahead in a batch for the row where a resting order can fill, and remembers the answer.

    The look-ahead is bounded and doubles while it finds nothing, so that a book which changes often costs little and
    one that rests long costs one call per `_LONGEST_LOOK` rows.
    """

    __slots__ = ("_batch", "_cells", "_from", "_look", "_to", "_view", "_waiting")

    def __init__(self, places: int) -> None:
        self._waiting = np.zeros(places, np.bool_)
        self._cells: Table = np.zeros((places, _WIDTH), np.int64)
        self._view: Any = self._cells.data
        self._batch: TickBatch | None = None
        self._from = self._to = 0
        self._look = _FIRST_LOOK
        _next_row(np.zeros((FIELDS, 1), np.int64), 0, 0, self._waiting, self._cells)  # Compiles or loads now.

    def wait(self, place: int, cells: tuple[int, ...]) -> None:
        """What is waited for in an instrument, in the order of this module's fields; the answer is forgotten."""
        view = self._view
        for field, value in enumerate(cells):
            view[place, field] = value
        self._waiting[place] = cells[BUY_LIMIT] > 0 or cells[SELL_LIMIT] > 0
        self._batch = None
        self._look = _FIRST_LOOK

    def next_row(self, batch: TickBatch, start: int, stop: int) -> int:
        """The row after the first one in [start, stop) at which something may fill, or up to which nothing does."""
        if batch is not self._batch or not self._from <= start < self._to:
            if batch is self._batch:
                self._look = min(2 * self._look, _LONGEST_LOOK)
            self._batch, self._from = batch, start
            self._to = _next_row(batch.table, start, min(start + self._look, batch.rows), self._waiting, self._cells)
        return min(stop, self._to)
